//! Events that are committed together: who hears which of them, and in which order.

use super::*;

/// Hands events to the hub as one group.
fn group(scene: &mut Scene, events: &[(&Audience, At, &'static str)]) {
    for (audience, at, text) in events {
        scene.hub.deliver(audience, *at, || Some(text.as_bytes().to_vec()));
    }
    scene.hub.flush();
}

fn at(home: Uid, seq: u64) -> At {
    At { home, seq, is_durable: seq != 0 }
}

#[test]
fn events_of_a_group_come_in_order_whoever_they_are_for() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0), member(OTHER_ROOM, 0)]);
    let mut bob = scene.establish(BOB, &[member(ROOM, 0)]);
    let (room, other) = (Audience::Members(ROOM), Audience::Members(OTHER_ROOM));
    let alone = Audience::Users(vec![ALICE]);
    let events = [
        (&room, at(ROOM, 1), "one"),
        (&room, at(ROOM, 2), "two"),
        (&other, at(OTHER_ROOM, 1), "elsewhere"),
        (&alone, at(ROOM, 3), "for alice"),
        (&room, at(ROOM, 4), "four"),
        (&room, at(ROOM, 0), "published"),
        (&room, at(ROOM, 5), "five"),
    ];
    group(&mut scene, &events);
    let all = ["one", "two", "elsewhere", "for alice", "four", "published", "five"];
    assert_eq!(alice.heard(), all);
    assert_eq!(bob.heard(), ["one", "two", "four", "published", "five"]);
    assert!(scene.figure("campanile_events_relayed_total 7"));
    assert!(scene.figure("campanile_frames_total 12"));
}

#[test]
fn a_member_hears_the_part_of_a_group_that_is_for_him() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    let mut bob = scene.establish(BOB, &[member(ROOM, 3)]);
    let room = Audience::Members(ROOM);
    let events =
        [1, 2, 3, 4].map(|seq| (&room, at(ROOM, seq), ["", "1", "2", "3", "4"][seq as usize]));
    group(&mut scene, &events);
    assert_eq!(alice.heard(), ["1", "2", "3", "4"]);
    assert_eq!(bob.heard(), ["3", "4"]);
}

#[test]
fn who_joins_or_leaves_within_a_group_hears_what_is_between() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[]);
    let mut bob = scene.establish(BOB, &[member(ROOM, 0)]);
    let room = Audience::Members(ROOM);
    let tell = |scene: &mut Scene, seq, text: &'static str, effect: Option<Effect>| {
        effect.inspect(|effect| scene.hub.before(*effect, at(ROOM, seq)));
        scene.hub.deliver(&room, at(ROOM, seq), || Some(text.as_bytes().to_vec()));
        effect.inspect(|effect| scene.hub.after(*effect));
    };
    tell(&mut scene, 1, "before", None);
    tell(&mut scene, 2, "joined", join(ALICE));
    tell(&mut scene, 3, "between", None);
    tell(&mut scene, 4, "left", leave(ALICE));
    tell(&mut scene, 5, "after", None);
    scene.hub.flush();
    assert_eq!(alice.heard(), ["joined", "between", "left"]);
    assert_eq!(bob.heard(), ["before", "joined", "between", "left", "after"]);
}

#[test]
fn a_group_of_any_size_is_heard_whole() {
    let mut scene = Scene::new();
    let mut alice = scene.establish(ALICE, &[member(ROOM, 0)]);
    let room = Audience::Members(ROOM);
    let count = outbox::FRAMES_MAX as u64;
    let events: Vec<_> = (1..=count).map(|seq| (&room, at(ROOM, seq), "x")).collect();
    group(&mut scene, &events);
    assert_eq!(alice.heard().len(), outbox::FRAMES_MAX);
    assert!(scene.figure("campanile_slow_closes_total 0"));
}
