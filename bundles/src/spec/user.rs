//! Who a container runs as: what the Pod wants, what the image says, what its `/etc/passwd` knows.
//!
//! What a user is taken for must be the same here and where `runAsNonRoot` is checked: whatever consists of
//! digits is a number and never looked up as a name, and a number that no user can have is refused.

use std::collections::BTreeSet;

use crate::image::users::{self, MAX_ID, PasswdEntry, Users};

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
    /// The image's files are there but cannot be read.
    #[error(
        "its user and groups cannot be looked up: {0}; set runAsUser and runAsGroup to numbers"
    )]
    Unreadable(String),
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
        users::id(text)
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
pub(super) fn resolve(wanted: &Wanted, image: &str, users: &Users) -> Result<Identity, UserError> {
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
    let known = Known::of(&image, wanted, users)?;
    let gid = match (wanted.group, &image.group) {
        (Some(gid), _) => gid,
        (None, Some(Id::Number(gid))) => *gid,
        (None, Some(Id::Name(name))) => {
            let group = users.group.iter().find(|group| group.name == *name);
            let unknown = || UserError::UnknownGroup((*name).to_owned());
            group.ok_or_else(unknown)?.gid
        }
        (None, None) => known.entry.map_or(0, |entry| entry.gid),
    };
    let mut groups = BTreeSet::from([gid]);
    groups.extend(wanted.supplemental_groups.iter().chain(&wanted.fs_group));
    if let (false, Some(entry)) = (wanted.strict, known.entry) {
        groups.extend(memberships(users, &entry.name));
    }
    Ok(Identity {
        uid: known.uid,
        gid,
        groups: groups.into_iter().collect(),
        home: match known.entry {
            Some(entry) if entry.home.starts_with('/') => entry.home.clone(),
            _ => "/".to_owned(),
        },
    })
}

/// A user's number, and what the image knows of that user.
struct Known<'a> {
    uid: u32,
    entry: Option<&'a PasswdEntry>,
}

impl<'a> Known<'a> {
    fn of(image: &ImageUser, wanted: &Wanted, users: &'a Users) -> Result<Self, UserError> {
        let given = matches!(image.user, Some(Id::Number(_)))
            && (wanted.group.is_some() || matches!(image.group, Some(Id::Number(_))));
        if let (false, Some(problem)) = (given, &users.problem) {
            return Err(UserError::Unreadable(problem.clone()));
        }
        match image.uid_or_name() {
            Ok(uid) => Ok(Self {
                uid,
                entry: users.passwd.iter().find(|entry| entry.uid == uid),
            }),
            Err(name) => {
                let entry = users.passwd.iter().find(|entry| entry.name == name);
                let uid = entry
                    .ok_or_else(|| UserError::UnknownUser(name.to_owned()))?
                    .uid;
                Ok(Self { uid, entry })
            }
        }
    }
}

/// Groups that list the user as a member; one of the user's own name is its primary one.
fn memberships(users: &Users, user: &str) -> impl Iterator<Item = u32> {
    let groups = users.group.iter().filter(move |group| {
        group.name != user && group.members.iter().any(|member| member == user)
    });
    groups.map(|group| group.gid)
}

#[cfg(test)]
mod tests;
