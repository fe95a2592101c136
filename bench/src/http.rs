//! The least HTTP/1.1 client that keeps a connection alive, so that the load costs little CPU.
//!
//! It writes bytes that were made before and reads a status and a body of a stated length, which
//! is all that our server sends.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::sigv4::{Head, SecretKey, Signer};

use crate::world::Request;

const ANSWER_BYTES_MAX: usize = 1 << 20;
const READ_BYTES: usize = 4_096;

/// Signs requests for one server.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) region: &'static str,
    pub(crate) access_key_id: &'static str,
    pub(crate) secret: SecretKey,
}

impl Client {
    /// Returns the bytes of a signed request.
    pub(crate) fn signed(&self, request: &Request, now_ms: u64) -> Vec<u8> {
        let host = self.address.to_string();
        let bearer = request.bearer.as_deref().unwrap_or_default();
        let mut headers: Vec<(&str, &[u8])> = vec![("host", host.as_bytes())];
        if !bearer.is_empty() {
            headers.push(("x-amz-chime-bearer", bearer.as_bytes()));
        }
        let head = Head {
            method: request.method,
            raw_path: &request.path,
            raw_query: request.query.as_deref(),
            headers: &headers,
            host: None,
        };
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let signer = Signer::new(self.region, self.access_key_id, &self.secret);
        let added = signer.sign_header(&head, &request.body, now_ms);
        let query = request.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let line = format!("{} {}{query} HTTP/1.1\r\n", request.method, request.path);
        let mut bytes = line.into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };
        headers.iter().for_each(|(name, value)| line(name, value));
        added.iter().for_each(|(name, value)| line(name, value.as_bytes()));
        line("content-length", request.body.len().to_string().as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&request.body);
        bytes
    }
}

/// One connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(READ_BYTES) })
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if let Some((status, start, end)) = parse(&self.buffer)?
                && self.buffer.len() >= end
            {
                return Ok(Answer { status, body: self.buffer[start..end].to_vec() });
            }
            ensure!(self.buffer.len() < ANSWER_BYTES_MAX, "the answer is too long");
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}

/// Returns the status and where the body begins and ends, once the head is complete.
fn parse(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).context("the head is not text")?;
    let status = head.split(' ').nth(1).context("no status")?.parse().context("no status")?;
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    let length = head.lines().find_map(value).unwrap_or(0);
    Ok(Some((status, end + 4, end + 4 + length)))
}
