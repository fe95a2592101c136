mod groups;

use std::task::{Context, Poll, Waker};

use store::Audience;

use super::*;
use crate::frame::Backlog;
use crate::outbox::{self, Inbox, News};

const INSTANCE: Uid = Uid([0xa; 16]);
pub(super) const ALICE: Uid = Uid([1; 16]);
pub(super) const BOB: Uid = Uid([2; 16]);
pub(super) const ROOM: Uid = Uid([7; 16]);
const OTHER_ROOM: Uid = Uid([8; 16]);
const SOCKETS_PER_USER_MAX: usize = 10;

/// A hub and a counter for the ids of its sockets.
pub(super) struct Scene {
    pub(super) hub: Hub,
    metrics: Arc<Metrics>,
    next: u64,
}

/// A client's end: what it has been sent.
pub(super) struct Client {
    pub(super) user: Uid,
    pub(super) id: SocketId,
    pub(super) inbox: Inbox,
}

impl Client {
    /// Returns what waits: the text of frames, `ping`, or how the socket ended.
    pub(super) fn heard(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        let mut backlog = Backlog::default();
        while let Poll::Ready(news) =
            self.inbox.poll(&Context::from_waker(Waker::noop()), &mut backlog)
        {
            match news {
                News::Frames => heard.extend(texts(&std::mem::take(&mut backlog).bytes())),
                News::Ending => {}
                News::Close(why) => heard.push(format!("{why:?}")),
                News::GivenUp => heard.push("given up".to_owned()),
            }
        }
        heard
    }
}

/// Takes frames apart.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (is_ping, text, rest) = frame::first(bytes).expect("a server writes whole frames");
        let text = String::from_utf8_lossy(text).into_owned();
        texts.push(if is_ping { "ping".to_owned() } else { text });
        bytes = rest;
    }
    texts
}

impl Scene {
    pub(super) fn new() -> Self {
        let metrics = Arc::new(Metrics::new());
        Self {
            hub: Hub::new(b"established", SOCKETS_PER_USER_MAX, metrics.clone()),
            metrics,
            next: 0,
        }
    }

    fn connect(&mut self, user: Uid, session: &str) -> (Client, Option<Load>) {
        let (client, errand) = self.connect_wanting(user, session, None);
        let load = errand.map(|errand| match errand {
            Errand::Load(load) => load,
            Errand::Open(_) => unreachable!("nothing is wanted"),
        });
        (client, load)
    }

    pub(super) fn connect_wanting(
        &mut self,
        user: Uid,
        session: &str,
        wanted: Option<Wanted>,
    ) -> (Client, Option<Errand>) {
        self.next += 1;
        let id = SocketId(self.next);
        let (outbox, inbox) = outbox::new(self.hub.awake());
        let errand = self.hub.register(Registration {
            id,
            user: SessionUser { app_instance: INSTANCE, user },
            user_arn: String::new(),
            session: session.to_owned(),
            outbox,
            wanted,
        });
        (Client { user, id, inbox }, errand)
    }

    /// Connects a user whose channels are `found`.
    pub(super) fn establish(&mut self, user: Uid, found: &[Subscription]) -> Client {
        let (mut client, load) = self.connect(user, "session");
        self.load(&load.expect("the user is new here"), found);
        assert_eq!(client.heard(), ["established"]);
        client
    }

    pub(super) fn load(&mut self, load: &Load, found: &[Subscription]) -> Vec<Open> {
        self.hub.loaded(load, Found::Channels(found.to_vec()))
    }

    /// What the relay does with an event.
    pub(super) fn event(
        &mut self,
        audience: &Audience,
        seq: u64,
        text: &str,
        effect: Option<Effect>,
    ) {
        let home = match audience {
            Audience::Members(channel) | Audience::Moderators(channel) => *channel,
            Audience::Users(_) | Audience::Internal => ROOM,
        };
        let at = At { home, seq, is_durable: seq != 0 };
        effect.inspect(|effect| self.hub.before(*effect, at));
        self.hub.deliver(audience, at, || Some(text.as_bytes().to_vec()));
        effect.inspect(|effect| self.hub.after(*effect));
        self.hub.flush();
    }

    pub(super) fn say(&mut self, seq: u64, text: &str) {
        self.event(&Audience::Members(ROOM), seq, text, None);
    }

    pub(super) fn figure(&self, line: &str) -> bool {
        self.metrics.to_text().contains(line)
    }
}

pub(super) fn member(channel: Uid, since_seq: u64) -> Subscription {
    Subscription { channel, since_seq, moderator: false }
}

fn join(user: Uid) -> Option<Effect> {
    Some(Effect::Join { channel: ROOM, user, moderator: false })
}

fn leave(user: Uid) -> Option<Effect> {
    Some(Effect::Leave { channel: ROOM, user })
}

fn moderator(user: Uid, moderator: bool) -> Option<Effect> {
    Some(Effect::ModeratorChanged { channel: ROOM, user, moderator })
}

#[test]
fn event_of_another_home_reaches_members_whatever_their_seq() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 9)]);
    let elsewhere = At { home: OTHER_ROOM, seq: 3, is_durable: true };
    scene.hub.deliver(&Audience::Members(ROOM), elsewhere, || Some(b"of the whole".to_vec()));
    scene.hub.flush();
    scene.say(8, "before her join");
    assert_eq!(alice.heard(), ["of the whole"]);
}

#[test]
fn nothing_is_heard_before_established_and_everything_after() {
    let mut scene = Scene::new();
    let (mut alice, load) = scene.connect(ALICE, "a");
    scene.say(1, "during the load");
    assert!(alice.heard().is_empty());
    scene.load(&load.unwrap(), &[member(ROOM, 0)]);
    scene.say(2, "after");
    assert_eq!(alice.heard(), ["established", "after"]);
}

#[test]
fn members_hear_their_channels_from_their_joining_on() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 5)]);
    let mut bob = scene.establish(BOB, &[member(OTHER_ROOM, 0)]);
    scene.say(4, "before");
    scene.say(5, "joining");
    scene.say(0, "published");
    assert_eq!(alice.heard(), ["joining", "published"]);
    assert!(bob.heard().is_empty());
}

#[test]
fn who_joins_hears_of_it_and_who_leaves_too() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[]);
    scene.say(1, "not for alice");
    scene.event(&Audience::Members(ROOM), 2, "joined", join(ALICE));
    scene.say(3, "hello");
    scene.event(&Audience::Members(ROOM), 4, "left", leave(ALICE));
    scene.say(5, "gone");
    assert_eq!(alice.heard(), ["joined", "hello", "left"]);
}

#[test]
fn joining_during_the_load_wins_over_a_load_that_missed_it() {
    let mut scene = Scene::new();
    let (mut alice, load) = scene.connect(ALICE, "a");
    scene.event(&Audience::Members(ROOM), 3, "joined", join(ALICE));
    scene.load(&load.unwrap(), &[]);
    scene.say(4, "hello");
    assert_eq!(alice.heard(), ["established", "hello"]);
}

#[test]
fn leaving_during_the_load_wins_over_a_load_that_missed_it() {
    let mut scene = Scene::new();
    let (mut alice, load) = scene.connect(ALICE, "a");
    scene.event(&Audience::Members(ROOM), 3, "left", leave(ALICE));
    scene.load(&load.unwrap(), &[member(ROOM, 1)]);
    scene.say(4, "hello");
    assert_eq!(alice.heard(), ["established"]);
}

#[test]
fn a_load_that_is_ahead_of_the_events_loses_nothing() {
    let mut scene = Scene::new();
    let (mut alice, load) = scene.connect(ALICE, "a");
    // The load saw her leave at 3 and join again at 5; the events tell it only afterwards.
    scene.load(&load.unwrap(), &[member(ROOM, 5)]);
    scene.event(&Audience::Members(ROOM), 3, "left", leave(ALICE));
    scene.say(4, "between");
    scene.event(&Audience::Members(ROOM), 5, "joined", join(ALICE));
    scene.say(6, "hello");
    assert_eq!(alice.heard(), ["established", "joined", "hello"]);
}

#[test]
fn a_channel_that_went_during_the_load_is_not_heard() {
    let mut scene = Scene::new();
    let (mut alice, load) = scene.connect(ALICE, "a");
    let gone = Some(Effect::ChannelGone { channel: ROOM });
    scene.event(&Audience::Members(ROOM), 3, "gone", gone);
    scene.load(&load.unwrap(), &[member(ROOM, 1)]);
    scene.say(4, "ghost");
    assert_eq!(alice.heard(), ["established"]);
}

#[test]
fn members_hear_that_their_channel_went_and_nothing_after() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    let gone = Some(Effect::ChannelGone { channel: ROOM });
    scene.event(&Audience::Members(ROOM), 3, "gone", gone);
    scene.say(4, "ghost");
    assert_eq!(alice.heard(), ["gone"]);
}

#[test]
fn only_moderators_hear_what_is_for_moderators() {
    let mut scene = Scene::new();
    let mut alice =
        scene.establish(ALICE, &[Subscription { channel: ROOM, since_seq: 0, moderator: true }]);
    let mut bob = scene.establish(BOB, &[member(ROOM, 0)]);
    let moderators = Audience::Moderators(ROOM);
    scene.event(&moderators, 1, "one", None);
    scene.event(&moderators, 2, "two", moderator(BOB, true));
    scene.event(&moderators, 3, "three", moderator(ALICE, false));
    assert_eq!(alice.heard(), ["one", "two"]);
    assert_eq!(bob.heard(), ["two", "three"]);
}

#[test]
fn becoming_moderator_during_the_load_wins_over_the_load() {
    let mut scene = Scene::new();
    let (mut alice, load) = scene.connect(ALICE, "a");
    scene.event(&Audience::Internal, 1, "", moderator(ALICE, false));
    scene.event(&Audience::Internal, 2, "", moderator(ALICE, true));
    scene.load(&load.unwrap(), &[member(ROOM, 0)]);
    scene.event(&Audience::Moderators(ROOM), 3, "hello", None);
    assert_eq!(alice.heard(), ["established", "hello"]);
}

#[test]
fn named_users_hear_on_all_their_sockets() {
    let mut scene = Scene::new();
    let mut first = scene.establish(ALICE, &[]);
    let (mut second, load) = scene.connect(ALICE, "second");
    assert!(load.is_none(), "her channels are loaded once");
    let mut bob = scene.establish(BOB, &[]);
    scene.event(&Audience::Users(vec![ALICE]), 1, "for alice", None);
    assert_eq!(first.heard(), ["for alice"]);
    assert_eq!(second.heard(), ["established", "for alice"]);
    assert!(bob.heard().is_empty());
    assert!(scene.figure("campanile_frames_total 2"));
}

#[test]
fn a_frame_that_nobody_here_needs_is_not_built() {
    let mut scene = Scene::new();
    let (_loading, _load) = scene.connect(ALICE, "a");
    let at = At { home: ROOM, seq: 1, is_durable: true };
    for audience in [Audience::Members(ROOM), Audience::Users(vec![ALICE, BOB])] {
        let nobody = || -> Option<Vec<u8>> { unreachable!("nobody is established") };
        scene.hub.deliver(&audience, at, nobody);
    }
    assert!(scene.figure("campanile_events_relayed_total 0"));
}

#[test]
fn the_same_session_again_replaces_its_socket() {
    let mut scene = Scene::new();
    let mut old = scene.establish(ALICE, &[member(ROOM, 0)]);
    let (mut new, load) = scene.connect(ALICE, "session");
    assert!(load.is_none());
    scene.say(1, "hello");
    assert_eq!(old.heard(), ["Kicked"]);
    assert_eq!(new.heard(), ["established", "hello"]);
    assert!(scene.figure("campanile_sockets_open 1"));
}

#[test]
fn the_eleventh_socket_takes_the_place_of_the_oldest() {
    let mut scene = Scene::new();
    let mut oldest = scene.establish(ALICE, &[member(ROOM, 0)]);
    let names: Vec<String> = (1..=SOCKETS_PER_USER_MAX).map(|n| n.to_string()).collect();
    let mut others: Vec<Client> = names.iter().map(|name| scene.connect(ALICE, name).0).collect();
    scene.say(1, "hello");
    assert_eq!(oldest.heard(), ["Kicked"]);
    for client in &mut others {
        assert_eq!(client.heard(), ["established", "hello"]);
    }
    assert!(scene.figure(&format!("campanile_sockets_open {SOCKETS_PER_USER_MAX}")));
}

#[test]
fn a_slow_client_is_given_up_and_slows_nobody() {
    let mut scene = Scene::new();
    let _slow = scene.establish(ALICE, &[member(ROOM, 0)]);
    let mut quick = scene.establish(BOB, &[member(ROOM, 0)]);
    for seq in 1..=outbox::FRAMES_MAX as u64 + 1 {
        scene.say(seq, "x");
        assert_eq!(quick.heard(), ["x"]);
    }
    assert!(scene.figure("campanile_slow_closes_total 1"));
    assert!(scene.figure("campanile_sockets_open 1"));
}

#[test]
fn a_deleted_user_hears_the_last_event_and_is_closed() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    let mut bob = scene.establish(BOB, &[member(ROOM, 0)]);
    let gone = Some(Effect::UserGone { user: ALICE });
    scene.event(&Audience::Members(ROOM), 1, "bye", gone);
    scene.say(2, "without her");
    assert_eq!(alice.heard(), ["bye", "Kicked"]);
    assert_eq!(bob.heard(), ["bye", "without her"]);
}

#[test]
fn a_deleted_app_instance_closes_its_users() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[]);
    let other = Some(Effect::AppInstanceGone { app_instance: OTHER_ROOM });
    scene.event(&Audience::Internal, 1, "", other);
    assert!(alice.heard().is_empty());
    let gone = Some(Effect::AppInstanceGone { app_instance: INSTANCE });
    scene.event(&Audience::Internal, 2, "", gone);
    assert_eq!(alice.heard(), ["Kicked"]);
}

#[test]
fn a_user_who_went_before_the_load_is_closed() {
    let mut scene = Scene::new();
    let (mut alice, load) = scene.connect(ALICE, "a");
    scene.hub.loaded(&load.unwrap(), Found::Gone);
    assert_eq!(alice.heard(), ["Kicked"]);
    let (mut again, load) = scene.connect(ALICE, "a");
    scene.hub.loaded(&load.unwrap(), Found::Failed);
    assert_eq!(again.heard(), ["Failure"]);
}

#[test]
fn a_load_for_an_earlier_appearance_is_dropped() {
    let mut scene = Scene::new();
    let (first, old) = scene.connect(ALICE, "a");
    scene.hub.unregister(first.user, first.id);
    let (mut second, new) = scene.connect(ALICE, "b");
    scene.load(&old.unwrap(), &[member(ROOM, 0)]);
    assert!(second.heard().is_empty());
    scene.load(&new.unwrap(), &[]);
    scene.say(1, "hello");
    assert_eq!(second.heard(), ["established"]);
}

#[test]
fn nothing_is_kept_of_a_user_whose_last_socket_ended() {
    let mut scene = Scene::new();
    let alice = scene.establish(ALICE, &[member(ROOM, 0), member(OTHER_ROOM, 0)]);
    scene.hub.unregister(alice.user, alice.id);
    assert!(scene.hub.users.is_empty());
    assert!(scene.hub.channels.is_empty());
    assert!(scene.hub.loading.is_empty());
    assert!(scene.figure("campanile_sockets_open 0"));
}

#[test]
fn a_silent_client_is_closed_after_two_pings() {
    let mut scene = Scene::new();
    let mut silent = scene.establish(ALICE, &[]);
    let mut lively = scene.establish(BOB, &[]);
    let mut heard = Vec::new();
    for _ in 0..3 * HEARTBEAT_TURNS {
        scene.hub.turn();
        lively.inbox.alive();
        heard.extend(silent.heard());
    }
    assert_eq!(heard, ["ping", "ping", "Silent"]);
    assert_eq!(lively.heard(), ["ping"; 3]);
    assert!(scene.figure("campanile_sockets_open 1"));
}

#[test]
fn the_end_of_the_server_closes_every_socket() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[]);
    let (mut loading, load) = scene.connect(BOB, "b");
    scene.hub.close_all();
    assert_eq!(alice.heard(), ["Restart"]);
    assert_eq!(loading.heard(), ["Restart"]);
    scene.load(&load.unwrap(), &[]);
    assert!(scene.hub.users.is_empty());
}
