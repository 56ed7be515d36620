//! The image configuration: what a container gets from its image, checked.

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::{ImageError, Result};
use super::platform::Host;

/// The part of an image's configuration that containers are made from (OCI image specification,
/// "config"). Missing and `null` lists are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageConfig {
    /// The start of the command line.
    pub entrypoint: Vec<String>,
    /// Its rest, or all of it without an entrypoint.
    pub cmd: Vec<String>,
    /// Variables in order; names are not empty and values always present.
    pub env: Vec<(String, String)>,
    /// `user`, `uid`, `user:group`, …; empty is root.
    pub user: String,
    /// Absolute, or empty for `/`.
    pub working_dir: String,
    /// Absolute paths without `..`.
    pub volumes: Vec<String>,
    /// `PORT[-PORT][/PROTOCOL]`.
    pub exposed_ports: Vec<String>,
    /// A name such as `SIGQUIT` or a number.
    pub stop_signal: Option<String>,
    /// Labels of the image; no part of Carob acts on them.
    pub labels: BTreeMap<String, String>,
    /// When the image was built, as it says.
    pub created: Option<String>,
    /// `GOARCH`.
    pub architecture: String,
}

/// What is needed to unpack the image.
#[derive(Debug)]
pub(crate) struct ParsedConfig {
    pub config: ImageConfig,
    /// Digests of the uncompressed layers, the base first.
    pub diff_ids: Vec<Digest>,
}

/// Reads and checks a configuration whose digest has been verified, of an image for this machine: what containers
/// get from it, and the digests of its uncompressed layers, the base first.
///
/// # Errors
/// [`ImageError::Refused`].
pub fn read(bytes: &[u8]) -> Result<(ImageConfig, Vec<Digest>)> {
    let parsed = parse(bytes, &Host::current())?;
    Ok((parsed.config, parsed.diff_ids))
}

/// Reads and checks a configuration whose digest has been verified.
pub(crate) fn parse(bytes: &[u8], host: &Host) -> Result<ParsedConfig> {
    let refuse = |reason: String| ImageError::refused("image configuration", reason);
    let raw: ImageConfiguration = serde_json::from_slice(bytes)
        .map_err(|error| refuse(format!("it is malformed: {error}")))?;
    if !host.runs(raw.os(), raw.architecture()) {
        return Err(refuse(format!(
            "the image is for {}/{}, this machine is {host}",
            raw.os(),
            raw.architecture()
        )));
    }
    if raw.rootfs().typ() != "layers" {
        return Err(refuse(format!(
            "its rootfs is of type {:?} instead of \"layers\"",
            raw.rootfs().typ()
        )));
    }
    let diff_ids = raw.rootfs().diff_ids().iter().map(|text| text.parse());
    let diff_ids = diff_ids
        .collect::<Result<_, _>>()
        .map_err(|error: super::digest::InvalidDigest| refuse(error.to_string()))?;
    let config = raw.config().clone().unwrap_or_default();
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let sorted = |list: &Option<Vec<String>>| {
        let mut list = list.clone().unwrap_or_default();
        list.sort();
        list
    };
    let config = ImageConfig {
        entrypoint: list(config.entrypoint()),
        cmd: list(config.cmd()),
        env: list(config.env())
            .iter()
            .map(|line| variable(line))
            .collect::<Result<_, _>>()
            .map_err(refuse)?,
        user: config.user().clone().unwrap_or_default(),
        working_dir: config.working_dir().clone().unwrap_or_default(),
        volumes: sorted(config.volumes()),
        exposed_ports: sorted(config.exposed_ports()),
        stop_signal: config
            .stop_signal()
            .clone()
            .filter(|signal| !signal.is_empty()),
        labels: config
            .labels()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        created: raw.created().clone(),
        architecture: raw.architecture().to_string(),
    };
    check(&config).map_err(refuse)?;
    Ok(ParsedConfig { config, diff_ids })
}

/// Variables without `=` mean "take the host's value" to some tools (CVE-2026-57231).
fn variable(line: &str) -> Result<(String, String), String> {
    match line.split_once('=') {
        Some((name, value)) if !name.is_empty() && !line.contains('\0') => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!(
            "the environment variable {line:?} is not of the form NAME=VALUE"
        )),
    }
}

fn check(config: &ImageConfig) -> Result<(), String> {
    if config
        .entrypoint
        .iter()
        .chain(&config.cmd)
        .any(|word| word.contains('\0'))
    {
        return Err("its command contains a NUL".into());
    }
    if !config.working_dir.is_empty() {
        absolute("working directory", &config.working_dir)?;
    }
    for volume in &config.volumes {
        absolute("volume", volume)?;
    }
    if let Some(port) = config.exposed_ports.iter().find(|port| !valid_port(port)) {
        return Err(format!("the exposed port {port:?} is not a port"));
    }
    if let Some(signal) = config
        .stop_signal
        .as_ref()
        .filter(|signal| !valid_signal(signal))
    {
        return Err(format!("the stop signal {signal:?} is not a signal"));
    }
    Ok(())
}

fn absolute(what: &str, path: &str) -> Result<(), String> {
    let escapes = path.split('/').any(|part| part == "..");
    if path.starts_with('/') && !escapes && !path.contains('\0') {
        Ok(())
    } else {
        Err(format!(
            "the {what} {path:?} is not an absolute path without '..'"
        ))
    }
}

fn valid_port(text: &str) -> bool {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u16>().ok())
            .flatten()
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let ordered = number(first)
        .zip(number(last))
        .is_some_and(|(first, last)| first <= last);
    ordered && ["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str())
}

fn valid_signal(text: &str) -> bool {
    // Linux has signals 1 to 64.
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text
            .parse()
            .is_ok_and(|number: u8| (1..=64).contains(&number));
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let offset = |rest: &str, sign: char| {
        rest.is_empty()
            || rest
                .strip_prefix(sign)
                .and_then(|n| n.parse().ok())
                .is_some_and(|n: u8| n <= 30)
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, '+');
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return offset(rest, '-');
    }
    format!("SIG{name}")
        .parse::<nix::sys::signal::Signal>()
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn document(config: Value) -> Value {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        json!({"os": "linux", "architecture": arch, "config": config, "rootfs": {"type": "layers", "diff_ids": []}})
    }

    fn read(document: &Value) -> Result<ParsedConfig> {
        parse(document.to_string().as_bytes(), &Host::current())
    }

    #[test]
    fn nulls_are_empty() {
        let nulls = json!({"Cmd": null, "Entrypoint": null, "Env": null, "Volumes": null, "ExposedPorts": null,
            "Labels": null, "User": "", "WorkingDir": "", "OnBuild": null, "StopSignal": ""});
        for config in [nulls, json!({}), Value::Null] {
            let parsed = read(&document(config)).unwrap().config;
            assert_eq!(
                parsed,
                ImageConfig {
                    architecture: parsed.architecture.clone(),
                    ..Default::default()
                }
            );
        }
    }

    #[test]
    fn all_is_read() {
        let config = read(&document(json!({
            "Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=b=c", "E="], "User": "1:2", "WorkingDir": "/w",
            "Volumes": {"/v2": {}, "/v1": {}}, "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000-8010": {}},
            "StopSignal": "SIGRTMIN+3", "Labels": {"k": "v"},
        })))
        .unwrap()
        .config;
        assert_eq!(
            config.env,
            [("A".into(), "b=c".into()), ("E".into(), String::new())]
        );
        assert_eq!(config.volumes, ["/v1", "/v2"]);
        assert_eq!(config.exposed_ports, ["53/udp", "80/tcp", "8000-8010"]);
        assert_eq!(config.stop_signal.as_deref(), Some("SIGRTMIN+3"));
        assert_eq!(
            (config.user.as_str(), config.working_dir.as_str()),
            ("1:2", "/w")
        );
    }

    #[test]
    fn b44_c10_c22_bad_configurations_are_refused() {
        for bad in [
            json!({"Env": ["PATH", "AWS_SECRET"]}),
            json!({"Env": ["=x"]}),
            json!({"Env": ["A=b\0c"]}),
            json!({"Cmd": ["a\0b"]}),
            json!({"Cmd": "not a list"}),
            json!({"WorkingDir": "relative"}),
            json!({"WorkingDir": "/a/../.."}),
            json!({"Volumes": {"/../../etc": {}}}),
            json!({"Volumes": {"v": {}}}),
            json!({"ExposedPorts": {"http": {}}}),
            json!({"ExposedPorts": {"70000": {}}}),
            json!({"ExposedPorts": {"9-8/tcp": {}}}),
            json!({"ExposedPorts": {"80/tcp\n": {}}}),
            json!({"StopSignal": "SIGFOO"}),
            json!({"StopSignal": "65"}),
            json!({"StopSignal": "-1"}),
        ] {
            let error = read(&document(bad.clone()))
                .expect_err(&bad.to_string())
                .to_string();
            assert!(
                error.starts_with("image configuration is refused: ") && !error.contains('\n'),
                "{error}"
            );
        }
        let mut other = document(json!({}));
        other["architecture"] = "mips64le".into();
        assert!(
            read(&other)
                .unwrap_err()
                .to_string()
                .contains("this machine is linux/")
        );
        let mut other = document(json!({}));
        other["os"] = "windows".into();
        assert!(read(&other).is_err());
        let mut other = document(json!({}));
        other["rootfs"]["diff_ids"] = json!(["sha256:../../x"]);
        assert!(read(&other).is_err());
        for bad in ["", "{}", "[]", "null"] {
            assert!(parse(bad.as_bytes(), &Host::current()).is_err());
        }
    }
}
