//! `campanile dev`: a server for the tests of an app, whose clock can be advanced and whose store
//! can be emptied.
//!
//! Invariants: a reset puts a new stack in the place of the old one, so that nothing of what was
//! can be seen, and no request is torn: each is answered by the stack that took it; when a change of
//! the clock is answered, whatever became due by it is done.

use std::sync::{Arc, PoisonError, RwLock};

use hyper::body::Incoming;
use hyper::{Request, Response};
use store::Clock as _;
use tokio::sync::Mutex;

use crate::drain::{Guard, Tasks};
use crate::http::{Body, Connection, Service};
use crate::jobs;
use crate::refusal::Bare;
use crate::server::StartError;
use crate::stack::{Ground, Opened, Stack};

mod admin;
mod clock;

pub(crate) use admin::DevAdmin;
pub(crate) use clock::DevClock;
use clock::Pace;

/// A stack and the clock that its rules see.
#[derive(Clone)]
struct Current {
    stack: Arc<Stack>,
    clock: Arc<DevClock>,
}

/// Answers the API listener with the stack of the moment.
pub(crate) struct Dev {
    ground: Ground,
    current: RwLock<Current>,
    /// Resets and changes of the clock come one after the other.
    turn: Mutex<()>,
}

impl Dev {
    pub(crate) fn new(ground: Ground, stack: Arc<Stack>, clock: Arc<DevClock>) -> Self {
        let current = RwLock::new(Current { stack, clock });
        Self { ground, current, turn: Mutex::default() }
    }

    /// Returns the stack of the moment.
    pub(crate) fn stack(&self) -> Arc<Stack> {
        self.take().0
    }

    /// Returns the stack of the moment, which is drained only after the guard is dropped.
    fn take(&self) -> (Arc<Stack>, Guard) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (current.stack.clone(), current.stack.work.guard())
    }

    fn now(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the clock forward and does what is due then. Returns what it shows.
    async fn advance(&self, by_ms: u64, pace: Option<Pace>) -> Result<u64, AdvanceError> {
        let _turn = self.turn.lock().await;
        let Current { stack, clock } = self.now();
        clock.advance(by_ms, pace).map_err(AdvanceError::TooFar)?;
        let done = jobs::run_until_idle(&stack.chat, &stack.metrics).await;
        done.map_err(AdvanceError::Failed)?;
        Ok(clock.now_ms())
    }

    /// Starts afresh: an empty store, no sockets, the time that it is. Returns what the clock shows.
    async fn reset(&self) -> Result<u64, StartError> {
        let _turn = self.turn.lock().await;
        let clock = Arc::new(DevClock::default());
        let Ground { config, entropy, .. } = &self.ground;
        let opened = Opened::open(config, clock.clone(), entropy.clone()).await?;
        // From here to the end nothing waits, so that a caller who goes away leaves nothing half
        // done.
        let stack = Arc::new(Stack::start(opened, &self.ground));
        let fresh = Current { stack, clock: clock.clone() };
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, fresh)
        };
        self.ground.runtime.spawn(async move {
            old.stack.close_sockets().await;
            // Its requests are counted one by one; the connections go on to the new stack.
            old.stack.drain(&Tasks::new()).await;
        });
        Ok(clock.now_ms())
    }
}

/// Why the clock could not be advanced.
enum AdvanceError {
    TooFar(String),
    /// It was, and what is due could not be done.
    Failed(wire::Error),
}

impl Service for Dev {
    async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Response<Body> {
        let (stack, _guard) = self.take();
        stack.api.answer(request, connection).await
    }

    fn refuse(&self, bare: &Bare<'_>) -> Option<Vec<u8>> {
        self.now().stack.api.refuse(bare)
    }
}
