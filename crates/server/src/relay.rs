//! The one task that owns the hub: committed events in, frames out.
//!
//! Invariants: it is the only reader of the sink and handles events in commit order; it never
//! waits for a socket or for the store, so that a full sink holds the committer for moments only;
//! it reads the sink to its end, so that a closing engine can finish. What has to wait for the store
//! is done in tasks: loads here, openings in `relay/opening.rs`.

mod opening;
mod others;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chat::{Chat, Event, Place};
use store::{Committed, Uid};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::MissedTickBehavior;

use crate::bus::Ends;
use crate::frame::Close;
use crate::hub::{At, Covered, Errand, Found, Hub, Load, Open, Registration, SocketId};
use crate::metrics::Metrics;
use crate::outbox::{self, Awake, Inbox, Outbox};
use crate::threads::Threads;

use opening::{OPENINGS_MAX, Opener};
use others::Others;

/// Groups of events between the committer and the relay. A full sink holds the committer.
pub(crate) const SINK_GROUPS_MAX: usize = 64;
/// Groups that are relayed before anything else is done.
const GROUPS_TOGETHER_MAX: usize = 16;
/// Requests of sockets that wait for the relay; more of them wait in their own tasks.
const CONTROLS_MAX: usize = 1024;
/// Loads of users' channels at one time: after a restart everybody comes at once.
const LOADS_MAX: usize = 16;
/// The turn of the hub's wheel.
const TURN_MS: u64 = 1_000;

enum Control {
    Register(Registration),
    Unregister(Uid, SocketId),
    Loaded(Load, Found),
    /// A frame of an opening.
    Fed(Uid, SocketId, Bytes),
    /// The end of an opening: what it has told, or nothing when it failed.
    Opened(Uid, SocketId, Option<Covered>),
    CloseAll,
}

/// Speaks to the relay. When the relay is gone, nobody is left to be served.
#[derive(Clone)]
pub(crate) struct Handle {
    control: mpsc::Sender<Control>,
    next_socket: Arc<AtomicU64>,
    awake: Arc<Awake>,
}

impl Handle {
    pub(crate) fn next_socket(&self) -> SocketId {
        SocketId(self.next_socket.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes the queue of a socket.
    pub(crate) fn outbox(&self) -> (Outbox, Inbox) {
        outbox::new(Arc::clone(&self.awake))
    }

    pub(crate) async fn register(&self, registration: Registration) {
        // A failure drops the registration, and with it the outbox, which ends the socket.
        let _ = self.control.send(Control::Register(registration)).await;
    }

    pub(crate) async fn unregister(&self, user: Uid, socket: SocketId) {
        let _ = self.control.send(Control::Unregister(user, socket)).await;
    }

    /// Ends every socket once the events committed so far are handed out, and from then on each
    /// that registers.
    pub(crate) async fn close_all(&self) {
        let _ = self.control.send(Control::CloseAll).await;
    }
}

/// See the head of this file.
pub(crate) struct Relay {
    hub: Hub,
    chat: Chat,
    sink: mpsc::Receiver<Vec<Committed>>,
    control: mpsc::Receiver<Control>,
    handle: Handle,
    /// Where loads and openings run.
    threads: Arc<Threads>,
    loads: Arc<Semaphore>,
    openings: Arc<Semaphore>,
    is_closing: bool,
    /// What other nodes say and are told, where there are any.
    others: Option<Others>,
}

impl Relay {
    pub(crate) fn new(
        chat: Chat,
        sink: mpsc::Receiver<Vec<Committed>>,
        metrics: Arc<Metrics>,
        threads: Arc<Threads>,
        ends: Option<Ends>,
    ) -> (Self, Handle) {
        let (sender, control) = mpsc::channel(CONTROLS_MAX);
        let established = Chat::established_to_resume();
        let mut hub = Hub::new(&established, chat.connections_per_user_max(), metrics);
        let handle = Handle { control: sender, next_socket: Arc::default(), awake: hub.awake() };
        if ends.is_some() {
            hub.hears_others();
        }
        let relay = Self {
            hub,
            chat,
            sink,
            control,
            handle: handle.clone(),
            threads,
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
            openings: Arc::new(Semaphore::new(OPENINGS_MAX)),
            is_closing: false,
            others: ends.map(Others::new),
        };
        (relay, handle)
    }

    /// Runs until the engine lets go of the sink.
    pub(crate) async fn run(mut self) {
        let mut turns = tokio::time::interval(Duration::from_millis(TURN_MS));
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                group = self.sink.recv() => match group {
                    Some(group) => self.relay_with_others(&group),
                    None => return,
                },
                control = self.control.recv() => match control {
                    Some(control) => self.obey(control),
                    None => return,
                },
                news = others::next(&mut self.others) => self.take_news(news),
                () = self.hub.due() => self.hub.flush(),
                _ = turns.tick() => {
                    self.hub.flush();
                    self.set_present();
                    for open in self.hub.turn() {
                        self.open(open);
                    }
                }
            }
        }
    }

    /// Relays a group, and with it what has gathered behind it meanwhile.
    fn relay_with_others(&mut self, group: &[Committed]) {
        self.relay(group);
        for _ in 1..GROUPS_TOGETHER_MAX {
            let Ok(group) = self.sink.try_recv() else { break };
            self.relay(&group);
        }
        self.hub.flush_if_due();
    }

    /// Hands the events of a group to the hub, which is flushed before anything else happens to it.
    fn relay(&mut self, group: &[Committed]) {
        if self.others.is_some() {
            return self.relay_to_all(group);
        }
        for committed in group {
            for (event, index) in committed.events.iter().zip(0..) {
                let is_durable = event.reference.is_some();
                let at = At { home: committed.home, seq: committed.stamp.seq, is_durable };
                let Some(body) = event.body.downcast_ref::<Event>() else {
                    debug_assert!(false, "every event of this program is one of chat");
                    continue;
                };
                let effect = body.effect();
                if let Some(effect) = effect {
                    self.hub.before(effect, at);
                }
                let place = Place { home: at.home, stamp: committed.stamp, index };
                let chat = &self.chat;
                self.hub.deliver(&event.audience, at, || chat.frame(body, place));
                if let Some(effect) = effect {
                    self.hub.after(effect);
                }
            }
        }
    }

    fn obey(&mut self, control: Control) {
        self.hub.flush();
        match control {
            Control::Register(registration) if self.is_closing => {
                registration.outbox.close(Close::Restart);
            }
            Control::Register(registration) => {
                self.set_present();
                match self.hub.register(registration) {
                    Some(Errand::Load(load)) => self.load(load),
                    Some(Errand::Open(open)) => self.open(open),
                    None => {}
                }
            }
            Control::Unregister(user, socket) => self.hub.unregister(user, socket),
            Control::Loaded(load, found) => {
                self.set_present();
                for open in self.hub.loaded(&load, found) {
                    self.open(open);
                }
            }
            Control::Fed(user, socket, frame) => self.hub.fed(user, socket, frame),
            Control::Opened(user, socket, covered) => {
                self.hub.opened(user, socket, covered.as_ref());
            }
            Control::CloseAll => {
                while let Ok(group) = self.sink.try_recv() {
                    self.relay(&group);
                }
                self.hub.flush();
                self.is_closing = true;
                self.hub.close_all();
            }
        }
    }

    fn load(&self, load: Load) {
        let (chat, handle, loads) = (self.chat.clone(), self.handle.clone(), self.loads.clone());
        self.threads.spawn(async move {
            // The semaphore is never closed.
            let _place = loads.acquire().await;
            let found = find(&chat, &load).await;
            let _ = handle.control.send(Control::Loaded(load, found)).await;
        });
    }

    /// Whoever is established from here on goes on from here if his socket breaks.
    fn set_present(&mut self) {
        self.hub.set_present(&Chat::established(&self.present()));
    }

    fn present(&self) -> String {
        self.chat.present(self.others.as_ref().map_or(u64::MAX, Others::last_ms))
    }

    /// Begins an opening, at once or when others are not behind any more.
    fn open(&mut self, open: Open) {
        let open = match &mut self.others {
            Some(others) => others.hold_opening(open),
            None => Some(open),
        };
        open.into_iter().for_each(|open| self.begin(open));
    }

    fn begin(&self, open: Open) {
        let (chat, handle, places) =
            (self.chat.clone(), self.handle.clone(), self.openings.clone());
        let present = self.present();
        self.threads.spawn(Opener { chat, handle, places, present }.run(open));
    }
}

/// Reads the channels of a user. He is looked up again: the hub heard nothing of him before he
/// was registered, so that it may have missed his end.
async fn find(chat: &Chat, load: &Load) -> Found {
    let found = async {
        match chat.connect(&load.user_arn).await? {
            Some(user) if user == load.user => chat.memberships(&user).await.map(Found::Channels),
            _ => Ok(Found::Gone),
        }
    };
    found.await.unwrap_or_else(|error: wire::Error| {
        let chain = crate::logging::chain(&error);
        tracing::error!(error = %chain, "cannot load the channels of a user");
        Found::Failed
    })
}
