//! PAX extended headers: records `LENGTH KEY=VALUE\n`, split by their length.
//!
//! The `tar` crate splits them at newlines, which breaks binary values such as `security.capability`.

use super::sparse::Segment;

/// What an extended header says of the next entry.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    /// Seconds and nanoseconds.
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: PaxSparse,
}

/// GNU tar's three ways of writing a sparse file into PAX records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct PaxSparse {
    /// Versions 0.0 and 0.1.
    pub map: Vec<Segment>,
    /// `true` for version 1.0, whose map stands before the data.
    pub map_in_data: bool,
    /// The real name in 0.1 and 1.0.
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
    /// An offset (0.0) that waits for its length.
    pending: Option<u64>,
}

impl PaxSparse {
    pub(super) fn is_used(&self) -> bool {
        self.map_in_data || self.real_size.is_some()
    }
}

const XATTR: &[u8] = b"SCHILY.xattr.";

impl Pax {
    /// Reads a whole extended header.
    pub(super) fn parse(mut data: &[u8]) -> Result<Self, String> {
        let mut pax = Self::default();
        while !data.is_empty() {
            // Some writers pad with zeros.
            if data.iter().all(|b| *b == 0) {
                break;
            }
            let (record, rest) = split_record(data).ok_or("malformed PAX record")?;
            let equals = record
                .iter()
                .position(|b| *b == b'=')
                .ok_or("PAX record without '='")?;
            pax.set(&record[..equals], &record[equals + 1..])?;
            data = rest;
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let sparse = &mut self.sparse;
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" => self.mtime = time(value)?,
            b"GNU.sparse.name" => sparse.name = text(value)?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => sparse.real_size = number(value)?,
            b"GNU.sparse.major" => match value {
                b"0" => {}
                b"1" => sparse.map_in_data = true,
                _ => return Err("unknown version of GNU sparse format".into()),
            },
            b"GNU.sparse.offset" => sparse.pending = number(value)?,
            b"GNU.sparse.numbytes" => {
                let offset = sparse
                    .pending
                    .take()
                    .ok_or("GNU.sparse.numbytes without offset")?;
                let length = number(value)?.ok_or("empty GNU.sparse.numbytes")?;
                sparse.map.push(Segment { offset, length });
            }
            b"GNU.sparse.map" => sparse.map = map(value)?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    if name.is_empty() || name.contains(&0) {
                        return Err("malformed name of an extended attribute".into());
                    }
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// The first record without its length and newline, and what follows it.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = data.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(number(&data[..digits]).ok()??).ok()?;
    if length <= digits + 1 || length > data.len() || data[length - 1] != b'\n' {
        return None;
    }
    Some((&data[digits + 1..length - 1], &data[length..]))
}

/// An empty value takes the key back, as POSIX says.
fn text(value: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if value.contains(&0) {
        return Err("NUL in a PAX record".into());
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

fn number(value: &[u8]) -> Result<Option<u64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let malformed = || "malformed number in a PAX record".to_owned();
    // str::parse accepts a plus sign.
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|v| v.parse().ok())
        .map(Some)
        .ok_or_else(malformed)
}

fn time(value: &[u8]) -> Result<Option<(i64, u32)>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let parse = || {
        let value = std::str::from_utf8(value).ok()?;
        let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
        let seconds: i64 = whole.parse().ok()?;
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        if whole.starts_with('-') && nanos > 0 {
            return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
        }
        Some((seconds, nanos))
    };
    parse()
        .map(Some)
        .ok_or_else(|| "malformed time in a PAX record".into())
}

fn map(value: &[u8]) -> Result<Vec<Segment>, String> {
    let mut numbers = Vec::new();
    for part in value.split(|b| *b == b',') {
        numbers.push(number(part)?.ok_or("empty number in GNU.sparse.map")?);
    }
    if numbers.len() % 2 != 0 {
        return Err("odd count of numbers in GNU.sparse.map".into());
    }
    Ok(numbers
        .chunks(2)
        .map(|pair| Segment {
            offset: pair[0],
            length: pair[1],
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        let mut bytes = format!("{length} {key}=").into_bytes();
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
        bytes
    }

    #[test]
    fn c31_a_newline_in_an_xattr_is_no_new_record() {
        let value = b"\x01\n12 path=evil\n\x02";
        let mut data = record("SCHILY.xattr.security.capability", value);
        data.extend(record("path", b"good"));
        let pax = Pax::parse(&data).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"good"[..]));
        assert_eq!(
            pax.xattrs,
            [(b"security.capability".to_vec(), value.to_vec())]
        );
    }

    #[test]
    fn times_have_fractions_and_signs() {
        for (text, expected) in [
            ("12", (12, 0)),
            ("12.5", (12, 500_000_000)),
            ("12.000000001", (12, 1)),
            ("12.0000000019", (12, 1)),
            ("-1.25", (-2, 750_000_000)),
            ("-0.25", (-1, 750_000_000)),
        ] {
            assert_eq!(time(text.as_bytes()).unwrap(), Some(expected), "{text}");
        }
        for bad in ["x", "1.x", ".5.", "99999999999999999999", "1.é"] {
            assert!(time(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn b43_malformed_records_are_refused() {
        for bad in [
            &b"5 a=b"[..],
            b"6 a=b\nx",
            b"x a=b\n",
            b"99 a=b\n",
            b"2 \n",
            b"0 a=b\n",
            b"6 a-b\n",
            b"+6 a=b\n",
            b"18446744073709551616 a=b\n",
        ] {
            assert!(
                Pax::parse(bad).is_err(),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
        for (key, value) in [
            ("size", "-1"),
            ("size", "18446744073709551616"),
            ("uid", "+5"),
            ("path", "a\0b"),
            ("GNU.sparse.major", "2"),
        ] {
            assert!(
                Pax::parse(&record(key, value.as_bytes())).is_err(),
                "{key}={value}"
            );
        }
        assert_eq!(Pax::parse(&record("size", b"")).unwrap().size, None);
    }
}
