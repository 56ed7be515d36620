//! `oom_score_adj`: how readily the kernel kills a process for lack of memory.

use std::fs;
use std::io;

const FILE: &str = "/proc/self/oom_score_adj";
/// The range of the value (proc(5)).
const MIN: i32 = -1000;
const MAX: i32 = 1000;

/// Sets the calling process's value, which its children inherit, and returns what was set: without
/// CAP_SYS_RESOURCE the kernel takes nothing below a floor, and the value nearest to the wanted one
/// is set instead.
///
/// # Errors
/// When `/proc/self/oom_score_adj` can't be read or written at all.
pub fn set_oom_score_adj(wanted: i32) -> io::Result<i32> {
    let wanted = wanted.clamp(MIN, MAX);
    match write(wanted) {
        Err(cause) if cause.raw_os_error() == Some(libc::EACCES) => nearest(wanted),
        result => result.map(|()| wanted),
    }
}

/// The least value that is permitted above a refused one. The present one always is.
fn nearest(refused: i32) -> io::Result<i32> {
    let present = fs::read_to_string(FILE)?
        .trim()
        .parse()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let (mut refused, mut permitted): (i32, i32) = (refused, present);
    while permitted - refused > 1 {
        let middle = refused + (permitted - refused) / 2;
        match write(middle) {
            Ok(()) => permitted = middle,
            Err(cause) if cause.raw_os_error() == Some(libc::EACCES) => refused = middle,
            Err(cause) => return Err(cause),
        }
    }
    write(permitted)?;
    Ok(permitted)
}

fn write(value: i32) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .open(FILE)
        .and_then(|mut file| io::Write::write_all(&mut file, value.to_string().as_bytes()))
}
