//! The ceiling of sockets: a program that does nothing but write the same frames to as many sockets.
//!
//! It runs as a process of its own, so that its CPU time is told apart like the server's. Each
//! socket has a task and a bounded queue, and what waits leaves in one vectored write. Nothing is
//! judged, stored or encoded: whoever publishes sends the frame as it is to arrive.

use std::io::{BufRead as _, BufReader, IoSlice, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use wire::sigv4::SecretKey;

use crate::cpu::Whose;
use crate::frame;
use crate::http::Client;
use crate::session::Door;

const BACKLOG: u32 = 4_096;
const QUEUE_FRAMES: usize = 4_096;
const BATCH_FRAMES: usize = 64;
const HEAD_BYTES_MAX: usize = 8 * 1024;
const READY: &str = "bare ready ";
/// What a connection begins with that publishes; others begin with a GET.
pub(crate) const PUBLISH: u8 = b'P';
/// The answer to every handshake, with the first event.
const WELCOME: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\
    \x81\x13SESSION_ESTABLISHED";

enum Said {
    /// Answered when the socket hears what is said from then on.
    Join(mpsc::Sender<Bytes>, oneshot::Sender<()>),
    Frame(Bytes),
}

/// Serves until the input ends.
pub(crate) fn run() -> Result<()> {
    crate::raise_limits();
    std::thread::spawn(|| {
        // The input ends with whoever started this.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Builder::new_multi_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener: TcpListener = socket.listen(BACKLOG)?;
    println!("{READY}{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let (said, hearing) = mpsc::channel(QUEUE_FRAMES);
    tokio::spawn(hub(hearing));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection(stream, said.clone()));
    }
}

async fn hub(mut hearing: mpsc::Receiver<Said>) {
    let mut members: Vec<mpsc::Sender<Bytes>> = Vec::new();
    while let Some(said) = hearing.recv().await {
        match said {
            Said::Join(member, joined) => {
                members.push(member);
                // A socket that is gone needs no answer.
                let _ = joined.send(());
            }
            Said::Frame(frame) => members.retain(|it| it.try_send(frame.clone()).is_ok()),
        }
    }
}

async fn connection(mut stream: TcpStream, said: mpsc::Sender<Said>) -> Result<()> {
    if stream.read_u8().await? == PUBLISH {
        return publisher(stream, said).await;
    }
    let mut head = BytesMut::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD_BYTES_MAX && stream.read_buf(&mut head).await? > 0, "no head");
    }
    drop(head);
    let (sender, queue) = mpsc::channel(QUEUE_FRAMES);
    let (joined, is_joined) = oneshot::channel();
    said.send(Said::Join(sender, joined)).await?;
    is_joined.await?;
    stream.write_all(WELCOME).await?;
    subscriber(stream, queue).await
}

async fn publisher(mut stream: TcpStream, said: mpsc::Sender<Said>) -> Result<()> {
    let mut heard = BytesMut::with_capacity(4_096);
    while stream.read_buf(&mut heard).await? > 0 {
        while let Some((_, _, end)) = frame::header(&heard)
            && end <= heard.len()
        {
            said.send(Said::Frame(Bytes::copy_from_slice(&heard.split_to(end)))).await?;
        }
    }
    Ok(())
}

async fn subscriber(mut stream: TcpStream, mut queue: mpsc::Receiver<Bytes>) -> Result<()> {
    let mut waiting = Vec::new();
    while queue.recv_many(&mut waiting, BATCH_FRAMES).await > 0 {
        while !waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); BATCH_FRAMES];
            slices.iter_mut().zip(&waiting).for_each(|(slice, it)| *slice = IoSlice::new(it));
            let mut written = stream.write_vectored(&slices[..waiting.len()]).await?;
            let whole = waiting.iter().take_while(|it| {
                let is_whole = written >= it.len();
                written -= if is_whole { it.len() } else { 0 };
                is_whole
            });
            let whole = whole.count();
            waiting.drain(..whole);
            if let Some(first) = waiting.first_mut() {
                first.advance(written);
            }
        }
    }
    Ok(())
}

/// The program as a child, until it is dropped.
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Bare {
    pub(crate) fn start() -> Result<Bare> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().context("the output is piped")?;
        let mut bare = Bare { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut line = String::new();
        BufReader::new(stdout.take(1_024)).read_line(&mut line)?;
        let address = line.trim().strip_prefix(READY).context("the bare program did not start")?;
        bare.address = address.parse()?;
        Ok(bare)
    }

    /// Returns the process, for what it uses.
    pub(crate) fn process(&self) -> Whose {
        Whose::Process(self.child.id())
    }

    /// Returns the process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns where its sessions are opened; it looks at no signature.
    pub(crate) fn door(&self) -> Door {
        let client = Client {
            address: self.address,
            region: "bare",
            access_key_id: "bare",
            secret: SecretKey::new("bare"),
        };
        Door { client: Arc::new(client), tls: None }
    }

    /// Connects somebody who publishes.
    pub(crate) async fn publisher(&self) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        stream.write_u8(PUBLISH).await?;
        Ok(stream)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
