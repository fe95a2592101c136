//! Where a user's sessions are, when several nodes serve them.
//!
//! One record for each user who has been connected, keyed by his uid: his open sockets, oldest
//! first, each with its node. It is what counts for the bound on sockets and for a session that comes
//! back elsewhere; a node that ends without a word leaves entries, which the next writer drops.
//! Invariant: the sockets that lose their place are told by the commit that takes it from them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use store::{Failure, Key, Kind, Record, Table, Txn, Uid};
use wire::arn::Resource;

use crate::Chat;
use crate::check::Proof;
use crate::error::{Error, Result};
use crate::event::{self, Effect};
use crate::identity::app_instance_user::AppInstanceUser;
use crate::limits;
use crate::messaging::session::SessionUser;

pub(crate) static MESSAGING_SESSION: Table =
    Table { name: "messaging_session", kind: Kind::Record, columns: &["sockets"] };

/// A socket, as the nodes of a store name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPlace {
    /// The node that serves it.
    pub node: Uid,
    /// The node's name of it.
    pub socket: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Socket {
    place: SessionPlace,
    /// The client's own name of the session.
    session: String,
}

/// A user's open sockets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MessagingSession {
    user: Uid,
    /// Oldest first.
    sockets: Vec<Socket>,
}

impl Record for MessagingSession {
    const TABLE: &'static Table = &MESSAGING_SESSION;

    fn key(&self) -> Key {
        key_of(self.user)
    }
}

impl Proof for MessagingSession {
    fn refers_to(&self) -> Vec<Uid> {
        vec![self.user]
    }
}

fn key_of(user: Uid) -> Key {
    Key::new(&MESSAGING_SESSION).uid(user)
}

impl MessagingSession {
    /// Takes a new socket in and returns the places of those that lose theirs: the one of the same
    /// session, and the oldest beyond the bound. Sockets of `dead` nodes are gone without a word.
    fn open(
        &mut self,
        place: SessionPlace,
        session: &str,
        dead: &HashSet<Uid>,
        sockets_max: usize,
    ) -> Vec<SessionPlace> {
        self.sockets.retain(|socket| !dead.contains(&socket.place.node));
        let mut replaced = Vec::new();
        self.sockets.retain(|socket| {
            let is_other = socket.session != session;
            replaced.extend((!is_other).then_some(socket.place));
            is_other
        });
        let surplus = (self.sockets.len() + 1).saturating_sub(sockets_max.max(1));
        replaced.extend(self.sockets.drain(..surplus).map(|socket| socket.place));
        self.sockets.push(Socket { place, session: session.to_owned() });
        replaced
    }
}

impl Chat {
    /// Gives a socket its place among those of its user on all nodes; the sockets that lose theirs
    /// are told. Returns whether the user is still there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open_session(
        &self,
        user_arn: &str,
        user: &SessionUser,
        place: SessionPlace,
        session: &str,
        dead: &HashSet<Uid>,
    ) -> std::result::Result<bool, wire::Error> {
        let Some((app_instance, Resource::User(id))) = self.0.place.parse_arn(user_arn) else {
            return Ok(false);
        };
        let record = AppInstanceUser::key_of(app_instance, &id);
        for _ in 0..limits::ATTEMPTS_MAX {
            let mut tx = self.0.store.begin();
            let (sessions, key) = (key_of(user.user), record.clone());
            tx.load(&[key.clone(), sessions.clone()]).await.map_err(Error::from)?;
            let found: Option<AppInstanceUser> = tx.get(&key).await.map_err(Error::from)?;
            if found.is_none_or(|found| found.uid != user.user) {
                return Ok(false);
            }
            let found: Option<MessagingSession> = tx.get(&sessions).await.map_err(Error::from)?;
            let none = || MessagingSession { user: user.user, sockets: Vec::new() };
            let mut sessions = found.unwrap_or_else(none);
            let max = self.connections_per_user_max();
            tx.set_home(user.user);
            for SessionPlace { node, socket } in sessions.open(place, session, dead, max) {
                let effect = Effect::SocketReplaced { user: user.user, node, socket };
                tx.emit(event::internal(effect));
            }
            tx.put(&sessions);
            if self.is_written(tx, "open_session").await? {
                return Ok(true);
            }
        }
        Err(Error::from(wire::Error::unavailable()).into())
    }

    /// Gives the place of a socket back that has ended.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn close_session(
        &self,
        user: &SessionUser,
        place: SessionPlace,
    ) -> std::result::Result<(), wire::Error> {
        for _ in 0..limits::ATTEMPTS_MAX {
            let mut tx = self.0.store.begin();
            let found = tx.get::<MessagingSession>(&key_of(user.user)).await;
            let Some(mut sessions) = found.map_err(Error::from)? else { return Ok(()) };
            let before = sessions.sockets.len();
            sessions.sockets.retain(|socket| socket.place != place);
            if sessions.sockets.len() == before {
                return Ok(());
            }
            tx.set_home(user.user);
            if sessions.sockets.is_empty() {
                tx.delete(&sessions);
            } else {
                tx.put(&sessions);
            }
            if self.is_written(tx, "close_session").await? {
                return Ok(());
            }
        }
        Err(Error::from(wire::Error::unavailable()).into())
    }

    /// Commits, and tells whether no other writer was in the way.
    async fn is_written(&self, tx: Txn, name: &'static str) -> Result<bool> {
        match tx.commit(name).await {
            Ok(_) => Ok(true),
            Err(Failure::Conflict(_)) => Ok(false),
            Err(failure) => Err(self.refused(failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Uid = Uid([1; 16]);

    fn place(node: u8, socket: u64) -> SessionPlace {
        SessionPlace { node: Uid([node; 16]), socket }
    }

    fn open(
        sessions: &mut MessagingSession,
        place: SessionPlace,
        session: &str,
        dead: &[u8],
    ) -> Vec<SessionPlace> {
        let dead = dead.iter().map(|node| Uid([*node; 16])).collect();
        sessions.open(place, session, &dead, 3)
    }

    fn none() -> MessagingSession {
        MessagingSession { user: USER, sockets: Vec::new() }
    }

    #[test]
    fn the_oldest_socket_of_any_node_loses_its_place_to_one_too_many() {
        let mut sessions = none();
        for socket in 1..=3 {
            assert_eq!(open(&mut sessions, place(1, socket), &socket.to_string(), &[]), []);
        }
        assert_eq!(open(&mut sessions, place(2, 1), "4", &[]), [place(1, 1)]);
        assert_eq!(open(&mut sessions, place(1, 4), "5", &[]), [place(1, 2)]);
        assert_eq!(sessions.sockets.len(), 3);
    }

    #[test]
    fn a_session_that_comes_back_elsewhere_replaces_itself_alone() {
        let mut sessions = none();
        for socket in 1..=3 {
            open(&mut sessions, place(1, socket), &socket.to_string(), &[]);
        }
        assert_eq!(open(&mut sessions, place(2, 1), "2", &[]), [place(1, 2)]);
        assert_eq!(sessions.sockets.len(), 3);
    }

    #[test]
    fn sockets_of_a_dead_node_take_no_place() {
        let mut sessions = none();
        open(&mut sessions, place(1, 1), "1", &[]);
        open(&mut sessions, place(2, 1), "2", &[]);
        open(&mut sessions, place(2, 2), "3", &[]);
        assert_eq!(open(&mut sessions, place(1, 2), "2", &[2]), []);
        assert_eq!(open(&mut sessions, place(1, 3), "3", &[2]), []);
        assert_eq!(sessions.sockets.len(), 3);
    }
}
