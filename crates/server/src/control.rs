//! The Unix socket of a data folder: how the command line speaks to the server that holds the
//! folder.
//!
//! Invariants: it serves the user of the server and the system's administrator, nobody else, and
//! the command line believes no other server; one line of JSON asks and one answers, both bounded
//! in bytes and time; the lock of the folder says whose the socket is. Where the system can, it
//! has no file, so that a copy of the folder after a crash meets nothing that cannot be copied. What is asked for is the same that
//! the command line does by itself where no server runs: [`perform`].

use std::io;
use std::os::unix::net::{self as unix, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use chat::{AccessKey, AccessKeyError, Chat, Owner};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::drain::{Drain, Guard};
use crate::logging;

/// The system's administrator, who may do everything anyway.
const ROOT_UID: u32 = 0;
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
const REPLY_BYTES_MAX: u64 = 1024 * 1024;
/// How long one exchange may take; the next one waits for it.
const EXCHANGE_MS_MAX: u64 = 5_000;
/// The pause after a failed accept.
const ACCEPT_PAUSE_MS: u64 = 100;

/// What the command line asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Create {
        owner: Owner,
        expires_ms: Option<i64>,
    },
    /// A page of keys, behind the id of the last one.
    List {
        after: Option<String>,
    },
    Delete {
        id: String,
    },
}

/// What it is answered. Never logged: it may hold a secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Created {
        key: AccessKey,
        secret: String,
    },
    Listed(Vec<AccessKey>),
    /// Whether the key was there.
    Deleted(bool),
    /// Why nothing was done, in words for the operator.
    Refused(String),
}

/// Does what is asked for.
pub(crate) async fn perform(chat: &Chat, request: Request) -> Reply {
    match attempt(chat, request).await {
        Ok(reply) => reply,
        Err(AccessKeyError::Store(error)) => {
            tracing::error!(error = %logging::chain(&error), "access keys cannot be managed");
            Reply::Refused("the store is not available".to_owned())
        }
        Err(error) => Reply::Refused(error.to_string()),
    }
}

async fn attempt(chat: &Chat, request: Request) -> Result<Reply, AccessKeyError> {
    match request {
        Request::Create { owner, expires_ms } => {
            let key = chat.create_access_key(&owner, expires_ms).await?;
            let secret = chat.access_key_secret(&key.id);
            let secret = secret.map(|secret| secret.expose().to_owned()).unwrap_or_default();
            Ok(Reply::Created { key, secret })
        }
        Request::List { after } => {
            let keys = chat.access_keys(after.as_deref()).await;
            keys.map(Reply::Listed).map_err(AccessKeyError::Store)
        }
        Request::Delete { id } => {
            let was_there = chat.delete_access_key(&id).await;
            was_there.map(Reply::Deleted).map_err(AccessKeyError::Store)
        }
    }
}

/// The address that belongs to a folder, however its path is written: its place on its device.
#[cfg(target_os = "linux")]
fn address(folder: &Path) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    let folder = std::fs::metadata(folder)?;
    SocketAddr::from_abstract_name(format!("campanile-{:x}-{:x}", folder.dev(), folder.ino()))
}

/// Elsewhere it is a file in the folder. One that a crash has left is nobody's: the caller holds
/// the folder's lock, or finds that nobody listens.
#[cfg(not(target_os = "linux"))]
fn address(folder: &Path) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(folder.join("campanile.sock"))
}

/// The socket of a running server.
pub(crate) struct Control {
    listener: UnixListener,
    address: SocketAddr,
}

impl Control {
    /// Opens the socket of `folder`, whose lock the caller holds.
    pub(crate) fn bind(folder: &Path) -> io::Result<Self> {
        let address = address(folder)?;
        remove(&address);
        let listener = unix::UnixListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, address })
    }

    /// Answers one client after the other until the drain starts.
    pub(crate) async fn run(self, chat: Chat, mut drain: Drain, _guard: Guard) {
        loop {
            let accepted = tokio::select! {
                () = drain.started() => break,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                continue;
            };
            let exchange = self.exchange(&chat, stream);
            let limit = Duration::from_millis(EXCHANGE_MS_MAX);
            if !matches!(timeout(limit, exchange).await, Ok(Ok(()))) {
                tracing::debug!("an exchange with the command line came to nothing");
            }
        }
        remove(&self.address);
    }

    async fn exchange(&self, chat: &Chat, mut stream: UnixStream) -> io::Result<()> {
        if !is_trusted(&stream)? {
            return Ok(());
        }
        let (read, mut write) = stream.split();
        let mut line = Vec::new();
        BufReader::new(read.take(REQUEST_BYTES_MAX)).read_until(b'\n', &mut line).await?;
        let reply = match serde_json::from_slice(&line) {
            Ok(request) => perform(chat, request).await,
            Err(_) => Reply::Refused("the server does not understand this version".to_owned()),
        };
        let mut line = serde_json::to_vec(&reply)?;
        line.push(b'\n');
        write.write_all(&line).await
    }
}

/// Removes the file of a socket, where it has one.
fn remove(address: &SocketAddr) {
    if let Some(path) = address.as_pathname() {
        // What is not there need not go; what cannot go is told by the bind that follows.
        let _ = std::fs::remove_file(path);
    }
}

/// Whether the other side is this user or the administrator.
fn is_trusted(stream: &UnixStream) -> io::Result<bool> {
    let peer = stream.peer_cred()?.uid();
    let (own, _other) = UnixStream::pair()?;
    Ok(peer == ROOT_UID || peer == own.peer_cred()?.uid())
}

/// Asks the server that holds `folder`; nothing when none listens there.
pub(crate) async fn ask(folder: &Path, request: &Request) -> anyhow::Result<Option<Reply>> {
    let connect = || unix::UnixStream::connect_addr(&address(folder)?);
    let stream = match connect() {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(error) => return Err(error).context("cannot speak to the running server"),
    };
    // Another exchange may come first.
    let limit = Duration::from_millis(2 * EXCHANGE_MS_MAX);
    let answer = timeout(limit, question(stream, request)).await;
    let answer = answer.map_err(io::Error::from).and_then(|answer| answer);
    answer.map(Some).context("the running server does not answer")
}

/// Without a server there is no folder, no socket, or one that a crash has left; a path that is too
/// long for a socket never was one.
fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, InvalidInput, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused | InvalidInput)
}

async fn question(stream: unix::UnixStream, request: &Request) -> io::Result<Reply> {
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    if !is_trusted(&stream)? {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's"));
    }
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut line = Vec::new();
    BufReader::new(stream.take(REPLY_BYTES_MAX)).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests;
