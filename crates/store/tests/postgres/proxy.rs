//! A proxy in front of the database that cuts a connection at a chosen byte, and then may turn
//! further ones away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// The direction of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    ToServer,
    ToClient,
}

/// Forwards connections; at most one cut waits.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

#[derive(Default)]
struct State {
    /// After how many further bytes of a direction the connection ends.
    cut: Option<(Side, usize)>,
    /// How many connections are turned away.
    refusals: usize,
    to_server_bytes: usize,
    to_client_bytes: usize,
}

impl Proxy {
    pub(crate) async fn start(server_port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has ports");
        let port = listener.local_addr().expect("is bound").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if refuses(&mut lock(&shared)) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)).await {
                    client.set_nodelay(true).expect("is connected");
                    server.set_nodelay(true).expect("is connected");
                    tokio::spawn(serve(client, server, Arc::clone(&shared)));
                }
            }
        });
        Proxy { port, state, task: task.abort_handle() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the next connection that has passed so many bytes from now on.
    pub(crate) fn cut(&self, side: Side, after_bytes: usize) {
        lock(&self.state).cut = Some((side, after_bytes));
    }

    /// Takes back a cut that was not reached.
    pub(crate) fn spare(&self) {
        lock(&self.state).cut = None;
    }

    /// Turns away the next connections, so many as are told, in place of any that were told before.
    pub(crate) fn refuse(&self, count: usize) {
        lock(&self.state).refusals = count;
    }

    /// Returns the bytes that have passed in a direction.
    pub(crate) fn passed_bytes(&self, side: Side) -> usize {
        let state = lock(&self.state);
        if side == Side::ToServer { state.to_server_bytes } else { state.to_client_bytes }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes note of a new connection, and tells whether it is turned away.
fn refuses(state: &mut State) -> bool {
    let refuses = state.refusals > 0;
    state.refusals = state.refusals.saturating_sub(1);
    refuses
}

/// Forwards both directions until one of them ends.
async fn serve(client: TcpStream, server: TcpStream, state: Arc<Mutex<State>>) {
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    tokio::select! {
        () = forward(client_in, server_out, Side::ToServer, &state) => {}
        () = forward(server_in, client_out, Side::ToClient, &state) => {}
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    side: Side,
    state: &Mutex<State>,
) {
    let mut buf = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buf).await
        && count > 0
    {
        let keep = pass(&mut lock(state), side, count);
        if to.write_all(&buf[..keep]).await.is_err() || keep < count {
            return;
        }
    }
}

/// Counts bytes, and returns how many of them pass.
fn pass(state: &mut State, side: Side, count: usize) -> usize {
    let keep = match &mut state.cut {
        Some((at, left)) if *at == side && *left < count => {
            let keep = *left;
            state.cut = None;
            keep
        }
        Some((at, left)) if *at == side => {
            *left -= count;
            count
        }
        _ => count,
    };
    match side {
        Side::ToServer => state.to_server_bytes += keep,
        Side::ToClient => state.to_client_bytes += keep,
    }
    keep
}
