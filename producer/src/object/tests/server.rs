//! A web server of one file that behaves as a test wants.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::location::Location;

/// A request, as far as the tests look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its number, from 0.
    pub number: usize,
    /// The first and the last byte asked for.
    pub range: Option<(usize, Option<usize>)>,
    pub if_match: Option<String>,
    pub if_unmodified_since: Option<String>,
}

/// How the server answers a request.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// Close the connection after this many bytes of the body.
    pub cut_after: Option<usize>,
}

/// How an answer says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
    /// By the end of the connection.
    None,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), body: Vec::new(), framing: Framing::Length, cut_after: None }
    }

    /// The file, or the part of it that a request asks for.
    pub fn part(body: &[u8], request: &Request) -> Reply {
        let Some((first, last)) = request.range else { return Reply { body: body.to_vec(), ..Reply::status(200) } };
        let end = last.map_or(body.len(), |last| (last + 1).min(body.len()));
        let range = format!("bytes {first}-{}/{}", end - 1, body.len());
        Reply { body: body[first..end].to_vec(), ..Reply::status(206) }.with("Content-Range", &range)
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn cut_after(self, bytes: usize) -> Reply {
        Reply { cut_after: Some(bytes), ..self }
    }

    pub fn framed(self, framing: Framing) -> Reply {
        Reply { framing, ..self }
    }

    fn send(&self, mut to: &TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        match self.framing {
            Framing::Length => write!(head, "Content-Length: {}\r\n", self.body.len()).unwrap(),
            Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::None => {}
        }
        to.write_all(format!("{head}\r\n").as_bytes())?;
        let body = &self.body[..self.cut_after.unwrap_or(self.body.len()).min(self.body.len())];
        if self.framing != Framing::Chunked {
            return to.write_all(body);
        }
        for chunk in body.chunks(10_000) {
            to.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            to.write_all(chunk)?;
            to.write_all(b"\r\n")?;
        }
        if self.cut_after.is_none() { to.write_all(b"0\r\n\r\n") } else { Ok(()) }
    }
}

/// A server that runs until the test process ends.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(reply: impl Fn(&Request) -> Reply + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = Arc::clone(&server.requests);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                let number = requests.lock().unwrap().len();
                // A client that looks at the headers alone closes the connection early.
                let Some(request) = read(&connection, number) else { continue };
                requests.lock().unwrap().push(request.clone());
                reply(&request).send(&connection).ok();
            }
        });
        server
    }

    pub fn url(&self, name: &str) -> Location {
        format!("http://ann:secret@{}/files/{name}?signature=secret", self.address).parse().unwrap()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(connection: &TcpStream, number: usize) -> Option<Request> {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let first = lines.next()?;
    assert!(first.starts_with("GET /files/") && first.contains("?signature=secret "), "{first}");
    let mut request = Request { number, ..Request::default() };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let (first, last) = value.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                request.range = Some((first.parse().unwrap(), last.parse().ok()));
            }
            "if-match" => request.if_match = Some(value.to_owned()),
            "if-unmodified-since" => request.if_unmodified_since = Some(value.to_owned()),
            "authorization" => assert!(value.starts_with("Basic "), "{value}"),
            _ => {}
        }
    }
    Some(request)
}
