//! A terminal in the container's own devpts, so that the programs in it know it by its name.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// The size of a terminal in characters. 0 is "not known".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// Device number of `/dev/ptmx` (kernel: Documentation/admin-guide/devices.txt).
const PTMX: (u32, u32) = (5, 2);

/// A new terminal: its master and its slave. To be called in the container's mount namespace.
pub fn open(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    // The image may have put anything at these names, so what was opened is looked at, and the slave
    // is got from the master rather than by its name (CVE-2025-52565).
    let master = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open("/dev/ptmx")?;
    verify(&master)?;
    // SAFETY: on this device, the calls read a number or a structure that outlives them.
    let slave = unsafe {
        if libc::fcntl(master.as_raw_fd(), libc::F_SETFL, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        let unlocked: i32 = 0;
        if libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut window: libc::winsize = zeroed();
        (window.ws_row, window.ws_col) = (size.rows, size.columns);
        if libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const window) != 0 {
            return Err(io::Error::last_os_error());
        }
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        let slave = libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags);
        if slave < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(slave)
    };
    Ok((master.into(), slave))
}

fn verify(master: &File) -> io::Result<()> {
    // SAFETY: all-zero are valid values and valid places for the results.
    let genuine = unsafe {
        let (mut stat, mut fs): (libc::stat, libc::statfs) = (zeroed(), zeroed());
        if libc::fstat(master.as_raw_fd(), &raw mut stat) != 0
            || libc::fstatfs(master.as_raw_fd(), &raw mut fs) != 0
        {
            return Err(io::Error::last_os_error());
        }
        let number = (libc::major(stat.st_rdev), libc::minor(stat.st_rdev));
        // Also right for a device node elsewhere: opening it leads into the devpts beside it.
        stat.st_mode & libc::S_IFMT == libc::S_IFCHR
            && number == PTMX
            && fs.f_type == libc::DEVPTS_SUPER_MAGIC
    };
    if genuine {
        Ok(())
    } else {
        Err(io::Error::other("/dev/ptmx is not a devpts multiplexer"))
    }
}

/// Makes the terminal the controlling one of the calling process, which leads its session.
pub fn control(slave: &OwnedFd) -> io::Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}
