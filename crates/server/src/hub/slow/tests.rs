use super::super::tests::{ALICE, BOB, Client, ROOM, Scene, member};
use super::super::{Errand, HEARTBEAT_TURNS, Load};
use super::*;
use crate::outbox;

/// Lets the socket of a user who hears ROOM be closed as too slow.
fn overrun(scene: &mut Scene, client: &mut Client) {
    for seq in 1..=outbox::FRAMES_MAX as u64 + 1 {
        scene.say(seq, "x");
    }
    client.heard();
}

fn load_of(errand: Option<Errand>) -> Load {
    let Some(Errand::Load(load)) = errand else { unreachable!("the user is new here") };
    load
}

/// Returns how many turns a new socket of ALICE waits for SESSION_ESTABLISHED, and the socket.
fn turns_until_established(scene: &mut Scene) -> (u64, Client) {
    let (mut client, errand) = scene.connect_wanting(ALICE, "again", None);
    scene.load(&load_of(errand), &[member(ROOM, 0)]);
    let mut turns = 0;
    while !client.heard().contains(&"established".to_owned()) {
        scene.hub.turn();
        turns += 1;
        assert!(turns <= 2 * DELAY_TURNS[5], "the delay is bounded");
    }
    (turns, client)
}

#[test]
fn who_is_too_slow_again_and_again_comes_back_with_growing_bounded_delay() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    let mut delays = Vec::new();
    for _ in 0..DELAY_TURNS.len() + 2 {
        overrun(&mut scene, &mut alice);
        let (turns, client) = turns_until_established(&mut scene);
        delays.push(turns);
        alice = client;
    }
    assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30, 30]);
}

#[test]
fn others_do_not_wait() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    overrun(&mut scene, &mut alice);
    scene.establish(BOB, &[member(ROOM, 0)]);
}

#[test]
fn the_delay_counts_from_the_close() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    overrun(&mut scene, &mut alice);
    scene.hub.turn();
    assert_eq!(turns_until_established(&mut scene).0, 0);
}

#[test]
fn who_keeps_up_for_long_has_no_delay_to_grow() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    for _ in 0..3 {
        overrun(&mut scene, &mut alice);
        alice = turns_until_established(&mut scene).1;
    }
    for _ in 0..MEMORY_TURNS + HEARTBEAT_TURNS as u64 {
        scene.hub.turn();
        alice.inbox.alive();
        alice.heard();
    }
    overrun(&mut scene, &mut alice);
    assert_eq!(turns_until_established(&mut scene).0, 1);
}

#[test]
fn a_socket_that_waits_hears_nothing_before_it_is_established() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    let (mut other, _) = scene.connect_wanting(ALICE, "other", None);
    other.heard();
    for seq in 1..=outbox::FRAMES_MAX as u64 + 1 {
        scene.say(seq, "x");
        other.heard();
    }
    alice.heard();
    let (mut waiting, errand) = scene.connect_wanting(ALICE, "waiting", None);
    assert!(errand.is_none(), "her channels are known");
    scene.say(9_998, "before");
    assert_eq!(other.heard(), ["before"]);
    assert!(waiting.heard().is_empty());
    scene.hub.turn();
    scene.say(9_999, "after");
    assert_eq!(waiting.heard(), ["established", "after"]);
}

#[test]
fn a_socket_that_waited_is_established_only_when_its_channels_are_loaded() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    overrun(&mut scene, &mut alice);
    let (mut again, errand) = scene.connect_wanting(ALICE, "again", None);
    scene.hub.turn();
    assert!(again.heard().is_empty());
    scene.load(&load_of(errand), &[member(ROOM, 0)]);
    assert_eq!(again.heard(), ["established"]);
}

#[test]
fn a_socket_that_waited_opens_as_it_wanted() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    overrun(&mut scene, &mut alice);
    let wanted =
        super::super::Wanted { prefetch: Some(chat::PrefetchSort::Unread), resume_after: None };
    let (mut again, errand) = scene.connect_wanting(ALICE, "again", Some(wanted));
    assert!(scene.load(&load_of(errand), &[]).is_empty());
    let opens = scene.hub.turn();
    assert_eq!(opens.iter().map(|open| open.socket).collect::<Vec<_>>(), [again.id]);
    assert_eq!(again.heard(), ["established"]);
}

#[test]
fn the_end_of_the_server_does_not_wait() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    overrun(&mut scene, &mut alice);
    let (mut again, _load) = scene.connect_wanting(ALICE, "again", None);
    scene.hub.close_all();
    assert_eq!(again.heard(), ["Restart"]);
    scene.hub.turn();
}

#[test]
fn only_so_many_users_are_remembered_and_only_for_so_long() {
    let mut slow = Slow::default();
    let user = |number: usize| {
        let mut uid = [0; 16];
        uid[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Uid(uid)
    };
    for number in 0..=USERS_MAX {
        slow.note(user(number));
    }
    assert_eq!(slow.users.len(), USERS_MAX);
    assert!(slow.keep_waiting(user(0), SocketId(0)));
    assert!(!slow.keep_waiting(user(USERS_MAX), SocketId(0)));
    for _ in 0..=MEMORY_TURNS + HEARTBEAT_TURNS as u64 {
        slow.turn();
    }
    assert!(slow.users.is_empty());
    assert!(slow.waiting.is_empty());
}
