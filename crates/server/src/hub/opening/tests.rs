use store::Audience;

use super::super::tests::{ALICE, BOB, Client, ROOM, Scene, member};
use super::super::{Errand, Found};
use super::*;

const WANTED: Wanted = Wanted { prefetch: Some(PrefetchSort::Unread), resume_after: None };

/// Connects a member of ROOM who wants an opening, and lets it begin.
fn open(scene: &mut Scene, user: Uid) -> (Client, Open) {
    let (mut client, errand) = scene.connect_wanting(user, "session", Some(WANTED));
    let Some(Errand::Load(load)) = errand else { unreachable!("the user is new here") };
    let mut opens = scene.load(&load, &[member(ROOM, 0)]);
    assert_eq!(client.heard(), ["established"]);
    (client, opens.pop().expect("an opening is wanted"))
}

async fn feed(scene: &mut Scene, client: &Client, open: &Open, text: &str) {
    let frame = open.room.admit(crate::frame::text(text.as_bytes())).await;
    scene.hub.fed(client.user, client.id, frame.expect("the socket is there"));
}

fn end(scene: &mut Scene, client: &Client, covered: &[u64]) {
    let mut told = Covered::default();
    covered.iter().for_each(|seq| told.add(ROOM, *seq));
    scene.hub.opened(client.user, client.id, Some(&told));
}

#[tokio::test]
async fn the_past_comes_before_what_is_committed_meanwhile_and_that_before_the_present() {
    let mut scene = Scene::new();
    let (mut alice, open) = open(&mut scene, ALICE);
    scene.say(1, "during");
    feed(&mut scene, &alice, &open, "past").await;
    scene.say(2, "later");
    assert_eq!(alice.heard(), ["past"]);
    end(&mut scene, &alice, &[]);
    scene.say(3, "present");
    assert_eq!(alice.heard(), ["during", "later", "present"]);
}

#[tokio::test]
async fn what_the_opening_has_told_is_not_told_again() {
    let mut scene = Scene::new();
    let (mut alice, open) = open(&mut scene, ALICE);
    scene.say(1, "told");
    scene.say(0, "kept nowhere");
    scene.say(2, "news");
    feed(&mut scene, &alice, &open, "past with told").await;
    end(&mut scene, &alice, &[0, 1]);
    assert_eq!(alice.heard(), ["past with told", "kept nowhere", "news"]);
}

#[tokio::test]
async fn of_events_that_come_together_those_that_were_told_are_not_told_again() {
    let mut scene = Scene::new();
    let (mut alice, open) = open(&mut scene, ALICE);
    let mut bob = scene.establish(BOB, &[member(ROOM, 0)]);
    for (seq, text) in [(1, "one"), (2, "two"), (3, "three")] {
        let at = At { home: ROOM, seq, is_durable: true };
        scene.hub.deliver(&Audience::Members(ROOM), at, || Some(text));
    }
    scene.hub.flush();
    feed(&mut scene, &alice, &open, "past with two").await;
    end(&mut scene, &alice, &[2]);
    assert_eq!(alice.heard(), ["past with two", "one", "three"]);
    assert_eq!(bob.heard(), ["one", "two", "three"]);
}

#[tokio::test]
async fn what_other_nodes_say_later_than_the_opening_told_it_is_not_told_again() {
    let mut scene = Scene::new();
    scene.hub.hears_others();
    let (mut alice, open) = open(&mut scene, ALICE);
    feed(&mut scene, &alice, &open, "past with one and two").await;
    end(&mut scene, &alice, &[1, 2]);
    for (seq, text) in [(1, "one"), (2, "two"), (3, "three"), (0, "kept nowhere")] {
        scene.say(seq, text);
    }
    assert_eq!(alice.heard(), ["past with one and two", "three", "kept nowhere"]);
}

#[tokio::test]
async fn a_second_socket_of_a_user_opens_without_a_load() {
    let mut scene = Scene::new();
    let mut first = scene.establish(ALICE, &[member(ROOM, 0)]);
    let (mut second, errand) = scene.connect_wanting(ALICE, "second", Some(WANTED));
    assert!(matches!(errand, Some(Errand::Open(Open { socket, .. })) if socket == second.id));
    scene.say(1, "during");
    assert_eq!(first.heard(), ["during"]);
    assert_eq!(second.heard(), ["established"]);
    end(&mut scene, &second, &[]);
    assert_eq!(second.heard(), ["during"]);
}

#[tokio::test]
async fn a_socket_that_wants_nothing_is_live_beside_one_that_opens() {
    let mut scene = Scene::new();
    let (mut plain, errand) = scene.connect_wanting(ALICE, "plain", None);
    let (mut wanting, none) = scene.connect_wanting(ALICE, "wanting", Some(WANTED));
    let Some(Errand::Load(load)) = errand else { unreachable!("the user is new here") };
    assert!(none.is_none(), "the load is under way");
    let opens = scene.load(&load, &[member(ROOM, 0)]);
    assert_eq!(opens.iter().map(|open| open.socket).collect::<Vec<_>>(), [wanting.id]);
    scene.say(1, "hello");
    assert_eq!(plain.heard(), ["established", "hello"]);
    assert_eq!(wanting.heard(), ["established"]);
}

#[tokio::test]
async fn an_opening_that_failed_ends_its_socket() {
    let mut scene = Scene::new();
    let (mut alice, open) = open(&mut scene, ALICE);
    scene.say(1, "during");
    scene.hub.opened(alice.user, alice.id, None);
    assert_eq!(alice.heard(), ["Failure"]);
    assert_eq!(open.room.emptied().await, Err(Gone));
    assert!(scene.figure("campanile_sockets_open 0"));
}

#[tokio::test]
async fn a_socket_for_which_too_much_is_held_is_given_up() {
    let mut scene = Scene::new();
    let (mut alice, open) = open(&mut scene, ALICE);
    let (bob, _bobs) = self::open(&mut scene, BOB);
    for seq in 1..=FRAMES_MAX as u64 {
        scene.say(seq, "x");
    }
    end(&mut scene, &bob, &[]);
    assert!(scene.figure("campanile_slow_closes_total 0"));
    scene.say(FRAMES_MAX as u64 + 1, "x");
    assert!(scene.figure("campanile_slow_closes_total 1"));
    assert_eq!(alice.heard(), ["given up"]);
    assert_eq!(open.room.emptied().await, Err(Gone));
}

#[tokio::test]
async fn held_frames_are_bounded_in_bytes() {
    let mut held = Held::new();
    let at = At { home: ROOM, seq: 1, is_durable: true };
    let half = Bytes::from(vec![0; BYTES_MAX / 2]);
    assert_eq!(held.hold(&half, at), Ok(()));
    assert_eq!(held.hold(&half, at), Ok(()));
    assert_eq!(held.hold(&Bytes::from_static(b"x"), at), Err(Refused::Full));
}

#[tokio::test]
async fn an_opening_waits_until_the_client_has_taken_what_came_before() {
    let mut scene = Scene::new();
    let (mut alice, open) = open(&mut scene, ALICE);
    let large = "x".repeat(ROOM_BYTES as usize);
    feed(&mut scene, &alice, &open, &large).await;
    {
        let mut next = Box::pin(feed(&mut scene, &alice, &open, "next"));
        assert!(
            futures_poll(&mut next).is_none(),
            "the queue holds as much as an opening may have"
        );
    }
    assert_eq!(alice.heard().len(), 1);
    feed(&mut scene, &alice, &open, "next").await;
    let mut emptied = Box::pin(open.room.emptied());
    assert!(futures_poll(&mut emptied).is_none(), "the last frame is not taken");
    assert_eq!(alice.heard(), ["next"]);
    assert_eq!(emptied.await, Ok(()));
}

#[tokio::test]
async fn what_a_full_opening_held_fits_the_queue_behind_it() {
    let mut scene = Scene::new();
    let (mut alice, open) = open(&mut scene, ALICE);
    for seq in 1..=FRAMES_MAX as u64 {
        scene.say(seq, "x");
    }
    feed(&mut scene, &alice, &open, "past").await;
    end(&mut scene, &alice, &[]);
    assert_eq!(alice.heard().len(), FRAMES_MAX + 1);
    assert!(scene.figure("campanile_slow_closes_total 0"));
}

#[tokio::test]
async fn an_opening_of_a_socket_that_ended_is_told_so_and_tells_nobody() {
    let mut scene = Scene::new();
    let (alice, open) = open(&mut scene, ALICE);
    scene.hub.unregister(alice.user, alice.id);
    assert_eq!(open.room.admit(Bytes::from_static(b"x")).await, Err(Gone));
    scene.hub.fed(alice.user, alice.id, Bytes::from_static(b"x"));
    end(&mut scene, &alice, &[]);
}

#[tokio::test]
async fn a_user_who_is_gone_at_the_load_opens_nothing() {
    let mut scene = Scene::new();
    let (mut alice, errand) = scene.connect_wanting(ALICE, "a", Some(WANTED));
    let Some(Errand::Load(load)) = errand else { unreachable!("the user is new here") };
    assert!(scene.hub.loaded(&load, Found::Gone).is_empty());
    assert_eq!(alice.heard(), ["Kicked"]);
}

/// Polls a future once.
fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
