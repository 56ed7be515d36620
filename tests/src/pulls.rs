//! What every backend must make of registries: private ones, mirrors, and such as lie or break.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Answer, Finished, PrivateRegistry, Program, Served, Web, images, registry};

/// `carob` with a backend.
pub struct Puller<'a> {
    /// The command without a subcommand.
    pub carob: &'a dyn Fn() -> Command,
    /// For files of the test's own.
    pub dir: &'a Path,
}

impl Puller<'_> {
    /// What `hosts.toml` says of a registry from now on.
    pub fn configure(&self, registry: &str, hosts: &str) {
        let dir = self.dir.join("certs.d").join(registry);
        fs::create_dir_all(&dir).expect("the test's directory can be written");
        fs::write(dir.join("hosts.toml"), hosts).expect("the test's directory can be written");
    }

    /// `carob image pull IMAGE` with this content of Docker's `config.json`.
    pub fn pull(&self, image: &str, login: &str) -> Finished {
        let docker = self.dir.join("docker");
        fs::create_dir_all(&docker).expect("the test's directory can be written");
        fs::write(docker.join("config.json"), login).expect("the test's directory can be written");
        let mut command = (self.carob)();
        command
            .env("DOCKER_CONFIG", &docker)
            .env("CAROB_REGISTRY_CONFIG_DIR", self.dir.join("certs.d"))
            .args(["image", "pull", image]);
        Program::start(&mut command, b"").finish()
    }

    /// A pull that fails, saying this.
    fn refused(&self, image: &str, words: &str) {
        let failed = self.pull(image, "{}").expect(125);
        assert!(failed.err().contains(words), "{words}: {failed:?}");
        assert_eq!(failed.err().lines().count(), 1, "{failed:?}");
    }

    /// A registry with a certificate by a private authority and a password.
    pub fn uses_private_registries(&self) {
        let registry = PrivateRegistry::start();
        let image = registry.image();
        // Plain HTTP is what loopback gets when nothing else is said.
        self.refused(&image, "400 Bad Request");
        self.configure(
            &registry.address,
            "server = \"https://SERVER\""
                .replace("SERVER", &registry.address)
                .as_str(),
        );
        self.refused(&image, "invalid peer certificate");
        self.configure(
            &registry.address,
            &format!("ca = {:?}", registry.authority()),
        );
        self.refused(&image, "check the credentials");
        let wrong = registry
            .login()
            .replace("dXNlcjpzZWNyZXQ=", "dXNlcjp3cm9uZw==");
        let failed = self.pull(&image, &wrong).expect(125);
        assert!(failed.err().contains("check the credentials"), "{failed:?}");
        let pulled = self.pull(&image, &registry.login()).expect(0);
        assert!(pulled.out().contains("/team/busybox@sha256:"), "{pulled:?}");
    }

    /// A registry that cannot be reached, but has a mirror.
    pub fn uses_mirrors(&self) {
        let mirror = registry();
        let hosts = format!(
            "server = \"http://127.0.0.1:1\"\n[host.\"http://127.0.0.1:2\"]\n[host.\"http://{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]"
        );
        self.configure("registry.example", &hosts);
        let pulled = self.pull("registry.example/layers:1", "{}").expect(0);
        assert!(
            pulled.out().starts_with("registry.example/layers@sha256:"),
            "{pulled:?}"
        );
        self.configure("registry.example", "server = 7");
        self.refused("registry.example/layers:1", "server must be a string");
    }

    /// Registries that refuse.
    pub fn tells_why_a_registry_refuses(&self) {
        for (status, headers, words) in [
            (
                "401 Unauthorized",
                &[("WWW-Authenticate", "Basic realm=x")][..],
                "check the credentials",
            ),
            ("403 Forbidden", &[], "check the credentials"),
            ("404 Not Found", &[], "does not exist in its registry"),
            (
                "429 Too Many Requests",
                &[("Retry-After", "3600")],
                "limits the rate of requests: try again in 3600 s",
            ),
            ("418 I'm a teapot", &[], "418"),
        ] {
            let web = Web::new(move |_| Answer::new(status, headers, b""));
            self.refused(&format!("{}/app:1", web.address), words);
        }
    }

    /// Registries that send something else than they should.
    pub fn refuses_what_is_not_the_layer(&self) {
        let served = Served::new(&images().join("layers"));
        let last = served.layers().pop().expect("it has layers");
        let is = move |request: &crate::Request| request.path.ends_with(&last);
        type Lie = fn(Vec<u8>) -> Answer;
        let other: Lie = |bytes| Answer::new("200 OK", &[], &vec![7; bytes.len()]);
        let short: Lie = |bytes| Answer::new("200 OK", &[], &bytes[1..]);
        let long: Lie = |bytes| Answer::new("200 OK", &[], &[&bytes[..], b"x"].concat());
        for lie in [other, short, long] {
            let (served, is) = (served.clone(), is.clone());
            let web = Web::new(move |request| match is(request) {
                true => lie(served.content(&request.path)),
                false => served.answer(request),
            });
            self.refused(
                &format!("{}/app:1", web.address),
                "is refused: the content is",
            );
        }
        // Nothing of it is there afterwards, so the true one is taken.
        let web = Web::new(move |request| served.answer(request));
        self.pull(&format!("{}/app:1", web.address), "{}").expect(0);
    }

    /// A registry whose connections break.
    pub fn goes_on_where_a_connection_broke(&self) {
        let served = Served::new(&images().join("nginx"));
        let largest = served
            .layers()
            .into_iter()
            .max_by_key(|layer| served.content(&format!("/blobs/{layer}")).len());
        let largest = largest.expect("it has layers");
        let whole = served.content(&format!("/blobs/{largest}")).len();
        let (cut, name, times) = (served.clone(), largest.clone(), AtomicUsize::new(0));
        let web = Web::new(move |request| {
            if !request.path.ends_with(&name) || times.fetch_add(1, Ordering::Relaxed) > 2 {
                return cut.answer(request);
            }
            let rest = &cut.content(&request.path)[request.from..];
            let range = format!("bytes {}-{}/{whole}", request.from, whole - 1);
            let status = match request.from {
                0 => "200 OK",
                _ => "206 Partial Content",
            };
            Answer::lying(
                status,
                &[("Content-Range", &range)],
                rest.len(),
                &rest[..rest.len() / 2],
            )
        });
        self.pull(&format!("{}/app:1", web.address), "{}").expect(0);
        let requests = web.requests();
        let starts: Vec<_> = requests
            .iter()
            .filter(|r| r.path.ends_with(&largest))
            .map(|r| r.from)
            .collect();
        assert_eq!(starts.len(), 4, "{starts:?}");
        assert!(
            starts.is_sorted() && starts[1] > 0,
            "nothing is asked for twice: {starts:?}"
        );
    }
}
