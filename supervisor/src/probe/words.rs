//! How Go, in which a kubelet is written, writes quoted text and errors: events have its words.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;

/// Text as Go's `%q` shows it (`strconv.Quote`).
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            // Writing to a string can't fail.
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Why no connection could be made: `dial tcp 10.0.0.2:80: connect: connection refused`.
pub fn dial_error(address: SocketAddr, error: &io::Error) -> String {
    format!("dial tcp {address}: connect: {}", errno(error))
}

/// Why a name has no address.
pub fn lookup_error(host: &str) -> String {
    format!("dial tcp: lookup {host}: no such host")
}

/// An error of the kernel's in Go's words, which begin with a small letter.
pub fn errno(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    };
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_gos() {
        assert_eq!(quoted("a \"b\"\\\n\té\u{1}"), r#""a \"b\"\\\n\té\x01""#);
        assert_eq!(quoted("\u{85}"), r#""\u0085""#);
    }

    #[test]
    fn errors_of_the_kernel_are_gos() {
        let address = "10.0.0.2:80".parse().unwrap();
        let refused = io::Error::from_raw_os_error(nix::libc::ECONNREFUSED);
        assert_eq!(
            dial_error(address, &refused),
            "dial tcp 10.0.0.2:80: connect: connection refused"
        );
        let no_route = io::Error::from_raw_os_error(nix::libc::EHOSTUNREACH);
        assert_eq!(errno(&no_route), "no route to host");
    }
}
