//! How each containerd wants the answer of `start`.
//!
//! - 1.6 reads the bare address.
//! - 1.7 to 2.2 say so by `MAX_SHIM_VERSION` and read JSON; 1.7 knows no version but 2.
//! - 2.3 and later write `containerd.runtime.bootstrap.v1.BootstrapParams` to standard input and read a
//!   `BootstrapResult`. They know version 3 (containerd: `api/runtime/bootstrap/v1/bootstrap.proto`,
//!   `core/runtime/v2/shim.go`).

use std::io::{self, Read};

use containerd_shim_protos::protobuf::{CodedInputStream, CodedOutputStream, Error};

/// The variable that containerd 1.7 and later set for `start`.
pub const MAX_SHIM_VERSION: &str = "MAX_SHIM_VERSION";

/// The most that is read of standard input, in bytes: containerd's own limit.
const LONGEST: u64 = 10 << 20;

/// Fields of `BootstrapParams` and `BootstrapResult`, with their wire types.
const INSTANCE_ID: u32 = 1 << 3 | 2;
const NAMESPACE: u32 = 2 << 3 | 2;
const VERSION: u32 = 1;
const ADDRESS: u32 = 2;
const PROTOCOL: u32 = 3;

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The address alone.
    Bare,
    /// JSON, for the Task service's version 2.
    Json,
    /// A `BootstrapResult`, for the Task service's version 3.
    Message,
}

impl Form {
    /// The form for whoever started us for container `id` in `namespace`. `max_version` is the value
    /// of [`MAX_SHIM_VERSION`]; without it, standard input is left alone, since nobody need close it.
    ///
    /// # Errors
    /// When standard input can't be read.
    pub fn asked(
        max_version: Option<&str>,
        mut stdin: impl Read,
        id: &str,
        namespace: &str,
    ) -> io::Result<Self> {
        if max_version.is_none() {
            return Ok(Self::Bare);
        }
        let mut text = Vec::new();
        stdin.by_ref().take(LONGEST).read_to_end(&mut text)?;
        // Before 2.3 it is the runtime's options, which decode as other things too.
        let params = identity(&text).is_ok_and(|found| found == (id.into(), namespace.into()));
        Ok(if params { Self::Message } else { Self::Json })
    }

    /// The answer, that the group is served at `address`.
    ///
    /// # Errors
    /// None but for an address of 2 GiB.
    pub fn answer(self, address: &str) -> Result<Vec<u8>, Error> {
        Ok(match self {
            Self::Bare => address.into(),
            Self::Json => serde_json::json!({
                "version": 2, "address": address, "protocol": "ttrpc",
            })
            .to_string()
            .into(),
            Self::Message => {
                let mut message = Vec::new();
                let mut out = CodedOutputStream::vec(&mut message);
                out.write_int32(VERSION, 3)?;
                out.write_string(ADDRESS, address)?;
                out.write_string(PROTOCOL, "ttrpc")?;
                out.flush()?;
                drop(out);
                message
            }
        })
    }
}

/// Who a `BootstrapParams` is for: (instance, namespace).
fn identity(text: &[u8]) -> Result<(String, String), Error> {
    let mut stream = CodedInputStream::from_bytes(text);
    let mut found = <(String, String)>::default();
    while let Some(tag) = stream.read_raw_tag_or_eof()? {
        match tag {
            INSTANCE_ID => found.0 = stream.read_string()?,
            NAMESPACE => found.1 = stream.read_string()?,
            _ => skip(&mut stream, tag)?,
        }
    }
    Ok(found)
}

/// Skips a field by the wire type of its tag; groups don't occur.
fn skip(stream: &mut CodedInputStream<'_>, tag: u32) -> Result<(), Error> {
    match tag & 7 {
        0 => stream.read_raw_varint64().map(drop),
        1 => stream.skip_raw_bytes(8),
        2 => {
            let length = stream.read_raw_varint32()?;
            stream.skip_raw_bytes(length)
        }
        5 => stream.skip_raw_bytes(4),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `BootstrapParams` as containerd 2.3 writes it, with a log level, an address and an extension.
    fn params(id: &str, namespace: &str) -> Vec<u8> {
        let mut text = Vec::new();
        let mut out = CodedOutputStream::vec(&mut text);
        out.write_string(1, id).expect("written");
        out.write_string(2, namespace).expect("written");
        out.write_int32(3, -4).expect("written");
        out.write_string(4, "v2.3.4").expect("written");
        out.write_bytes(8, &[0x0a, 0x02, 0x12, 0x00])
            .expect("written");
        out.flush().expect("written");
        drop(out);
        text
    }

    fn form(version: Option<&str>, stdin: &[u8]) -> Form {
        Form::asked(version, stdin, "c1", "ns").expect("readable")
    }

    #[test]
    fn each_containerd_gets_its_own_form() {
        assert_eq!(form(None, &params("c1", "ns")), Form::Bare);
        assert_eq!(form(Some("2"), b""), Form::Json);
        assert_eq!(form(Some("2"), &params("c1", "ns")), Form::Message);
    }

    #[test]
    fn what_is_not_for_us_is_no_bootstrap_protocol() {
        // An Any with runc.v1.Options, as 1.7 to 2.2 write it.
        let options = b"\x0a\x1acontainerd.runc.v1.Options\x12\x02\x48\x01";
        let cut = &params("c1", "ns")[..10];
        for text in [
            &options[..],
            &params("c2", "ns"),
            cut,
            b"\xff\xff\xff",
            b"{}",
        ] {
            assert_eq!(form(Some("2"), text), Form::Json, "{text:?}");
        }
    }

    #[test]
    fn answers_are_what_is_read() {
        let bare = Form::Bare.answer("unix:///a").expect("short");
        assert_eq!(bare, b"unix:///a");
        let json = Form::Json.answer("unix:///a").expect("short");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(
            (&json["version"], &json["protocol"]),
            (&2.into(), &"ttrpc".into())
        );
        let message = Form::Message.answer("unix:///a").expect("short");
        assert_eq!(message, b"\x08\x03\x12\x09unix:///a\x1a\x05ttrpc");
        // containerd 2.3 tries every answer as a message first, and these must not pass for one.
        assert!(identity(&bare).is_err());
        assert!(identity(json.to_string().as_bytes()).is_err());
    }
}
