//! Against a server of few lines that speaks as much of the protocol as the client needs.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const INFO: &str = "INFO {\"server_id\":\"x\",\"server_name\":\"x\",\"version\":\"2.9.0\",\"go\":\"go\",\
                    \"host\":\"127.0.0.1\",\"port\":4222,\"headers\":true,\"max_payload\":1000,\
                    \"proto\":1,\"client_id\":1}\r\n";

struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// One connection of a client.
struct Peer {
    stream: BufReader<TcpStream>,
}

impl Server {
    async fn new() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("is bound");
        Server { listener, address }
    }

    async fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.expect("a client comes");
        let mut peer = Peer { stream: BufReader::new(stream) };
        peer.say(INFO).await;
        peer
    }

    fn options(&self) -> Options {
        let url = Zeroizing::new(format!("nats://ann:hidden@{}", self.address));
        Options { url, name: "test".to_owned(), ..Options::default() }
    }
}

impl Peer {
    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the client reads");
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.expect("the client writes");
        line.trim_end().to_owned()
    }

    /// Reads up to a command of this name, and answers pings on the way.
    async fn until(&mut self, name: &str) -> String {
        loop {
            let line = self.line().await;
            if line.starts_with(name) {
                return line;
            }
            match line.as_str() {
                "PING" => self.say("PONG\r\n").await,
                "" => panic!("the client went away before {name}"),
                _ => {}
            }
        }
    }

    /// Lets a client in.
    async fn welcome(&mut self) -> String {
        let connect = self.until("CONNECT").await;
        assert_eq!(self.line().await, "PING");
        self.say("PONG\r\n").await;
        connect
    }
}

/// Waits for a change of the connection.
async fn connected(nats: &Nats, is_there: bool) {
    let mut connected = nats.connected();
    connected.wait_for(|it| *it == is_there).await.expect("the connection is kept");
}

async fn open(server: &Server) -> (Nats, Peer) {
    let options = server.options();
    let serve = async {
        let mut peer = server.accept().await;
        let connect = peer.welcome().await;
        assert!(connect.contains("\"pass\":\"hidden\"") && connect.contains("\"echo\":false"));
        peer
    };
    let (nats, peer) = tokio::join!(Nats::open(&options), serve);
    let nats = nats.expect("is let in");
    connected(&nats, true).await;
    (nats, peer)
}

#[tokio::test]
async fn messages_go_out_and_come_in() {
    let server = Server::new().await;
    let (nats, mut peer) = open(&server).await;
    let mut subscription = nats.subscribe("a.>").await.expect("is there");
    let sid = peer.until("SUB a.>").await.rsplit(' ').next().map(str::to_owned).expect("a number");
    assert_eq!(nats.publish("a.b", Bytes::from_static(b"out")).await, Ok(()));
    assert_eq!(peer.until("PUB").await, "PUB a.b 3");
    peer.say(&format!("MSG a.b {sid} 2\r\nin\r\n")).await;
    assert_eq!(subscription.next().await, Some(Bytes::from_static(b"in")));
    assert_eq!(nats.payload_bytes_max(), 1000);
    let large = Bytes::from(vec![0; 1001]);
    assert_eq!(nats.publish("a.b", large).await, Err(NotSent::TooLarge));
}

#[tokio::test]
async fn a_server_that_goes_away_refuses_at_once_and_is_found_again() {
    let server = Server::new().await;
    let (nats, peer) = open(&server).await;
    let mut subscription = nats.subscribe("a.>").await.expect("is there");
    drop(peer);
    connected(&nats, false).await;
    assert_eq!(nats.publish("a.b", Bytes::new()).await, Err(NotSent::Away));
    assert_eq!(nats.ping("a.ping").await, Err(NotSent::Away));
    let mut peer = server.accept().await;
    peer.welcome().await;
    let sid = peer.until("SUB a.>").await.rsplit(' ').next().map(str::to_owned).expect("a number");
    connected(&nats, true).await;
    peer.say(&format!("MSG a.b {sid} 2\r\nin\r\n")).await;
    assert_eq!(subscription.next().await, Some(Bytes::from_static(b"in")));
}

#[tokio::test]
async fn a_ping_is_answered_by_the_server_itself() {
    let server = Server::new().await;
    let (nats, mut peer) = open(&server).await;
    let serve = async {
        let sid = peer.until("SUB _INBOX").await;
        let sid = sid.rsplit(' ').next().expect("a number").to_owned();
        let asked = peer.until("PUB a.ping").await;
        let inbox = asked.split(' ').nth(2).expect("an inbox");
        let head = "NATS/1.0 503\r\n\r\n";
        let length = head.len();
        peer.say(&format!("HMSG {inbox} {sid} {length} {length}\r\n{head}\r\n")).await;
    };
    let (answer, ()) = tokio::join!(nats.ping("a.ping"), serve);
    assert!(answer.is_ok());
}

#[tokio::test]
async fn messages_that_nobody_takes_are_dropped_and_counted() {
    let server = Server::new().await;
    let (nats, mut peer) = open(&server).await;
    let _subscription = nats.subscribe("a.>").await.expect("is there");
    let sid = peer.until("SUB a.>").await.rsplit(' ').next().map(str::to_owned).expect("a number");
    let message = format!("MSG a.b {sid} 1\r\nx\r\n");
    peer.say(&message.repeat(INBOUND_MAX + 10)).await;
    // What was read is answered behind it.
    peer.say("PING\r\n").await;
    peer.until("PONG").await;
    while nats.state().dropped() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_an_error_and_a_server_that_is_away_is_none() {
    let server = Server::new().await;
    let options = server.options();
    let serve = async {
        let mut peer = server.accept().await;
        peer.until("CONNECT").await;
        peer.say("-ERR 'Authorization Violation'\r\n").await;
        let mut rest = Vec::new();
        peer.stream.read_to_end(&mut rest).await.unwrap_or_default();
    };
    let (refused, ()) = tokio::join!(Nats::open(&options), serve);
    assert!(matches!(refused.err(), Some(OpenError::Refused)));
    drop(server);
    let nats = Nats::open(&options).await.expect("is looked for");
    assert_eq!(nats.publish("a.b", Bytes::new()).await, Err(NotSent::Away));
}
