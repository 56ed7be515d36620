//! User, groups, and whom the standard streams belong to.

use std::io;

use oci_spec::runtime::User;

use super::{SetupError, StartError, sys};

/// The user and the groups of the process.
#[derive(Debug, Clone)]
pub struct Identity {
    pub uid: libc::uid_t,
    pub gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
}

impl Identity {
    pub fn from_spec(user: &User) -> Result<Self, SetupError> {
        // The largest number stands for "unchanged" in the system calls: the process would stay
        // root.
        let number = |field, value: u32| {
            if value == u32::MAX {
                return Err(SetupError::Invalid {
                    field,
                    why: format!("{value} is no user or group"),
                });
            }
            Ok(value)
        };
        let groups = user.additional_gids().as_deref().unwrap_or_default();
        Ok(Self {
            uid: number("process.user.uid", user.uid())?,
            gid: number("process.user.gid", user.gid())?,
            groups: groups
                .iter()
                .map(|&group| number("process.user.additionalGids", group))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Becomes the user. The groups are exactly those of the spec (CVE-2022-2995). Capabilities stay
    /// permitted when the caller has set PR_SET_KEEPCAPS.
    pub fn assume(&self) -> Result<(), StartError> {
        if let Err(cause) = sys::setgroups(&self.groups) {
            // A user namespace may forbid it; fine when there is nothing to set or drop.
            // SAFETY: asking for the number of groups writes nothing.
            let present = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
            if !(cause.raw_os_error() == Some(libc::EPERM)
                && self.groups.is_empty()
                && present == 0)
            {
                return Err(StartError::other(format!(
                    "can't set the supplementary groups {:?}: {cause}",
                    self.groups
                )));
            }
        }
        sys::setresgid(self.gid).map_err(|cause| {
            StartError::other(format!("can't become group {}: {cause}", self.gid))
        })?;
        sys::setresuid(self.uid)
            .map_err(|cause| StartError::other(format!("can't become user {}: {cause}", self.uid)))
    }

    /// Gives the standard streams to the user, who could not open `/dev/stdout` otherwise (runc's
    /// `fixStdioPermissions`). Files on disk stay what they are.
    pub fn own_streams(&self) -> Result<(), StartError> {
        for fd in 0..3 {
            // SAFETY: all-zero is a valid value of this struct.
            let mut stat: libc::stat = unsafe { std::mem::zeroed() };
            // SAFETY: `stat` is a valid place for the result.
            if unsafe { libc::fstat(fd, &raw mut stat) } != 0 {
                continue;
            }
            let kind = stat.st_mode & libc::S_IFMT;
            let terminal = kind == libc::S_IFCHR && libc::major(stat.st_rdev) == PTS_MAJOR;
            if stat.st_uid == self.uid
                || !(kind == libc::S_IFIFO || kind == libc::S_IFSOCK || terminal)
            {
                continue;
            }
            // SAFETY: plain numbers.
            if unsafe { libc::fchown(fd, self.uid, stat.st_gid) } != 0 {
                let cause = io::Error::last_os_error();
                // Not ours to give (a user namespace), or a file system that has no owners.
                if !matches!(
                    cause.raw_os_error(),
                    Some(libc::EPERM | libc::EINVAL | libc::EROFS)
                ) {
                    return Err(StartError::other(format!(
                        "can't give standard stream {fd} to user {}: {cause}",
                        self.uid
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Becomes the root of the user namespace that was just entered, where it has one: until then we are
/// nobody there.
pub fn become_root() -> io::Result<()> {
    for result in [sys::setresgid(0), sys::setresuid(0)] {
        match result {
            // No user of the namespace has this number.
            Err(cause) if cause.raw_os_error() == Some(libc::EINVAL) => {}
            result => result?,
        }
    }
    Ok(())
}

/// The major number of `/dev/pts/*` (kernel: Documentation/admin-guide/devices.txt, 136 to 143).
const PTS_MAJOR: u32 = 136;

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::UserBuilder;

    #[test]
    fn the_number_that_means_unchanged_is_refused() {
        for (uid, gid, group) in [(u32::MAX, 0, 0), (0, u32::MAX, 0), (0, 0, u32::MAX)] {
            let user = UserBuilder::default()
                .uid(uid)
                .gid(gid)
                .additional_gids(vec![group])
                .build();
            assert!(Identity::from_spec(&user.expect("all fields are set")).is_err());
        }
    }
}
