//! Mirrors by `hosts.toml`: who is asked for what, in which order, and with which login.

use super::*;

const REGISTRY: &str = "registry.example:5000";
const IMAGE: &str = "registry.example:5000/team/app:v1";

fn gone() -> Server {
    Server::new(|_| Reply::new("404 Not Found", &[], b"{}"))
}

fn table(server: &Server, more: &str) -> String {
    format!("[host.\"http://{}\"]\n{more}\n", server.address)
}

/// The registry itself cannot be reached: a port of this machine on which nobody listens.
const NOWHERE: &str = "server = \"http://127.0.0.1:1\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_are_asked_in_their_order_and_named_the_registry() {
    let content = Content::new(&[1000]);
    let first = gone();
    let served = content.clone();
    let second = Server::new(move |request| {
        served.answer(&Request {
            path: request.path.split('?').next().unwrap().to_owned(),
            ..request.clone()
        })
    });
    let mut ground = Ground::new();
    let hosts = [NOWHERE, &table(&first, ""), &table(&second, "")].concat();
    ground.configure(REGISTRY, &hosts);
    let image = ground.pull(IMAGE).await.unwrap();
    assert_eq!(image.references, [IMAGE]);
    let all = "?ns=registry.example%3A5000";
    let asked = |server: &Server| -> Vec<_> {
        let requests = server.requests("").into_iter();
        requests
            .map(|r| r.path.split('?').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(asked(&first)[0], "/v2/team/app/manifests/v1");
    assert!(first.requests("").iter().all(|r| r.path.ends_with(all)));
    assert_eq!(asked(&second).len(), 3, "manifest, configuration, layer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_the_capability_to_resolve_gives_content_alone() {
    let content = Content::new(&[1000]);
    let strip = |content: Content| {
        move |request: &Request| {
            content.answer(&Request {
                path: request.path.split('?').next().unwrap().to_owned(),
                ..request.clone()
            })
        }
    };
    let mirror = Server::new(strip(content.clone()));
    let registry = Server::new(strip(content));
    let mut ground = Ground::new();
    let hosts = [
        format!("server = \"http://{}\"\n", registry.address),
        table(&mirror, "capabilities = [\"pull\"]"),
    ];
    ground.configure(REGISTRY, &hosts.concat());
    ground.pull(IMAGE).await.unwrap();
    assert_eq!(mirror.requests("").len(), 2, "configuration and layer");
    assert_eq!(registry.requests("").len(), 1, "manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mirror_breaks_off_or_forges_another_completes() {
    let content = Content::new(&[100_000]);
    let answer = |content: &Content, request: &Request| {
        content.answer(&Request {
            path: request.path.split('?').next().unwrap().to_owned(),
            ..request.clone()
        })
    };
    let (served, layer) = (content.clone(), content.blob(0));
    let cut = Server::new(move |request| match request.path.contains(&layer) {
        true => Reply::lying(
            "200 OK",
            &[],
            served.layers[0].len() as u64,
            &served.layers[0][..5000],
        ),
        false => answer(&served, request),
    });
    let (served, layer) = (content.clone(), content.blob(0));
    let forges = Server::new(move |request| match request.path.contains(&layer) {
        true => Reply::new("200 OK", &[], &vec![7; served.layers[0].len()]),
        false => answer(&served, request),
    });
    let registry = Server::new(move |request| answer(&content, request));
    let mut ground = Ground::new();
    let hosts = [
        format!("server = \"http://{}\"\n", registry.address),
        table(&cut, ""),
        table(&forges, ""),
    ];
    ground.configure(REGISTRY, &hosts.concat());
    ground.pull(IMAGE).await.unwrap();
    assert_eq!(registry.requests("").len(), 1, "the layer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_gets_the_headers_for_it_and_no_login_for_the_registry() {
    let content = Content::new(&[10]);
    let mirror =
        Server::new(
            move |request| match request.headers.get("x-team").map(String::as_str) {
                Some("blue") => Reply::new(
                    "401 Unauthorized",
                    &[("WWW-Authenticate", "Basic realm=x")],
                    b"",
                ),
                _ => Reply::new("403 Forbidden", &[], b""),
            },
        );
    let served = content.clone();
    let registry = Server::new(move |request| match request.headers.get("authorization") {
        Some(_) => served.answer(&Request {
            path: request.path.split('?').next().unwrap().to_owned(),
            ..request.clone()
        }),
        None => Reply::new(
            "401 Unauthorized",
            &[("WWW-Authenticate", "Basic realm=x")],
            b"",
        ),
    });
    let mut ground = Ground::new();
    let hosts = [
        format!("server = \"http://{}\"\n", registry.address),
        table(&mirror, "header = {X-Team = \"blue\"}"),
    ];
    ground.configure(REGISTRY, &hosts.concat());
    ground.options.credentials = Credentials::login("me", "secret");
    ground.pull(IMAGE).await.unwrap();
    let asked = mirror.requests("");
    assert!(
        !asked.is_empty()
            && asked
                .iter()
                .all(|r| !r.headers.contains_key("authorization"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_has_it_each_says_why() {
    let mirror = gone();
    let mut ground = Ground::new();
    ground.configure(REGISTRY, &[NOWHERE, &table(&mirror, "")].concat());
    let error = ground.refused(IMAGE).await;
    assert!(matches!(error, ImageError::Unavailable { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&mirror.address) && text.contains("registry.example:5000"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_file_is_told() {
    let mut ground = Ground::new();
    for (hosts, reason) in [
        ("server = ", "not TOML"),
        ("server = 7", "server must be a string"),
        ("server = \"ftp://x\"", "no URL of http or https"),
        (
            "[host.\"https://u:p@x\"]",
            "a login or query is not possible",
        ),
        ("host = 1", "host must be a table"),
        ("ca = 1", "ca must be a string or a list of strings"),
        ("client = [[\"a\", \"b\", \"c\"]]", "client must be a file"),
        ("skip_verify = \"yes\"", "skip_verify must be true or false"),
        (
            "capabilities = [\"push\"]",
            "names no server with the capabilities",
        ),
        ("ca = \"absent.pem\"", "cannot read"),
        ("[header]\n\"a b\" = \"c\"", "is no header"),
        ("[header]\nX = \"a\\nb\"", "forbidden characters"),
    ] {
        ground.configure(REGISTRY, hosts);
        let error = ground.refused(IMAGE).await.to_string();
        assert!(error.contains(reason), "{hosts}: {error}");
    }
}
