//! The task that makes one opening: it reads what its socket is told first, and hands it over.
//!
//! Invariants: few openings read the store at one time, and none of those waits for a client; each
//! ends with one word to the hub, unless its socket has ended before.

use std::sync::Arc;

use chat::Chat;
use tokio::sync::Semaphore;
use wire::Error;

use super::{Control, Handle};
use crate::hub::{Covered, Gone, Open};
use crate::{frame, logging};

/// Openings that read the store at one time: after a restart everybody comes at once.
pub(super) const OPENINGS_MAX: usize = 16;

/// Why an opening ends early.
enum End {
    /// There is nobody left to tell.
    Gone,
    Failed(Error),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// See the head of this file.
pub(super) struct Opener {
    pub(super) chat: Chat,
    pub(super) handle: Handle,
    /// For those that read the store.
    pub(super) places: Arc<Semaphore>,
    /// The id of the moment at which it began; its socket heard the present by then.
    pub(super) present: String,
}

impl Opener {
    pub(super) async fn run(self, open: Open) {
        let covered = match self.tell(&open).await {
            Ok(covered) => Some(covered),
            Err(End::Gone) => return,
            Err(End::Failed(error)) => {
                tracing::error!(error = %logging::chain(&error), "cannot open a session");
                None
            }
        };
        let _ =
            self.handle.control.send(Control::Opened(open.user.user, open.socket, covered)).await;
    }

    /// Tells a socket what it wants. Returns what it may otherwise hear twice.
    async fn tell(&self, open: &Open) -> Result<Covered, End> {
        let mut covered = Covered::default();
        if let Some(id) = &open.wanted.resume_after {
            self.resume(open, id, &mut covered).await?;
        }
        if let Some(sort) = open.wanted.prefetch {
            self.prefetch(open, sort, &mut covered).await?;
        }
        // The queue is empty again: what was held fits it.
        open.room.emptied().await?;
        Ok(covered)
    }

    /// Does a piece of reading in its turn.
    async fn read<T>(&self, reading: impl Future<Output = T>) -> T {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        reading.await
    }

    /// Hands a frame over, once the client has taken enough of those before it.
    async fn feed(&self, open: &Open, text: &[u8]) -> Result<(), End> {
        let frame = open.room.admit(frame::text(text)).await?;
        let fed = Control::Fed(open.user.user, open.socket, frame);
        self.handle.control.send(fed).await.map_err(|_| End::Gone)
    }

    /// Tells a socket what it missed. It is found after the socket began to hear the present, so that
    /// whatever is committed is in one of both.
    async fn resume(&self, open: &Open, id: &str, covered: &mut Covered) -> Result<(), End> {
        let missed = self.chat.missed(&open.user, id, self.present.clone());
        let mut missed = self.read(missed).await?;
        loop {
            let told = self.read(missed.next()).await?;
            if told.is_empty() {
                return self.feed(open, &missed.end()).await;
            }
            for one in told {
                if let Some(frame) = &one.frame {
                    self.feed(open, frame).await?;
                    covered.add(one.place.home, one.place.stamp.seq);
                }
            }
        }
    }

    async fn prefetch(
        &self,
        open: &Open,
        sort: chat::PrefetchSort,
        covered: &mut Covered,
    ) -> Result<(), End> {
        let mut prefetch = self.read(self.chat.prefetch(&open.user, sort)).await?;
        loop {
            let details = self.read(prefetch.next()).await?;
            if details.is_empty() {
                return Ok(());
            }
            for one in details {
                self.feed(open, &one.frame).await?;
                one.messages.into_iter().for_each(|(home, seq)| covered.add(home, seq));
            }
        }
    }
}
