//! What `hosts.toml` means.

use std::fs;

use tempfile::TempDir;

use super::*;

fn parsed(registry: &str, text: &str) -> Vec<HostConfig> {
    file::parse(text, registry, Path::new("/certs")).unwrap()
}

fn urls(hosts: &[HostConfig]) -> Vec<String> {
    hosts.iter().map(|host| host.url.to_string()).collect()
}

#[test]
fn without_a_file_the_registry_itself_is_asked() {
    for (registry, url) in [
        ("docker.io", "https://registry-1.docker.io/v2"),
        ("ghcr.io", "https://ghcr.io/v2"),
        ("a.example:5000", "https://a.example:5000/v2"),
        ("localhost:5000", "http://localhost:5000/v2"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/v2"),
        ("127.0.0.1:443", "https://127.0.0.1/v2"),
        ("[::1]:5000", "http://[::1]:5000/v2"),
    ] {
        let hosts = of(registry, None).unwrap();
        assert_eq!(urls(&hosts), [url]);
        assert!(hosts[0].own && hosts[0].pull && hosts[0].resolve);
    }
}

#[test]
fn the_documentation_s_examples() {
    let hosts = parsed(
        "docker.io",
        r#"
server = "https://docker.io"
[host."https://registry-1.docker.io"]
  capabilities = ["pull", "resolve"]
[host."http://mirror.example:5000/proxy/"]
  capabilities = ["pull"]
  ca = ["a.pem", "/etc/b.pem"]
  client = [["c.cert", "c.key"], ["d.pem", "d.key"]]
  skip_verify = true
  [host."http://mirror.example:5000/proxy/".header]
    x-custom-1 = ["one", "two"]
[host."https://path.example/v2/proxy"]
  override_path = true
[host."https://done.example/v2"]
"#,
    );
    assert_eq!(
        urls(&hosts),
        [
            "https://registry-1.docker.io/v2",
            "http://mirror.example:5000/proxy/v2",
            "https://path.example/v2/proxy",
            "https://done.example/v2",
            "https://docker.io/v2",
        ]
    );
    let mirror = &hosts[1];
    assert!(mirror.pull && !mirror.resolve && !mirror.own && mirror.tls.skip_verify);
    let path = |path: &str| PathBuf::from(path);
    assert_eq!(
        mirror.tls.authorities,
        [path("/certs/a.pem"), path("/etc/b.pem")]
    );
    assert_eq!(
        mirror.tls.client[0],
        (path("/certs/c.cert"), Some(path("/certs/c.key")))
    );
    assert_eq!(mirror.headers.len(), 2);
    assert!(hosts[4].own && hosts[4].pull && hosts[4].resolve);
}

#[test]
fn certificates_alone_mean_the_registry_itself() {
    let hosts = parsed("127.0.0.1:5000", "ca = \"ca.pem\"");
    assert_eq!(urls(&hosts), ["https://127.0.0.1:5000/v2"]);
    let hosts = parsed("127.0.0.1:5000", "[host.\"http://m.example\"]");
    assert_eq!(
        urls(&hosts),
        ["http://m.example/v2", "http://127.0.0.1:5000/v2"]
    );
    for (client, files) in [
        ("client = \"a.pem\"", 1),
        ("client = [\"a.pem\", \"b.pem\"]", 2),
        ("client = [[\"a.cert\", \"a.key\"]]", 1),
    ] {
        assert_eq!(parsed("a.example", client)[0].tls.client.len(), files);
    }
}

#[test]
fn a_registry_s_own_directory_counts_before_the_one_for_all() {
    let top = TempDir::new().unwrap();
    let write = |directory: &str, mirror: &str| {
        fs::create_dir_all(top.path().join(directory)).unwrap();
        let text = format!("[host.\"https://{mirror}\"]");
        fs::write(top.path().join(directory).join("hosts.toml"), text).unwrap();
    };
    let first = |registry: &str| {
        of(registry, Some(top.path())).unwrap()[0]
            .url
            .host_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(first("a.example:5000"), "a.example");
    write("_default", "default.example");
    assert_eq!(first("a.example:5000"), "default.example");
    write("a.example:5000", "own.example");
    assert_eq!(first("a.example:5000"), "own.example");
    assert_eq!(first("b.example"), "default.example");
    write("a.example_5000_", "portable.example");
    assert_eq!(first("a.example:5000"), "portable.example");
    // Docker's way.
    let docker = top.path().join("b.example");
    fs::create_dir(&docker).unwrap();
    for name in ["ca.crt", "me.cert", "me.key", "README"] {
        fs::write(docker.join(name), "").unwrap();
    }
    let hosts = of("b.example", Some(top.path())).unwrap();
    assert_eq!(hosts[0].tls.authorities, [docker.join("ca.crt")]);
    assert_eq!(
        hosts[0].tls.client,
        [(docker.join("me.cert"), Some(docker.join("me.key")))]
    );
}
