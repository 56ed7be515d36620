//! A web server that misbehaves on request: every answer is written byte by byte by the test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What came in.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// What goes out.
#[derive(Clone)]
pub(super) struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone)]
enum Then {
    Close,
    /// Writes this again and again until the client goes away.
    Repeat(Vec<u8>),
    /// Says nothing until the client goes away.
    Wait,
}

impl Reply {
    pub(super) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            then: Then::Close,
        }
    }

    pub(super) fn new(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self::lying(status, headers, body.len() as u64, body)
    }

    /// With a length that need not be true.
    pub(super) fn lying(status: &str, headers: &[(&str, &str)], length: u64, body: &[u8]) -> Self {
        let mut head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Self {
            bytes: [head.as_bytes(), body].concat(),
            then: Then::Close,
        }
    }

    pub(super) fn forever(mut self, text: &str) -> Self {
        self.then = Then::Repeat(text.repeat(100).into_bytes());
        self
    }

    pub(super) fn stalling(mut self) -> Self {
        self.then = Then::Wait;
        self
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// Stops when dropped.
pub(super) struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn new(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (requests, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let server = Self {
            address,
            requests: Arc::clone(&requests),
            stop: Arc::clone(&stop),
        };
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (handler, requests) = (handler.clone(), requests.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &*handler, &requests));
            }
        });
        server
    }

    /// What was asked for so far, by the end of the path.
    pub(super) fn requests(&self, end: &str) -> Vec<Request> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|request| request.path.ends_with(end))
            .cloned()
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener up.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, requests: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = (&mut reader)
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let request = Request {
        path,
        headers: headers.collect(),
    };
    requests.lock().unwrap().push(request.clone());
    let reply = handler(&request);
    // The client may have gone; that is what some tests want.
    let mut open = stream.write_all(&reply.bytes).is_ok();
    match reply.then {
        Then::Close => {}
        Then::Repeat(text) => {
            while open {
                open = stream.write_all(&text).is_ok();
            }
        }
        Then::Wait => {
            let _ = reader.read_line(&mut String::new());
        }
    }
}
