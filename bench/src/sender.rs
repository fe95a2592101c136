//! The callers of the three lanes: each does one send after another, from its own seats in turn.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Result, bail};
use store::{Clock as _, Engine, SystemClock};

use crate::engine::Rules;
use crate::http::{Client, Connection};
use crate::load::Caller;
use crate::server::Server;
use crate::template::Template;
use crate::world::{self, Seat};

/// Requests that are signed before a run, shared out among its callers; further ones are signed
/// when they are sent.
const SIGNED_BEFORE_MAX: usize = 20_000;

/// Takes one of several things after another, for ever.
#[derive(Clone)]
pub(crate) struct Turns<T> {
    things: Vec<T>,
    next: usize,
}

impl<T: Clone> Turns<T> {
    /// Shares things out: the caller at `place` of `count` gets every `count`th.
    pub(crate) fn share(things: &[T], place: usize, count: usize) -> Turns<T> {
        let things = things.iter().skip(place).step_by(count).cloned().collect();
        Turns { things, next: 0 }
    }

    fn take(&mut self) -> &T {
        let place = self.next % self.things.len();
        self.next += 1;
        &self.things[place]
    }
}

/// Sends to the bare engine.
pub(crate) struct ToEngine {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) templates: Turns<Template>,
}

impl Caller for ToEngine {
    async fn once(&mut self) -> Result<()> {
        self.templates.take().replay(&*self.engine).await?;
        Ok(())
    }
}

/// Sends through the rules.
pub(crate) struct ToRules {
    pub(crate) rules: Rules,
    pub(crate) seats: Turns<Seat>,
}

impl Caller for ToRules {
    async fn once(&mut self) -> Result<()> {
        self.rules.answer(&world::send(self.seats.take())).await?;
        Ok(())
    }
}

/// Sends through a server.
pub(crate) struct ToServer {
    client: Client,
    connection: Connection,
    seats: Turns<Seat>,
    signed: VecDeque<Vec<u8>>,
}

impl ToServer {
    /// Connects and signs its share of the requests of `callers` callers.
    pub(crate) async fn open(
        server: &Server,
        mut seats: Turns<Seat>,
        callers: usize,
    ) -> Result<ToServer> {
        let (client, connection) = (server.client(), Connection::open(server.address).await?);
        let now_ms = SystemClock.now_ms();
        let sign = |_| client.signed(&world::send(seats.take()), now_ms);
        let signed = (0..SIGNED_BEFORE_MAX / callers).map(sign).collect();
        Ok(ToServer { client, connection, seats, signed })
    }
}

impl Caller for ToServer {
    async fn once(&mut self) -> Result<()> {
        let sign = || self.client.signed(&world::send(self.seats.take()), SystemClock.now_ms());
        let request = self.signed.pop_front().unwrap_or_else(sign);
        let answer = self.connection.call(&request).await?;
        if answer.status != 201 {
            let text = String::from_utf8_lossy(&answer.body);
            bail!("a send was answered {} {text}", answer.status);
        }
        Ok(())
    }
}
