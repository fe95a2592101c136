use std::time::Duration;

use store::{Audience, Uid};
use tokio::time::{Instant, timeout};

use super::super::At;
use super::super::tests::{ALICE, BOB, Client, ROOM, Scene, member};
use super::*;

/// Hands an event to the hub as the relay does when no other is behind it.
fn say(scene: &mut Scene, seq: u64, text: &'static str) {
    let at = At { home: ROOM, seq, is_durable: true };
    scene.hub.deliver(&Audience::Members(ROOM), at, || Some(text));
    scene.hub.flush_if_due();
}

fn crowd(scene: &mut Scene) -> Vec<Client> {
    let user = |number: usize| Uid((number as u128 + 1_000).to_be_bytes());
    (0..SOCKETS_MIN).map(|number| scene.establish(user(number), &[member(ROOM, 0)])).collect()
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_alone_leaves_at_once() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    for (seq, text) in [(1, "one"), (2, "two")] {
        say(&mut scene, seq, text);
        assert_eq!(alice.heard(), [text]);
    }
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_sockets_that_are_awake_and_leave_together() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    let mut bob = scene.establish(BOB, &[member(ROOM, 0)]);
    say(&mut scene, 1, "one");
    say(&mut scene, 2, "two");
    say(&mut scene, 3, "three");
    assert_eq!(alice.heard(), ["one"]);
    assert_eq!(timeout(Duration::from_millis(1), scene.hub.due()).await, Err(elapsed().await));
    assert_eq!(bob.heard(), ["one"]);
    let began = Instant::now();
    scene.hub.due().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    scene.hub.flush();
    assert_eq!(alice.heard(), ["two", "three"]);
    assert_eq!(bob.heard(), ["two", "three"]);
}

/// What a time-out returns.
async fn elapsed() -> tokio::time::error::Elapsed {
    timeout(Duration::ZERO, std::future::pending::<()>()).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn no_event_waits_longer_than_its_limit() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    say(&mut scene, 1, "one");
    let began = Instant::now();
    say(&mut scene, 2, "two");
    scene.hub.due().await;
    assert_eq!(began.elapsed(), Duration::from_millis(HELD_MS_MAX));
    scene.hub.flush_if_due();
    assert_eq!(alice.heard(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_wave_of_several_events_the_next_waits_a_moment_for_others() {
    let mut scene = Scene::new();
    let mut crowd = crowd(&mut scene);
    say(&mut scene, 1, "one");
    say(&mut scene, 2, "two");
    say(&mut scene, 3, "three");
    crowd.iter_mut().for_each(|client| assert_eq!(client.heard(), ["one"]));
    scene.hub.flush_if_due();
    crowd.iter_mut().for_each(|client| assert_eq!(client.heard(), ["two", "three"]));
    let began = Instant::now();
    say(&mut scene, 4, "four");
    assert!(crowd[0].heard().is_empty());
    scene.hub.due().await;
    assert_eq!(began.elapsed(), Duration::from_millis(1));
    scene.hub.flush_if_due();
    crowd.iter_mut().for_each(|client| assert_eq!(client.heard(), ["four"]));
    say(&mut scene, 5, "five");
    assert_eq!(crowd[0].heard(), ["five"], "who came alone is not waited with again");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_ends_holds_nothing_up() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    let bob = scene.establish(BOB, &[member(ROOM, 0)]);
    say(&mut scene, 1, "one");
    assert_eq!(alice.heard(), ["one"]);
    drop(bob);
    say(&mut scene, 2, "two");
    assert_eq!(alice.heard(), ["two"]);
}

#[test]
fn the_more_sockets_a_wave_has_the_longer_the_next_one_is_waited_with() {
    let ms = [0, 255, 256, 500, 501, 1_000, 5_000, 1_000_000].map(|it| patience(it).as_millis());
    assert_eq!(ms, [0, 0, 1, 1, 2, 2, 8, 8]);
}
