//! A registry that only those may use who know its certificate authority and a password: Debian's docker-registry.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::given;

/// `user` and `secret`.
const HTPASSWD: &str = "user:$2b$04$dX2jlrLWVcJdP44ktt2sne5B1R20Q0FNrT7ailWNGWZx6JtU77Cv.\n";
/// The same in Base64.
const AUTH: &str = "dXNlcjpzZWNyZXQ=";

/// A registry with the image `busybox:1`.
pub struct PrivateRegistry {
    /// Host and port.
    pub address: String,
    process: Child,
    dir: TempDir,
}

impl PrivateRegistry {
    /// Starts it.
    pub fn start() -> Self {
        let dir = TempDir::with_prefix("carob-registry-")
            .expect("there is a directory for temporary files");
        certificates(dir.path()).expect("certificates can be made");
        let path = |name: &str| dir.path().join(name);
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\n\
             http: {{addr: \"127.0.0.1:0\", tls: {{certificate: {:?}, key: {:?}}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {:?}}}}}\n",
            path("data"),
            path("cert.pem"),
            path("key.pem"),
            path("htpasswd"),
        );
        let write = |name: &str, text: &str| fs::write(path(name), text).expect("it is ours");
        write("config.yml", &config);
        write("htpasswd", HTPASSWD);
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(path("config.yml"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker-registry is on the PATH of scripts/test");
        let output = process.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split([',', '"', ' ']).next()?.to_owned())
        });
        // Nobody else reads what it writes, and it must not wait for that.
        thread::spawn(move || lines.for_each(drop));
        let registry = Self {
            address: address.expect("the registry starts"),
            process,
            dir,
        };
        let from = format!("oci:{}:1", given::images().join("busybox").display());
        let to = format!("docker://{}", registry.image());
        let pushed = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"])
            .args(["--dest-creds", "user:secret", &from, &to])
            .status();
        assert!(pushed.expect("skopeo is there").success());
        registry
    }

    /// The name of its image.
    pub fn image(&self) -> String {
        format!("{}/team/busybox:1", self.address)
    }

    /// The certificate authority that it is known by.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Docker's `config.json` with the password.
    pub fn login(&self) -> String {
        format!(
            r#"{{"auths": {{"{}": {{"auth": "{AUTH}"}}}}}}"#,
            self.address
        )
    }
}

impl Drop for PrivateRegistry {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An authority, and a certificate by it for 127.0.0.1.
fn certificates(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate =
        CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &authority)?;
    fs::write(dir.join("ca.pem"), authority.pem())?;
    fs::write(dir.join("cert.pem"), certificate.pem())?;
    fs::write(dir.join("key.pem"), key.serialize_pem())?;
    Ok(())
}
