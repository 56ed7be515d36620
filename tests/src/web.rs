//! A registry of one image that answers each request as the test wants, in truth or not.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// An OCI layout with one image, as a registry would serve it.
#[derive(Clone)]
pub struct Served {
    dir: PathBuf,
    manifest: String,
}

impl Served {
    /// That of a layout in this directory.
    pub fn new(dir: &Path) -> Self {
        let index: Value =
            serde_json::from_slice(&read(&dir.join("index.json"))).expect("an index is JSON");
        let manifest = index["manifests"][0]["digest"]
            .as_str()
            .expect("it has a digest");
        Self {
            dir: dir.to_owned(),
            manifest: manifest.to_owned(),
        }
    }

    fn blob(&self, digest: &str) -> Vec<u8> {
        read(
            &self
                .dir
                .join("blobs/sha256")
                .join(digest.trim_start_matches("sha256:")),
        )
    }

    /// The digests of its layers.
    pub fn layers(&self) -> Vec<String> {
        let manifest: Value =
            serde_json::from_slice(&self.blob(&self.manifest)).expect("a manifest is JSON");
        let layers = manifest["layers"].as_array().expect("it has layers");
        let digests = layers
            .iter()
            .map(|layer| layer["digest"].as_str().expect("a digest"));
        digests.map(str::to_owned).collect()
    }

    /// What a request's path names.
    pub fn content(&self, path: &str) -> Vec<u8> {
        match path.rsplit('/').next() {
            Some(digest) if path.contains("/blobs/") => self.blob(digest),
            _ => self.blob(&self.manifest),
        }
    }

    /// The honest answer.
    pub fn answer(&self, request: &Request) -> Answer {
        let kind = match request.path.contains("/manifests/") {
            true => "application/vnd.oci.image.manifest.v1+json",
            false => "application/octet-stream",
        };
        let all = self.content(&request.path);
        match request.from {
            0 => Answer::new("200 OK", &[("Content-Type", kind)], &all),
            from => {
                let range = format!("bytes {from}-{}/{}", all.len() - 1, all.len());
                Answer::new(
                    "206 Partial Content",
                    &[("Content-Range", &range)],
                    &all[from..],
                )
            }
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

/// What came in.
#[derive(Debug, Clone)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// The first byte that is asked for.
    pub from: usize,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

/// What goes out.
pub struct Answer {
    bytes: Vec<u8>,
    stalls: bool,
}

impl Answer {
    /// An answer of which all is true.
    pub fn new(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self::lying(status, headers, body.len(), body)
    }

    /// One whose length need not be.
    pub fn lying(status: &str, headers: &[(&str, &str)], length: usize, body: &[u8]) -> Self {
        let mut head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Self {
            bytes: [head.as_bytes(), body].concat(),
            stalls: false,
        }
    }

    /// After which nothing comes until the client goes away.
    #[must_use]
    pub fn stalling(mut self) -> Self {
        self.stalls = true;
        self
    }
}

/// Serves until it goes.
pub struct Web {
    /// Host and port.
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

impl Web {
    /// Answers each request with what `handler` makes of it.
    pub fn new(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound").to_string();
        let web = Self {
            address,
            requests: Arc::default(),
            stop: Arc::default(),
        };
        let (requests, stop) = (web.requests.clone(), web.stop.clone());
        let handler: Handler = Arc::new(handler);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (handler, requests) = (handler.clone(), requests.clone());
                thread::spawn(move || serve(stream, &handler, &requests));
            }
        });
        web
    }

    /// What was asked for so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no handler panics").clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener up.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, requests: &Mutex<Vec<Request>>) {
    let Ok(input) = stream.try_clone() else {
        return;
    };
    let mut input = BufReader::new(input);
    let mut lines = (&mut input)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    let Some(first) = lines.next() else { return };
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        from: 0,
        authorization: None,
    };
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                let start = value
                    .trim()
                    .trim_start_matches("bytes=")
                    .trim_end_matches('-');
                request.from = start.parse().expect("a client asks for a range");
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                request.authorization = Some(value.trim().to_owned());
            }
            _ => {}
        }
    }
    requests
        .lock()
        .expect("no handler panics")
        .push(request.clone());
    let answer = handler(&request);
    // The client may have gone; that is what some tests want.
    let sent = stream.write_all(&answer.bytes).is_ok();
    if sent && answer.stalls {
        let _ = input.read_line(&mut String::new());
    }
}
