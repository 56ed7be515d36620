//! The users and groups of an image, and what its or a Pod's `user[:group]` means there.

use serde::{Deserialize, Serialize};

use super::merged::Stack;

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswdEntry {
    /// Login name.
    pub name: String,
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

/// A line of `/etc/group`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// Group name.
    pub name: String,
    /// Group ID.
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

/// Numbers for a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User ID.
    pub uid: u32,
    /// Primary group ID.
    pub gid: u32,
    /// Groups that list the user as a member, in the file's order, without repetition. Empty when the
    /// group was given explicitly.
    pub groups: Vec<u32>,
    /// The login name, if the image knows the user.
    pub name: Option<String>,
    /// The home directory, if the image knows the user.
    pub home: Option<String>,
}

/// Why a user cannot be resolved.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// The image's files could not be read.
    #[error("user {user:?} cannot be looked up: {problem}")]
    Unreadable {
        /// As written.
        user: String,
        /// The cause.
        problem: String,
    },
    /// No such name.
    #[error("the image has no {kind} {name:?}")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// As written.
        name: String,
    },
    /// A number out of range, or a malformed text.
    #[error("{0:?} is not a user: use NAME or a number up to 2147483647, with an optional :GROUP")]
    Invalid(String),
}

/// More than any real file, and quick to read.
const MAX_FILE: u64 = 1 << 20;

impl Users {
    /// Reads the files of an image from its layers, the topmost first.
    pub(crate) fn read(stack: &Stack) -> Self {
        let read = |path| stack.read(path, MAX_FILE).map(Option::unwrap_or_default);
        match (read("/etc/passwd"), read("/etc/group")) {
            (Ok(passwd), Ok(group)) => Self {
                passwd: lines(&passwd).filter_map(passwd_entry).collect(),
                group: lines(&group).filter_map(group_entry).collect(),
                problem: None,
            },
            (Err(problem), _) | (_, Err(problem)) => Self {
                problem: Some(problem),
                ..Self::default()
            },
        }
    }

    /// Resolves `user[:group]` as the OCI image specification says for `config.User`; empty is root.
    ///
    /// A text of digits is always a number, never a name (CVE-2024-40635).
    ///
    /// # Errors
    /// [`UserError`] for unknown names and numbers above 2147483647.
    pub fn resolve(&self, text: &str) -> Result<ResolvedUser, UserError> {
        let invalid = || UserError::Invalid(text.chars().take(100).collect());
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if group.is_some_and(|group| group.is_empty() || group.contains(':')) {
            return Err(invalid());
        }
        let user = if user.is_empty() { "0" } else { user };
        let number = parse_id(user).map_err(|()| invalid())?;
        let entry = self.passwd.iter().find(|entry| match number {
            Some(uid) => entry.uid == uid,
            None => entry.name == user,
        });
        let uid = match (number, entry) {
            (Some(uid), _) => uid,
            (None, Some(entry)) => entry.uid,
            (None, None) => return Err(self.unknown("user", user)),
        };
        let name = entry.map(|entry| entry.name.clone());
        let (gid, groups) = match group {
            Some(group) => (self.gid(group, invalid)?, Vec::new()),
            None => {
                let groups = name
                    .as_deref()
                    .map(|name| self.groups_of(name))
                    .unwrap_or_default();
                (entry.map_or(0, |entry| entry.gid), groups)
            }
        };
        Ok(ResolvedUser {
            uid,
            gid,
            groups,
            name,
            home: entry.map(|entry| entry.home.clone()),
        })
    }

    /// The IDs of the groups that list the login name as a member.
    #[must_use]
    pub fn groups_of(&self, name: &str) -> Vec<u32> {
        let mut groups = Vec::new();
        for entry in &self.group {
            if entry.members.iter().any(|member| member == name) && !groups.contains(&entry.gid) {
                groups.push(entry.gid);
            }
        }
        groups
    }

    fn gid(&self, group: &str, invalid: impl Fn() -> UserError) -> Result<u32, UserError> {
        if let Some(gid) = parse_id(group).map_err(|()| invalid())? {
            return Ok(gid);
        }
        let entry = self.group.iter().find(|entry| entry.name == group);
        entry
            .map(|entry| entry.gid)
            .ok_or_else(|| self.unknown("group", group))
    }

    fn unknown(&self, kind: &'static str, name: &str) -> UserError {
        let name = name.chars().take(100).collect();
        match &self.problem {
            Some(problem) => UserError::Unreadable {
                user: name,
                problem: problem.clone(),
            },
            None => UserError::Unknown { kind, name },
        }
    }
}

/// `None` for a name, an error for a number out of the range that Kubernetes and containerd allow.
fn parse_id(text: &str) -> Result<Option<u32>, ()> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    // A sign is what `parse` refuses or what no user ID has.
    if digits.len() != text.len() {
        return Err(());
    }
    text.parse::<i32>()
        .ok()
        .and_then(|id| u32::try_from(id).ok())
        .map(Some)
        .ok_or(())
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
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
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
    let gid = fields.nth(1)?.parse().ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\nhalf:x:\nweb:x:101:102:Web,,,:/srv:/bin/false\n\
            1000:x:0:0::/:/bin/sh\n\xff:x:7:7::/:\nlast:x:5:6";
        let group = b"root:x:0:\nweb:x:102:\nadm:x:4:web,root\nlog:x:9:web\nagain:x:4:web\nbad:x:y:web\n:x:1:web\n";
        Users {
            passwd: lines(passwd).filter_map(passwd_entry).collect(),
            group: lines(group).filter_map(group_entry).collect(),
            problem: None,
        }
    }

    #[test]
    fn names_and_numbers() {
        let users = users();
        let ids = |text: &str| {
            users
                .resolve(text)
                .map(|user| (user.uid, user.gid, user.groups))
        };
        assert_eq!(ids(""), Ok((0, 0, vec![4])));
        assert_eq!(ids("root"), ids(""));
        assert_eq!(ids("web"), Ok((101, 102, vec![4, 9])));
        assert_eq!(ids("101"), ids("web"));
        assert_eq!(ids("web:log"), Ok((101, 9, vec![])));
        assert_eq!(ids("101:7"), Ok((101, 7, vec![])));
        assert_eq!(ids("4242"), Ok((4242, 0, vec![])));
        assert_eq!(ids(":log"), Ok((0, 9, vec![])));
        assert_eq!(users.resolve("web").unwrap().home.as_deref(), Some("/srv"));
        assert_eq!(users.resolve("last").unwrap().home.as_deref(), Some(""));
        assert_eq!(
            users.resolve("half"),
            Err(UserError::Unknown {
                kind: "user",
                name: "half".into()
            })
        );
        assert_eq!(
            users.resolve("web:nobody"),
            Err(UserError::Unknown {
                kind: "group",
                name: "nobody".into()
            })
        );
    }

    #[test]
    fn c13_numbers_overflow_into_no_root() {
        let users = users();
        // The line "1000:x:0:0" is not user 1000.
        assert_eq!(users.resolve("1000").unwrap().uid, 1000);
        for bad in [
            "4294967296",
            "2147483648",
            "-1",
            "+1",
            "0:-1",
            "0:4294967296",
            "0:",
            "0:1:2",
            "web:",
        ] {
            assert_eq!(
                users.resolve(bad),
                Err(UserError::Invalid(bad.into())),
                "{bad}"
            );
        }
        assert_eq!(users.resolve("2147483647").unwrap().uid, 2_147_483_647);
        for unknown in ["0x0", " 0", "0 ", "root\n"] {
            assert!(
                matches!(users.resolve(unknown), Err(UserError::Unknown { .. })),
                "{unknown:?}"
            );
        }
    }

    #[test]
    fn c14_unreadable_files_matter_only_for_names() {
        let users = Users {
            problem: Some("/etc/passwd is a FIFO".into()),
            ..Users::default()
        };
        assert!(matches!(
            users.resolve("web"),
            Err(UserError::Unreadable { .. })
        ));
        assert_eq!(users.resolve("7").unwrap().uid, 7);
    }
}
