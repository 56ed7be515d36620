//! `HOME` for a process that has none: from the container's `/etc/passwd`, which is not trusted.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// What is read of the file at most, in bytes.
const FILE_MAX: usize = 1 << 20;

/// `HOME=…` for the user, `HOME=/` when `/etc/passwd` doesn't tell.
pub fn variable(uid: libc::uid_t) -> CString {
    let home = passwd().and_then(|text| directory(&text, uid));
    // No NUL byte: checked in `directory`.
    home.and_then(|home| CString::new([b"HOME=", home.as_slice()].concat()).ok())
        .unwrap_or_else(|| c"HOME=/".to_owned())
}

/// The beginning of `/etc/passwd` below the present root, if it is a plain file. Opening never
/// blocks (a FIFO) and never takes a terminal.
fn passwd() -> Option<Vec<u8>> {
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/etc/passwd")
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(FILE_MAX as u64).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The sixth field of the user's line (passwd(5)).
fn directory(text: &[u8], uid: libc::uid_t) -> Option<Vec<u8>> {
    let uid = uid.to_string();
    text.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let found = fields.nth(2).is_some_and(|field| field == uid.as_bytes());
        let home = fields.nth(2).filter(|_| found)?;
        (!home.is_empty() && !home.contains(&0)).then(|| home.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::directory;

    const TEXT: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\nodd\n:::::\nbob:x:1000:1000::/home/bob:/bin/sh\n\
        nul:x:7:7::/a\0b:/bin/sh\nempty:x:8:8:::\nshort:x:9:9::/nine";

    #[test]
    fn the_sixth_field_of_the_users_line_is_found() {
        let home =
            |uid| directory(TEXT, uid).map(|home| String::from_utf8_lossy(&home).into_owned());
        assert_eq!(home(0).as_deref(), Some("/root"));
        assert_eq!(home(1000).as_deref(), Some("/home/bob"));
        assert_eq!(home(9).as_deref(), Some("/nine"));
        assert_eq!([home(7), home(8), home(1)], [None, None, None]);
    }
}
