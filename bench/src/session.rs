//! WebSocket sessions as a client opens them: a signed request, the 101, the first event.
//!
//! Invariant: a session that is returned has heard SESSION_ESTABLISHED; whatever else comes in its
//! place is an error that says what it was.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use store::{Clock as _, SystemClock};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use wire::sigv4::{Head, Signer};

use crate::frame::{self, CLOSE, TEXT};
use crate::http::Client;
use crate::world::label;

const EXPIRES_SECONDS: u32 = 300;
/// Bytes of an answer and of the first frames.
const OPENING_BYTES_MAX: usize = 16 * 1024;
/// Sessions that are opened side by side where nothing depends on their number.
const OPENING_MAX: usize = 128;
const ESTABLISHED: &[u8] = b"SESSION_ESTABLISHED";

/// Where sessions are opened.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) client: Arc<Client>,
    pub(crate) tls: Option<TlsConnector>,
}

/// The stream of a session.
pub(crate) enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An open session.
pub(crate) struct Session {
    pub(crate) line: Line,
    /// What came behind the first event.
    pub(crate) leftover: Vec<u8>,
}

impl Door {
    /// Opens a session of a user.
    pub(crate) async fn open(&self, user: &str, name: &str) -> Result<Session> {
        self.open_noting(user, name, || ()).await
    }

    /// Opens a session and says when it was upgraded.
    pub(crate) async fn open_noting(
        &self,
        user: &str,
        name: &str,
        upgraded: impl FnOnce(),
    ) -> Result<Session> {
        let stream = TcpStream::connect(self.client.address).await?;
        stream.set_nodelay(true)?;
        let request = self.request(user, name);
        match &self.tls {
            None => shake(stream, &request, Line::Plain, upgraded).await,
            Some(connector) => {
                let name = ServerName::from(self.client.address.ip());
                let stream = connector.connect(name, stream).await?;
                shake(stream, &request, |stream| Line::Tls(Box::new(stream)), upgraded).await
            }
        }
    }

    /// Opens a session of each user, some at a time, and returns them in the users' order.
    pub(crate) async fn open_all(&self, users: &[String]) -> Result<Vec<Session>> {
        let mut sessions: Vec<Option<Session>> = users.iter().map(|_| None).collect();
        let mut opening = JoinSet::new();
        for (place, user) in users.iter().enumerate() {
            if opening.len() >= OPENING_MAX {
                let opened: Option<Result<_, _>> = opening.join_next().await;
                let (place, session): (usize, Result<Session>) = opened.context("none opens")??;
                sessions[place] = Some(session?);
            }
            let (door, user) = (self.clone(), user.clone());
            opening.spawn(async move { (place, door.open(&user, &format!("s{place}")).await) });
        }
        while let Some(opened) = opening.join_next().await {
            let (place, session) = opened?;
            sessions[place] = Some(session?);
        }
        sessions.into_iter().collect::<Option<_>>().context("a session was not opened")
    }

    fn request(&self, user: &str, name: &str) -> Vec<u8> {
        let client = &self.client;
        let host = client.address.to_string();
        let query = format!("sessionId={name}&userArn={}", label(user));
        let head = Head {
            method: "GET",
            raw_path: "/connect",
            raw_query: Some(&query),
            headers: &[],
            host: Some(&host),
        };
        let signer = Signer::new(client.region, client.access_key_id, &client.secret);
        let now_ms = i64::try_from(SystemClock.now_ms()).unwrap_or(i64::MAX);
        let query = signer.presign(&head, EXPIRES_SECONDS, now_ms);
        format!(
            "GET /connect?{query} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes()
    }
}

impl Line {
    /// Reads, and returns zero at the end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Plain(stream) => stream.read(buffer).await,
            Line::Tls(stream) => stream.read(buffer).await,
        }
    }
}

/// Returns what connects to a server whose self-signed authority stands in this file.
pub(crate) fn trusting(authority: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &[u8],
    line: impl FnOnce(S) -> Line,
    note: impl FnOnce(),
) -> Result<Session> {
    stream.write_all(request).await?;
    let mut heard = Vec::with_capacity(512);
    let head = loop {
        if let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        more(&mut stream, &mut heard).await?;
    };
    let status = heard.get(9..12).unwrap_or_default();
    ensure!(status == b"101", "refused with status {}", String::from_utf8_lossy(status));
    heard.drain(..head);
    note();
    loop {
        if let Some((opcode, payload)) = frame::split(&mut heard)? {
            match opcode {
                TEXT if payload.windows(ESTABLISHED.len()).any(|it| it == ESTABLISHED) => break,
                TEXT => bail!("the first event is another"),
                CLOSE => bail!("closed with {}", frame::close_code(&payload)),
                _ => continue,
            }
        }
        more(&mut stream, &mut heard).await?;
    }
    // Ten thousand of them are held.
    let leftover = heard.as_slice().to_vec();
    Ok(Session { line: line(stream), leftover })
}

async fn more<S: AsyncRead + Unpin>(stream: &mut S, heard: &mut Vec<u8>) -> Result<()> {
    ensure!(heard.len() < OPENING_BYTES_MAX, "too much came before the first event");
    match stream.read_buf(heard).await? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        _ => Ok(()),
    }
}
