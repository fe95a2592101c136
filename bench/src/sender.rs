//! The callers of the lanes: each does one thing after another, with what it was given by turns.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use store::{Clock as _, Engine, SystemClock};

use crate::engine::Rules;
use crate::http::{Client, Connection};
use crate::load::Caller;
use crate::template::Template;
use crate::world::{self, Request, Seat};

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

    pub(crate) fn take(&mut self) -> &T {
        let place = self.next % self.things.len();
        self.next += 1;
        &self.things[place]
    }
}

/// Asks the bare engine.
pub(crate) struct ToEngine {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) templates: Turns<Template>,
}

impl Caller for ToEngine {
    async fn once(&mut self) -> Result<ControlFlow<()>> {
        self.templates.take().replay(&*self.engine).await?;
        Ok(ControlFlow::Continue(()))
    }
}

/// Sends through the rules.
pub(crate) struct ToRules {
    pub(crate) rules: Rules,
    pub(crate) seats: Turns<Seat>,
}

impl Caller for ToRules {
    async fn once(&mut self) -> Result<ControlFlow<()>> {
        self.rules.answer(&world::send(self.seats.take())).await?;
        Ok(ControlFlow::Continue(()))
    }
}

/// Where the requests of a caller come from.
pub(crate) enum Source {
    /// The same one again and again: it changes nothing.
    Again(Request),
    /// Messages into these seats by turns.
    Sends(Turns<Seat>),
    /// Each of a stock once, which callers share.
    Stock(Stock),
}

/// Requests that can be made once.
pub(crate) type Stock = Arc<Mutex<Vec<Request>>>;

impl Source {
    /// Returns none when the stock is used up.
    fn next(&mut self) -> Option<Request> {
        match self {
            Source::Again(request) => Some(request.clone()),
            Source::Sends(seats) => Some(world::send(seats.take())),
            Source::Stock(stock) => stock.lock().unwrap_or_else(PoisonError::into_inner).pop(),
        }
    }
}

/// Asks a server.
pub(crate) struct ToServer {
    client: Client,
    connection: Connection,
    source: Source,
    signed: VecDeque<Vec<u8>>,
}

impl ToServer {
    /// Connects and signs its share of the requests of `callers` callers.
    pub(crate) async fn open(
        client: Client,
        mut source: Source,
        callers: usize,
    ) -> Result<ToServer> {
        let connection = Connection::open(client.address).await?;
        let before = match source {
            // A run of many minutes outlasts a signature.
            Source::Again(_) => usize::from(callers < usize::MAX),
            Source::Sends(_) => SIGNED_BEFORE_MAX / callers,
            // What is signed and not sent would be lost.
            Source::Stock(_) => 0,
        };
        let now_ms = SystemClock.now_ms();
        let sign = |request| client.signed(&request, now_ms);
        let signed = (0..before).map_while(|_| source.next()).map(sign).collect();
        Ok(ToServer { client, connection, source, signed })
    }

    fn signed(&mut self) -> Option<Vec<u8>> {
        let Some(request) = self.signed.pop_front() else {
            return Some(self.client.signed(&self.source.next()?, SystemClock.now_ms()));
        };
        if matches!(self.source, Source::Again(_)) {
            self.signed.push_back(request.clone());
        }
        Some(request)
    }
}

impl Caller for ToServer {
    async fn once(&mut self) -> Result<ControlFlow<()>> {
        let Some(request) = self.signed() else { return Ok(ControlFlow::Break(())) };
        let answer = self.connection.call(&request).await?;
        if !matches!(answer.status, 200 | 201) {
            let text = String::from_utf8_lossy(&answer.body);
            bail!("a request was answered {} {text}", answer.status);
        }
        Ok(ControlFlow::Continue(()))
    }
}
