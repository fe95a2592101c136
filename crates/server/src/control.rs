//! The Unix socket in the data folder: how the command line speaks to the server that holds the
//! folder.
//!
//! Invariants: it serves the user of the server and the system's administrator, nobody else; one
//! line of JSON asks and one answers, both bounded in bytes and time; the lock of the folder says
//! whose the socket is, so that one left by a crash is replaced. What is asked for is the same that
//! the command line does by itself where no server runs: [`perform`].

use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use chat::{AccessKey, AccessKeyError, Chat, Owner};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::drain::{Drain, Guard};
use crate::logging;

/// The socket in the data folder.
const FILE: &str = "campanile.sock";
/// Readable and writable by the owner, by nobody else.
const FILE_MODE: u32 = 0o600;
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

/// The socket of a running server.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
    /// The user of the server.
    uid: u32,
}

impl Control {
    /// Opens the socket in `folder`, whose lock the caller holds.
    pub(crate) fn bind(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        // Who came in between is refused by his user all the same.
        fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))?;
        let uid = fs::symlink_metadata(&path)?.uid();
        Ok(Self { listener, path, uid })
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
        // A start removes it too.
        let _ = fs::remove_file(&self.path);
    }

    async fn exchange(&self, chat: &Chat, mut stream: UnixStream) -> io::Result<()> {
        let peer = stream.peer_cred()?.uid();
        if peer != self.uid && peer != ROOT_UID {
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

/// Asks the server that holds `folder`; nothing when none listens there.
pub(crate) fn ask(folder: &Path, request: &Request) -> anyhow::Result<Option<Reply>> {
    let stream = match BlockingStream::connect(folder.join(FILE)) {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(error) => return Err(error).context("cannot speak to the running server"),
    };
    let answer = exchange(&stream, request);
    answer.map(Some).context("the running server does not answer")
}

/// Without a server there is no socket, or one that a crash has left; a path that is too long for a
/// socket never was one.
fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, InvalidInput, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused | InvalidInput)
}

fn exchange(mut stream: &BlockingStream, request: &Request) -> io::Result<Reply> {
    // Another exchange may come first.
    let limit = Some(Duration::from_millis(2 * EXCHANGE_MS_MAX));
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut line = Vec::new();
    let read = io::Read::take(stream, REPLY_BYTES_MAX);
    io::BufReader::new(read).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests;
