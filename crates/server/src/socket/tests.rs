use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::task::JoinHandle;

use super::*;
use crate::outbox::{self, Outbox};

const PIPE_BYTES: usize = 64;

struct Client {
    read: ReadHalf<DuplexStream>,
    write: WriteHalf<DuplexStream>,
    socket: JoinHandle<()>,
}

impl Client {
    fn connect(leftover: &'static [u8]) -> (Self, Outbox) {
        Self::connect_until(leftover, None)
    }

    fn connect_until(leftover: &'static [u8], expiry: Option<Instant>) -> (Self, Outbox) {
        let (client, server) = duplex(PIPE_BYTES);
        let (outbox, inbox) = outbox::new(Arc::default());
        let socket = tokio::spawn(serve(server, leftover, inbox, expiry));
        let (read, write) = split(client);
        (Self { read, write, socket }, outbox)
    }

    async fn expect(&mut self, bytes: &[u8]) {
        let mut heard = vec![0; bytes.len()];
        self.read.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, bytes);
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
    }

    /// The server has closed the stream and its task has ended.
    async fn ended(mut self) {
        assert_eq!(self.read.read(&mut [0; 1]).await.unwrap(), 0);
        self.socket.await.unwrap();
    }
}

/// A close frame of a client, masked with zeros.
const CLIENT_CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

#[tokio::test]
async fn frames_are_written_as_they_come_and_a_close_is_answered() {
    let (mut client, outbox) = Client::connect(b"");
    outbox.push(frame::text(b"one")).unwrap();
    outbox.push(frame::text(b"two")).unwrap();
    client.expect(b"\x81\x03one\x81\x03two").await;
    client.send(CLIENT_CLOSE).await;
    client.expect(b"\x88\x02\x03\xe8").await;
    client.ended().await;
    assert_eq!(outbox.push(Bytes::new()), Err(outbox::Refused::Gone));
}

#[tokio::test]
async fn pings_are_answered_also_those_behind_the_handshake() {
    let (mut client, _outbox) = Client::connect(b"\x89\x81\0\0\0\0a");
    client.expect(b"\x8a\x01a").await;
    client.send(b"\x89\x81\0\0\0\0b").await;
    client.expect(b"\x8a\x01b").await;
}

#[tokio::test]
async fn a_pong_is_told_to_the_hub() {
    let (mut client, outbox) = Client::connect(b"");
    assert!(outbox.was_alive());
    client.send(b"\x8a\x80\0\0\0\0").await;
    client.send(b"\x89\x80\0\0\0\0").await;
    client.expect(b"\x8a\x00").await;
    assert!(outbox.was_alive());
}

#[tokio::test]
async fn an_ordered_end_comes_after_the_frames_that_wait() {
    let (mut client, outbox) = Client::connect(b"");
    outbox.push(frame::text(b"last")).unwrap();
    outbox.close(Close::Kicked);
    client.expect(b"\x81\x04last").await;
    client.expect(&frame::close(Close::Kicked)).await;
    client.send(CLIENT_CLOSE).await;
    client.ended().await;
}

#[tokio::test]
async fn a_slow_client_is_closed_between_frames() {
    let (mut client, outbox) = Client::connect(b"");
    let long = [b'a'; 100];
    outbox.push(frame::text(&long)).unwrap();
    outbox.push(frame::text(b"never seen")).unwrap();
    // The first frame has begun: the pipe holds less than it.
    let mut begun = [0; 2];
    client.read.read_exact(&mut begun).await.unwrap();
    outbox.give_up();
    client.expect(&long).await;
    client.expect(&frame::close(Close::Slow)).await;
    client.send(CLIENT_CLOSE).await;
    client.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_answers_a_close_is_left() {
    let (mut client, outbox) = Client::connect(b"");
    let start = Instant::now();
    outbox.close(Close::Restart);
    client.expect(&frame::close(Close::Restart)).await;
    client.ended().await;
    assert_eq!(start.elapsed().as_millis(), u128::from(CLOSE_MS_MAX));
}

#[tokio::test]
async fn a_refused_client_hears_4401() {
    let (client, server) = duplex(PIPE_BYTES);
    let refused = tokio::spawn(refuse(server, Close::Unauthorized));
    let (mut read, mut write) = split(client);
    let mut heard = vec![0; 16];
    read.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, b"\x88\x0e\x11\x31Unauthorized");
    write.write_all(CLIENT_CLOSE).await.unwrap();
    refused.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn too_much_of_a_client_closes_with_1009() {
    let (mut client, _outbox) = Client::connect(b"");
    client.send(b"\x82\xff\0\0\0\0\0\x02\0\0\0\0\0\0").await;
    client.expect(&frame::close(Close::TooBig)).await;
    client.ended().await;
}

#[tokio::test]
async fn a_socket_ends_when_the_hub_is_gone() {
    let (mut client, outbox) = Client::connect(b"");
    drop(outbox);
    client.expect(&frame::close(Close::Restart)).await;
}

#[tokio::test(start_paused = true)]
async fn an_ordered_end_comes_also_to_a_client_that_takes_nothing() {
    let (client, outbox) = Client::connect(b"");
    outbox.push(frame::text(&[b'x'; 4 * PIPE_BYTES])).unwrap();
    tokio::task::yield_now().await;
    let start = Instant::now();
    outbox.close(Close::Kicked);
    client.socket.await.unwrap();
    assert_eq!(start.elapsed().as_millis(), u128::from(STUCK_MS_MAX));
}

#[tokio::test(start_paused = true)]
async fn a_socket_ends_with_its_credentials_behind_what_was_sent_before() {
    let expiry = Instant::now() + Duration::from_secs(60);
    let (mut client, outbox) = Client::connect_until(b"", Some(expiry));
    outbox.push(frame::text(b"one")).unwrap();
    client.expect(b"\x81\x03one").await;
    assert!(Instant::now() < expiry);
    client.expect(b"\x88\x15\x03\xe9Credentials expired").await;
    assert_eq!(Instant::now(), expiry);
    client.send(CLIENT_CLOSE).await;
    client.ended().await;
}

#[tokio::test]
async fn a_closing_socket_is_not_counted_among_those_that_are_awake() {
    let (client, server) = duplex(PIPE_BYTES);
    let awake = Arc::new(outbox::Awake::default());
    let (outbox, inbox) = outbox::new(Arc::clone(&awake));
    let socket = tokio::spawn(serve(server, b"", inbox, None));
    let (read, write) = split(client);
    let mut client = Client { read, write, socket };
    outbox.push(frame::text(b"one")).unwrap();
    client.expect(b"\x81\x03one").await;
    assert_eq!(awake.count(), 0);
    client.send(b"\x88\x80\0\0\0").await;
    client.send(b"\0").await;
    client.expect(b"\x88\x00").await;
    // Whether it is still closing or has ended, the frame is not for it.
    let _ = outbox.push(frame::text(b"two"));
    assert_eq!(awake.count(), 0);
    client.ended().await;
}
