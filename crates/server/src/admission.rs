//! How much the server takes on at one time.
//!
//! Invariants: a request over the bound is refused at once, before its signature costs anything, and
//! who asks again without a rest is told so at his turn (`pace`), so that those which were admitted
//! keep their pace; a request takes its place only when all of it has
//! arrived, so that slow senders hold none; the bodies that are still arriving are bounded together,
//! whatever the number of connections.

mod pace;

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use wire::{Error, ErrorCode};

use pace::Pace;
pub(crate) use pace::Turn;

/// Bytes that are allocated for bodies which are still arriving, on all connections together. One
/// that comes in one piece, as nearly all do, counts for nothing.
const ARRIVING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// See the head of this file.
pub(crate) struct Admission {
    requests_max: usize,
    requests: Semaphore,
    arriving: Arc<Semaphore>,
    pace: Pace,
}

impl Admission {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self {
            requests_max,
            requests: Semaphore::new(requests_max),
            arriving: Arc::new(Semaphore::new(ARRIVING_BYTES_MAX)),
            pace: Pace::new(),
        }
    }

    /// Holds an answer that says to come back later, when one before it on the connection said so too
    /// and the turn that it got has not come yet.
    pub(crate) async fn rest(&self, code: ErrorCode, turn: &Turn) {
        if matches!(code, ErrorCode::ServiceUnavailable | ErrorCode::Throttled) {
            self.pace.rest(turn).await;
        }
    }

    /// Takes a place for a request that is to be answered.
    pub(crate) fn admit(&self) -> Result<SemaphorePermit<'_>, Error> {
        let busy = |_| Error::unavailable().with_source(Busy::Requests(self.requests_max));
        self.requests.try_acquire().map_err(busy)
    }

    /// Returns the room of a body that is arriving.
    pub(crate) fn room(&self) -> Room {
        Room { arriving: self.arriving.clone(), taken: None }
    }

    #[cfg(test)]
    pub(crate) fn arriving_bytes(&self) -> usize {
        ARRIVING_BYTES_MAX - self.arriving.available_permits()
    }
}

/// What one body has taken of the bytes that may arrive; given back when it is dropped.
pub(crate) struct Room {
    arriving: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Returns the room of a body that shares no bound with others.
    pub(crate) fn alone() -> Self {
        Admission::new(0).room()
    }

    /// Takes room for more bytes.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        let busy = || Error::unavailable().with_source(Busy::Arriving);
        let count = u32::try_from(bytes).map_err(|_| busy())?;
        let more = self.arriving.clone().try_acquire_many_owned(count).map_err(|_| busy())?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&mut self) {
        self.taken = None;
    }
}

/// Why a request was not admitted; for the log.
#[derive(Debug)]
enum Busy {
    Requests(usize),
    Arriving,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(max) => write!(f, "{max} requests are being answered (--max-requests)"),
            Self::Arriving => {
                write!(f, "bodies of {ARRIVING_BYTES_MAX} bytes in all are still arriving")
            }
        }
    }
}

impl std::error::Error for Busy {}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_asks_again_too_soon_is_told_so_at_his_turn_and_nothing_else_is_held() {
        let admission = Admission::new(0);
        let turns: Vec<_> = (0..1_000).map(|_| Turn::default()).collect();
        for turn in &turns {
            admission.rest(ErrorCode::ServiceUnavailable, turn).await;
        }
        let begin = Instant::now();
        for code in [ErrorCode::BadRequest, ErrorCode::Unauthorized, ErrorCode::ServiceFailure] {
            admission.rest(code, &turns[999]).await;
        }
        assert_eq!(begin.elapsed().as_millis(), 0);
        admission.rest(ErrorCode::Throttled, &turns[499]).await;
        assert!((50..52).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        admission.rest(ErrorCode::ServiceUnavailable, &turns[999]).await;
        assert!((100..102).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    }

    #[test]
    fn one_request_too_many_is_refused_and_a_place_that_is_free_is_taken_again() {
        let admission = Admission::new(2);
        let places = [admission.admit().unwrap(), admission.admit().unwrap()];
        let error = admission.admit().expect_err("both places are taken");
        assert_eq!(error.code(), ErrorCode::ServiceUnavailable);
        drop(places);
        assert!(admission.admit().is_ok());
    }

    #[test]
    fn bodies_that_arrive_share_a_bound_and_give_their_room_back() {
        let admission = Admission::new(1);
        let (mut first, mut second) = (admission.room(), admission.room());
        first.take(ARRIVING_BYTES_MAX - 1).unwrap();
        first.take(1).unwrap();
        let error = second.take(1).expect_err("there is no room left");
        assert_eq!(error.code(), ErrorCode::ServiceUnavailable);
        first.give_back();
        assert!(second.take(ARRIVING_BYTES_MAX).is_ok());
    }
}
