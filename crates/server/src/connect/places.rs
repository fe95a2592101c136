//! The places of sockets among those that a user has on all nodes.
//!
//! Invariant: a socket has its place before it is served, and gives it back when it ends; where the
//! node ends, all its places are free with its lease.

use chat::{Chat, SessionPlace, SessionUser};
use store::Uid;

use crate::bus::Dead;
use crate::drain::Drain;
use crate::frame::Close;
use crate::hub::SocketId;
use crate::logging;

/// See the head of this file.
pub(crate) struct Places {
    pub(crate) chat: Chat,
    pub(crate) node: Uid,
    pub(crate) dead: Dead,
    pub(crate) drain: Drain,
}

impl Places {
    /// Takes a place; who loses his for it is told by its commit.
    pub(super) async fn take(
        &self,
        user: &SessionUser,
        user_arn: &str,
        socket: SocketId,
        session: &str,
    ) -> Result<(), Close> {
        let dead = self.dead.all();
        let place = self.place(socket);
        match self.chat.open_session(user_arn, user, place, session, &dead).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Close::Unauthorized),
            Err(error) => {
                tracing::error!(error = %logging::chain(&error), "cannot place a session");
                Err(Close::Failure)
            }
        }
    }

    /// Gives a place back. One that cannot be given back is taken by a later socket in time.
    pub(super) async fn give_back(&self, user: &SessionUser, socket: SocketId) {
        if self.drain.is_started() {
            return;
        }
        if let Err(error) = self.chat.close_session(user, self.place(socket)).await {
            tracing::debug!(error = %logging::chain(&error), "cannot give a place back");
        }
    }

    fn place(&self, socket: SocketId) -> SessionPlace {
        SessionPlace { node: self.node, socket: socket.0 }
    }
}
