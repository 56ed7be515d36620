//! Users and groups: an image's `/etc/passwd` and `/etc/group`, and who a container runs as.
//!
//! What a user is taken for must be the same here and where `runAsNonRoot` is checked: whatever consists of
//! digits is a number and never looked up as a name, and a number that no user can have is refused.

use std::collections::BTreeSet;

/// The highest user and group number that Kubernetes and the runtimes accept.
pub const MAX_ID: u32 = i32::MAX as u32;

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswdEntry {
    /// The user's name.
    pub name: String,
    /// At most [`MAX_ID`].
    pub uid: u32,
    /// At most [`MAX_ID`].
    pub gid: u32,
    /// The user's home directory; empty when the line has none.
    pub home: String,
}

/// A line of `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupEntry {
    /// The group's name.
    pub name: String,
    /// At most [`MAX_ID`].
    pub gid: u32,
    /// Names of users.
    pub members: Vec<String>,
}

/// The users and groups that an image knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserDb {
    /// In the order of the file; the first of two entries counts.
    pub passwd: Vec<PasswdEntry>,
    /// In the order of the file; the first of two entries counts.
    pub groups: Vec<GroupEntry>,
}

impl UserDb {
    /// Reads the contents of an image's `/etc/passwd` and `/etc/group` (empty where it has none). Lines that
    /// are not `passwd(5)` or `group(5)` entries, and those with numbers out of range, are skipped as the C
    /// library does.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self {
            passwd: entries(passwd).filter_map(passwd_entry).collect(),
            groups: entries(group).filter_map(group_entry).collect(),
        }
    }

    fn by_name(&self, name: &str) -> Option<&PasswdEntry> {
        self.passwd.iter().find(|entry| entry.name == name)
    }

    fn by_uid(&self, uid: u32) -> Option<&PasswdEntry> {
        self.passwd.iter().find(|entry| entry.uid == uid)
    }

    /// Groups that list the user as a member; one of the user's own name is its primary one.
    fn memberships(&self, user: &str) -> impl Iterator<Item = u32> {
        self.groups
            .iter()
            .filter(move |group| group.name != user && group.members.iter().any(|m| m == user))
            .map(|group| group.gid)
    }
}

fn entries(file: &[u8]) -> impl Iterator<Item = Vec<&str>> {
    file.split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(|line| line.trim_end_matches('\r').split(':').collect::<Vec<_>>())
        .filter(|fields| !fields[0].is_empty() && !fields[0].starts_with('#'))
}

fn passwd_entry(fields: Vec<&str>) -> Option<PasswdEntry> {
    let [name, _, uid, gid, ref rest @ ..] = fields[..] else {
        return None;
    };
    Some(PasswdEntry {
        home: rest.get(1).copied().unwrap_or_default().to_owned(),
        name: name.to_owned(),
        uid: number(uid)?,
        gid: number(gid)?,
    })
}

fn group_entry(fields: Vec<&str>) -> Option<GroupEntry> {
    let [name, _, gid, ref members @ ..] = fields[..] else {
        return None;
    };
    let members = members.first().copied().unwrap_or_default();
    Some(GroupEntry {
        name: name.to_owned(),
        gid: number(gid)?,
        members: members
            .split(',')
            .filter(|m| !m.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())?
        .filter(|id| *id <= MAX_ID)
}

/// Why a user or group cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Not of the form `user[:group]`.
    #[error(
        "the image's user {0:?} is not of the form user, uid, user:group or uid:gid; set runAsUser"
    )]
    Malformed(String),
    /// A number above [`MAX_ID`] or with a sign.
    #[error("the number {0} is no user or group: it must be between 0 and {MAX_ID}")]
    OutOfRange(String),
    /// A name that the image's `/etc/passwd` does not have.
    #[error(
        "the image's /etc/passwd has no user {0:?}, which the image asks for; set runAsUser to a number"
    )]
    UnknownUser(String),
    /// A name that the image's `/etc/group` does not have.
    #[error(
        "the image's /etc/group has no group {0:?}, which the image asks for; set runAsGroup to a number"
    )]
    UnknownGroup(String),
}

/// What an image's `User` or a part of it says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Id<'a> {
    Number(u32),
    Name(&'a str),
}

impl<'a> Id<'a> {
    fn parse(text: &'a str) -> Result<Self, UserError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        if unsigned.is_empty() {
            return Err(UserError::Malformed(text.to_owned()));
        }
        if !unsigned.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self::Name(text));
        }
        number(text)
            .map(Self::Number)
            .ok_or_else(|| UserError::OutOfRange(text.to_owned()))
    }
}

/// An image's `User`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageUser<'a> {
    user: Option<Id<'a>>,
    group: Option<Id<'a>>,
}

impl<'a> ImageUser<'a> {
    /// `user`, `uid`, `user:group`, `uid:gid`, `uid:group` or `user:gid` (OCI image specification, `User`);
    /// empty for the default.
    pub fn parse(text: &'a str) -> Result<Self, UserError> {
        let (user, group) = match text.split_once(':') {
            None if text.is_empty() => (None, None),
            None => (Some(text), None),
            Some((user, group)) if !group.contains(':') => (Some(user), Some(group)),
            Some(_) => return Err(UserError::Malformed(text.to_owned())),
        };
        let id = |text: Option<&'a str>| match text.map(Id::parse).transpose() {
            Err(UserError::Malformed(_)) => {
                Err(UserError::Malformed(text.unwrap_or_default().to_owned()))
            }
            other => other,
        };
        Ok(Self {
            user: id(user)?,
            group: id(group)?,
        })
    }

    /// The number that the image names, 0 when it names nobody; the name when it is none.
    pub fn uid_or_name(&self) -> Result<u32, &'a str> {
        match self.user {
            None => Ok(0),
            Some(Id::Number(uid)) => Ok(uid),
            Some(Id::Name(name)) => Err(name),
        }
    }
}

/// Who a container runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// All groups of the process, the primary one among them, ascending.
    pub groups: Vec<u32>,
    /// The user's home directory, `/` when nobody knows it (as runc has it).
    pub home: String,
}

/// What the Pod asks for, each absent when it leaves the choice to the image.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted<'a> {
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub fs_group: Option<u32>,
    pub supplemental_groups: &'a [u32],
    /// `supplementalGroupsPolicy: Strict`: leave out the groups of the image's `/etc/group`.
    pub strict: bool,
}

/// Combines what the Pod wants with what the image says, by containerd's rules (`pkg/oci/spec_opts.go`,
/// `WithUser` and `WithAdditionalGIDs`): the primary group is the Pod's; else, with the image's user, the
/// image's; else that of the user's `/etc/passwd` entry; else 0.
pub(super) fn resolve(wanted: &Wanted, image: &str, db: &UserDb) -> Result<Identity, UserError> {
    let ids = wanted
        .user
        .iter()
        .chain(&wanted.group)
        .chain(&wanted.fs_group);
    if let Some(id) = ids
        .chain(wanted.supplemental_groups)
        .find(|id| **id > MAX_ID)
    {
        return Err(UserError::OutOfRange(id.to_string()));
    }
    let image = match wanted.user {
        Some(uid) => ImageUser {
            user: Some(Id::Number(uid)),
            group: None,
        },
        None => ImageUser::parse(image)?,
    };
    let (uid, entry) = match image.uid_or_name() {
        Ok(uid) => (uid, db.by_uid(uid)),
        Err(name) => {
            let entry = db.by_name(name);
            let uid = entry
                .ok_or_else(|| UserError::UnknownUser(name.to_owned()))?
                .uid;
            (uid, entry)
        }
    };
    let gid = match (wanted.group, &image.group) {
        (Some(gid), _) => gid,
        (None, Some(Id::Number(gid))) => *gid,
        (None, Some(Id::Name(name))) => {
            let group = db.groups.iter().find(|group| group.name == *name);
            group
                .ok_or_else(|| UserError::UnknownGroup((*name).to_owned()))?
                .gid
        }
        (None, None) => entry.map_or(0, |entry| entry.gid),
    };
    let mut groups = BTreeSet::from([gid]);
    groups.extend(wanted.supplemental_groups.iter().chain(&wanted.fs_group));
    if let (false, Some(entry)) = (wanted.strict, entry) {
        groups.extend(db.memberships(&entry.name));
    }
    Ok(Identity {
        uid,
        gid,
        groups: groups.into_iter().collect(),
        home: match entry {
            Some(entry) if entry.home.starts_with('/') => entry.home.clone(),
            _ => "/".to_owned(),
        },
    })
}

#[cfg(test)]
mod tests;
