//! A client that asks one thing over and over on one kept connection, and takes the time.
//!
//! It reads no answer but its length and status.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// One connection that is kept, and the one request it makes.
pub(crate) struct Client {
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, path: &str) -> Self {
        Self::asking(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
    }

    /// One that posts JSON.
    #[allow(dead_code)]
    pub(crate) fn posting(address: SocketAddr, path: &str, body: &str) -> Self {
        let (length, media) = (body.len(), "Content-Type: application/json");
        Self::asking(
            address,
            format!(
                "POST {path} HTTP/1.1\r\nHost: {address}\r\n{media}\r\nContent-Length: {length}\r\n\r\n{body}"
            ),
        )
    }

    fn asking(address: SocketAddr, request: String) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { stream, request, answer: Vec::new() }
    }

    /// Asks, and answers the microseconds until the whole body is there.
    pub(crate) fn get_us(&mut self) -> f64 {
        let start = Instant::now();
        self.stream.write_all(self.request.as_bytes()).expect("the server reads");
        self.answer.clear();
        let mut piece = [0; 16 * 1024];
        let mut whole = None;
        while whole != Some(self.answer.len()) {
            let read = self.stream.read(&mut piece).expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            self.answer.extend_from_slice(&piece[..read]);
            whole = whole.or_else(|| length(&self.answer));
        }
        let took = start.elapsed().as_nanos() as f64 / 1e3;
        assert!(self.answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.answer));
        took
    }

    pub(crate) fn body(&self) -> &[u8] {
        let head = head(&self.answer).expect("an answer");
        &self.answer[head..]
    }
}

fn head(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Bytes of head and body together, once the head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = head(answer)?;
    let text = std::str::from_utf8(&answer[..head]).expect("a head is text").to_ascii_lowercase();
    let length = text.split("content-length:").nth(1)?.split("\r\n").next()?.trim();
    Some(head + length.parse::<usize>().expect("a length is a number"))
}
