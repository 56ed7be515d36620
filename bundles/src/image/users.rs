//! The users and groups that an image knows; what a container makes of them is `spec::user`'s to say.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::merged::Stack;

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswdEntry {
    /// Login name.
    pub name: String,
    /// User ID, at most [`MAX_ID`].
    pub uid: u32,
    /// Primary group ID, at most [`MAX_ID`].
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

/// A line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// Group name.
    pub name: String,
    /// Group ID, at most [`MAX_ID`].
    pub gid: u32,
    /// Login names of the members.
    pub members: Vec<String>,
}

/// The users and groups that an image knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Users {
    /// `/etc/passwd`, in order.
    pub passwd: Vec<PasswdEntry>,
    /// `/etc/group`, in order.
    pub group: Vec<GroupEntry>,
    /// Why the files could not be read, in one sentence. A container of this image cannot start
    /// unless it gives numbers for user and group.
    pub problem: Option<String>,
}

/// The highest number of a user or group that Kubernetes and the runtimes accept.
pub const MAX_ID: u32 = i32::MAX as u32;

/// More than any real file, and quick to read.
const MAX_FILE: u64 = 1 << 20;

impl Users {
    /// Reads the files of an image from the directories of its layers, the topmost first.
    ///
    /// # Errors
    /// When a directory can't be opened; what is wrong with the files is a [`problem`](Self::problem) of their own.
    pub fn of_layers(layers: &[PathBuf]) -> io::Result<Self> {
        Stack::open(layers).map(|stack| Self::read(&stack))
    }

    /// Reads the files of an image from its layers, the topmost first.
    pub(crate) fn read(stack: &Stack) -> Self {
        let read = |path| stack.read(path, MAX_FILE).map(Option::unwrap_or_default);
        match (read("/etc/passwd"), read("/etc/group")) {
            (Ok(passwd), Ok(group)) => Self::parse(&passwd, &group),
            (Err(problem), _) | (_, Err(problem)) => Self {
                problem: Some(problem),
                ..Self::default()
            },
        }
    }

    /// Reads the contents of both files; empty where there is none.
    pub(crate) fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self {
            passwd: lines(passwd).filter_map(passwd_entry).collect(),
            group: lines(group).filter_map(group_entry).collect(),
            problem: None,
        }
    }
}

fn lines(content: &[u8]) -> impl Iterator<Item = &str> {
    content
        .split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Lines that are not whole are left out: taken with zeros they would make root of anybody.
fn passwd_entry(line: &str) -> Option<PasswdEntry> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let (uid, gid) = (id(fields.nth(1)?)?, id(fields.next()?)?);
    let home = fields.nth(1).unwrap_or_default().to_owned();
    Some(PasswdEntry {
        name,
        uid,
        gid,
        home,
    })
}

fn group_entry(line: &str) -> Option<GroupEntry> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let gid = id(fields.nth(1)?)?;
    let members = fields
        .next()
        .unwrap_or_default()
        .split(',')
        .filter(|m| !m.is_empty());
    Some(GroupEntry {
        name,
        gid,
        members: members.map(str::to_owned).collect(),
    })
}

/// A number of a user or group; other ones than these are refused everywhere.
pub(crate) fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())?
        .filter(|id| *id <= MAX_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_entries_are_skipped() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\
            1000:x:0:0:digits for a name:/:\n\
            wraps:x:4294967296:0::/:\n\
            high:x:4294967295:0::/:\n\
            minus:x:-1:0::/:\n\
            plus:x:+1:0::/:\n\
            \xff\xfe:x:7:7::/:\n\
            # comment:x:8:8::/:\n\
            short:x:9\n\
            +::::::\n\
            :x:0:0::/:\n\
            dos:x:77:78::/srv:\r\n\
            last:x:5:6";
        let group =
            b"root:x:0:\nlog:x:4:web,,root\nhuge:x:4294967295:web\nbad:x:y:web\n:x:1:web\nbare:x:9";
        let users = Users::parse(passwd, group);
        let known: Vec<_> = users
            .passwd
            .iter()
            .map(|e| (e.name.as_str(), e.uid, e.gid, e.home.as_str()))
            .collect();
        assert_eq!(
            known,
            [
                ("root", 0, 0, "/root"),
                ("1000", 0, 0, "/"),
                ("dos", 77, 78, "/srv"),
                ("last", 5, 6, ""),
            ]
        );
        let known: Vec<_> = users
            .group
            .iter()
            .map(|e| (e.name.as_str(), e.gid, e.members.join(" ")))
            .collect();
        assert_eq!(
            known,
            [
                ("root", 0, String::new()),
                ("log", 4, "web root".to_owned()),
                ("bare", 9, String::new()),
            ]
        );
        for junk in [&b""[..], b"\0\n::::\n:x:0:0", b"::\nx"] {
            assert_eq!(Users::parse(junk, junk), Users::default());
        }
    }
}
