//! Debian's `docker-registry`, filled by `skopeo`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::image::import::ImportOptions;
use crate::image::testing::{Compress, Layout, mounted, run};

/// A registry on a free port of loopback; stopped when dropped.
struct Registry {
    address: String,
    process: Child,
    directory: TempDir,
}

impl Registry {
    /// `more` goes into the registry's configuration.
    fn start(directory: TempDir, more: &str) -> Self {
        let path = directory.path().join("config.yml");
        let storage = directory.path().join("data");
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {storage:?}}}}}\n{more}\n"
        );
        fs::write(&path, config).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker-registry is installed, or on the PATH");
        let mut lines = BufReader::new(process.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let start = lines.find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split([',', '"', ' ']).next().unwrap().to_owned())
        });
        // Nobody else reads what it writes, and it must not wait for that.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            address: start.expect("the registry starts"),
            process,
            directory,
        }
    }

    fn plain() -> Self {
        Self::start(TempDir::new().unwrap(), "http: {addr: \"127.0.0.1:0\"}")
    }

    fn push(&self, from: &str, to: &str, options: &[&str]) -> String {
        let to = format!("{}/{to}", self.address);
        let destination = format!("docker://{to}");
        let copy = [
            "skopeo",
            "--insecure-policy",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
        ];
        run(
            self.directory.path(),
            &[&copy[..], options, &[from, &destination]].concat(),
        );
        to
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn zstd(layer: &[u8]) -> Vec<u8> {
    zstd::encode_all(layer, 1).unwrap()
}

fn plain(layer: &[u8]) -> Vec<u8> {
    layer.to_vec()
}

fn layers() -> Vec<Vec<u8>> {
    let passwd = b"web:x:33:33::/srv:/bin/false\n";
    let base = Archive::new()
        .dir("etc", 0o755)
        .file("etc/passwd", passwd)
        .file("big", &vec![7; 3_000_000])
        .finish();
    let top = Archive::new()
        .file(".wh.big", b"")
        .file("small", b"small")
        .finish();
    vec![base, top]
}

#[tokio::test(flavor = "multi_thread")]
async fn all_formats_come_out_as_they_went_in() {
    let registry = Registry::plain();
    let layout = Layout::new(&registry.directory.path().join("layout"));
    let config = json!({"Cmd": ["/small"], "User": "web"});
    let expected = Ground::new();
    let kinds: [(&str, Compress); 3] = [("gzip", gzip), ("plain", plain), ("zstd", zstd)];
    for (name, compress) in kinds {
        layout.index(&[("app", &layout.image(&layers(), config.clone(), compress))]);
        let imported = expected
            .store
            .import(&layout.path, &ImportOptions::default())
            .unwrap()
            .remove(0);
        let image = registry.push("oci:layout:app", &format!("team/{name}:v1"), &[]);
        let ground = Ground::new();
        let pulled = ground.pull(&image).await.unwrap();
        assert_eq!(
            (&pulled.id, &pulled.config),
            (&imported.id, &imported.config),
            "{name}"
        );
        assert_eq!(mounted(&pulled), mounted(&imported), "{name}");
        assert_eq!(pulled.references, std::slice::from_ref(&image));
        let by_digest = format!(
            "{}@{}",
            image.trim_end_matches(":v1"),
            pulled.manifest.clone().unwrap()
        );
        assert_eq!(pulled.digests, std::slice::from_ref(&by_digest));
        assert_eq!(pulled.users.passwd[0].uid, 33);
        assert_eq!(
            (
                ground.count("partial"),
                ground.count("tmp"),
                ground.count("leases")
            ),
            (0, 0, 0)
        );
        // By digest, and again: nothing is fetched twice.
        ground.progress.lock().unwrap().clear();
        assert_eq!(ground.pull(&by_digest).await.unwrap().id, pulled.id);
        let steps = ground.progress.lock().unwrap();
        assert!(
            steps[1..]
                .iter()
                .all(|step| matches!(step, Progress::Present { .. })),
            "{steps:?}"
        );
        assert_eq!(steps.len(), 3);
    }
    if run(Path::new("/"), &["skopeo", "copy", "--help"]).contains("--format") {
        let docker = registry.push("oci:layout:app", "team/docker:v1", &["--format", "v2s2"]);
        assert_eq!(
            Ground::new().pull(&docker).await.unwrap().config.user,
            "web"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b41_an_index_leads_to_the_manifest_of_this_machine() {
    let registry = Registry::plain();
    let layout = Layout::new(&registry.directory.path().join("layout"));
    let mut own = layout.image(&layers(), json!({}), gzip);
    own["platform"] = json!({"os": "linux", "architecture": host_arch()});
    let foreign_config = json!({"os": "linux", "architecture": "s390x", "rootfs": {"type": "layers", "diff_ids": []}});
    let mut foreign = layout.manifest(&foreign_config, &[]);
    foreign["platform"] = json!({"os": "linux", "architecture": "s390x"});
    let push = |name: &str, entries: &[&Value]| {
        let index = json!({"schemaVersion": 2, "manifests": entries});
        layout.index(&[(
            name,
            &layout.blob(
                "application/vnd.oci.image.index.v1+json",
                index.to_string().as_bytes(),
            ),
        )]);
        (
            registry.push(
                &format!("oci:layout:{name}"),
                &format!("{name}:1"),
                &["--all"],
            ),
            Digest::of(index.to_string().as_bytes()),
        )
    };
    let ground = Ground::new();
    let (image, index) = push("both", &[&foreign, &own]);
    let pulled = ground.pull(&image).await.unwrap();
    assert_eq!(pulled.manifest.unwrap().to_string(), own["digest"]);
    // The name is that of the index, as it is the same on every machine.
    assert!(
        pulled.digests[0].ends_with(&index.to_string()),
        "{:?} {index}",
        pulled.digests
    );
    let (image, _) = push("other", &[&foreign]);
    let error = Ground::new().refused(&image).await.to_string();
    assert!(error.contains("no image for linux/"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_certificates() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    // "user" and "secret".
    fs::write(
        path("htpasswd"),
        "user:$2b$04$dX2jlrLWVcJdP44ktt2sne5B1R20Q0FNrT7ailWNGWZx6JtU77Cv.\n",
    )
    .unwrap();
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(path("cert.pem"), pair.cert.pem()).unwrap();
    fs::write(path("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    let more = format!(
        "http: {{addr: \"127.0.0.1:0\", tls: {{certificate: {:?}, key: {:?}}}}}\n\
         auth: {{htpasswd: {{realm: test, path: {:?}}}}}",
        path("cert.pem"),
        path("key.pem"),
        path("htpasswd")
    );
    let certificate = path("cert.pem");
    let registry = Registry::start(directory, &more);
    let layout = Layout::new(&registry.directory.path().join("layout"));
    layout.index(&[("app", &layout.image(&layers(), json!({}), gzip))]);
    let image = registry.push(
        "oci:layout:app",
        "private/app:1",
        &["--dest-creds", "user:secret"],
    );
    let mut ground = Ground::new();
    // Plain HTTP is what loopback gets when no certificate is given.
    assert!(matches!(
        ground.refused(&image).await,
        ImageError::Refused { .. }
    ));
    ground.configure(&registry.address, &format!("ca = {certificate:?}"));
    assert!(matches!(
        ground.refused(&image).await,
        ImageError::Unauthorized { .. }
    ));
    ground.options.credentials = Credentials::login("user", "wrong");
    assert!(matches!(
        ground.refused(&image).await,
        ImageError::Unauthorized { .. }
    ));
    ground.options.credentials = Credentials::login("user", "secret");
    ground.pull(&image).await.unwrap();
    let absent = image.replace("private/app", "private/absent");
    assert!(matches!(
        ground.pull(&absent).await.unwrap_err(),
        ImageError::NotFound { .. }
    ));
    fs::write(&certificate, "no certificate").unwrap();
    let error = ground.pull(&image).await.unwrap_err().to_string();
    assert!(error.contains("no PEM certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b45_redirects_from_https_to_http_are_refused() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(path("cert.pem"), pair.cert.pem()).unwrap();
    fs::write(path("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    let elsewhere = Server::new(|_| Reply::new("200 OK", &[], b"from elsewhere"));
    // The registry's own way of serving blobs from a storage network.
    let more = format!(
        "http: {{addr: \"127.0.0.1:0\", tls: {{certificate: {:?}, key: {:?}}}}}\n\
         middleware: {{storage: [{{name: redirect, options: {{baseurl: \"http://{}/\"}}}}]}}",
        path("cert.pem"),
        path("key.pem"),
        elsewhere.address
    );
    let certificate = path("cert.pem");
    let registry = Registry::start(directory, &more);
    let layout = Layout::new(&registry.directory.path().join("layout"));
    layout.index(&[("app", &layout.image(&layers(), json!({}), gzip))]);
    let image = registry.push("oci:layout:app", "app:1", &[]);
    let mut ground = Ground::new();
    ground.configure(&registry.address, &format!("ca = {certificate:?}"));
    let error = ground.refused(&image).await.to_string();
    assert!(error.contains("redirects from https to http"), "{error}");
    assert_eq!(elsewhere.requests("").len(), 0);
}
