use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use store::{Audience, Stamp, Uid};

use super::Told;
use crate::event::{Effect, Place};
use crate::testing::random::Random;
use crate::testing::{World, text};
use crate::{Chat, RESUME_WINDOW_MS};

/// Headers and payload of a frame.
fn read(frame: &[u8]) -> (Value, Value) {
    let frame: Value = serde_json::from_slice(frame).expect("frames are JSON");
    let payload = frame["Payload"].as_str().expect("has a payload");
    (frame["Headers"].clone(), serde_json::from_str(payload).expect("payloads are JSON"))
}

fn event_type(headers: &Value) -> &str {
    headers["x-amz-chime-event-type"].as_str().expect("has a type")
}

/// Reads to the end.
async fn all(mut retelling: super::Retelling) -> Vec<Told> {
    let mut told = Vec::new();
    loop {
        let page = retelling.next().await.expect("the store answers");
        if page.is_empty() {
            return told;
        }
        told.extend(page);
    }
}

/// The state of messages after everything that was told.
#[derive(Default)]
struct Now {
    latest: HashMap<String, Value>,
    deleted: HashSet<String>,
}

impl Now {
    fn after(told: &[Told]) -> Self {
        let mut now = Self::default();
        for frame in told.iter().filter_map(|told| told.frame.as_deref()) {
            let (headers, payload) = read(frame);
            let Some(id) = payload["MessageId"].as_str() else { continue };
            match event_type(&headers) {
                "DELETE_CHANNEL_MESSAGE" => drop(now.deleted.insert(id.to_owned())),
                "FAILED_UPDATE_CHANNEL_MESSAGE" => {}
                event if event.starts_with("PENDING_") => {}
                _ => drop(now.latest.insert(id.to_owned(), payload)),
            }
        }
        now
    }

    /// Returns what is to be told again in the place of a frame.
    fn of(&self, frame: Option<&[u8]>) -> Option<(Value, Value)> {
        let (headers, payload) = read(frame?);
        let event = event_type(&headers);
        let (Some(id), false) = (payload["MessageId"].as_str(), event == "DELETE_CHANNEL_MESSAGE")
        else {
            return Some((headers, payload));
        };
        if event.starts_with("PENDING_") {
            return Some((headers, payload));
        }
        if self.deleted.contains(id) {
            return None;
        }
        Some((headers, self.latest.get(id)?.clone()))
    }
}

type Comparable = (Place, Audience, Option<Effect>, Option<(Value, Value)>);

fn compare(told: &Told, frame: Option<(Value, Value)>) -> Comparable {
    (told.place, told.audience.clone(), told.effect, frame)
}

/// Whether a frame is told with a message that is stored.
fn is_of_message((.., frame): &Comparable) -> bool {
    frame.as_ref().is_some_and(|(headers, payload)| {
        payload["MessageId"].is_string() && event_type(headers) != "DELETE_CHANNEL_MESSAGE"
    })
}

#[tokio::test]
async fn retelling_equals_what_was_told_from_every_cut_on() {
    for seed in 0..6 {
        let mut random = Random::new(seed).await;
        for _ in 0..150 {
            random.step().await;
        }
        let mut first = random.world.told();
        let now = Now::after(&first);
        // What no row keeps is not told again.
        first.retain(|told| told.place.stamp.seq > 0);
        let chat = &random.world.chat;
        let homes: HashSet<Uid> = first.iter().map(|told| told.place.home).collect();
        for home in homes {
            let of_home: Vec<&Told> = first.iter().filter(|told| told.place.home == home).collect();
            let ends = |told: &&Told| matches!(told.effect, Some(Effect::ChannelGone { .. }));
            let is_gone = of_home.iter().any(ends);
            for cut in [0, 1.min(of_home.len() - 1), of_home.len() / 2, of_home.len() - 1] {
                let after = match cut {
                    0 => Stamp { ms: 0, seq: 0 },
                    cut => of_home[cut - 1].place.stamp,
                };
                let expected: Vec<Comparable> = of_home
                    .iter()
                    .filter(|told| told.place.stamp.seq > after.seq)
                    .map(|told| compare(told, now.of(told.frame.as_deref())))
                    .collect();
                for after in [after, Stamp { ms: 0, ..after }] {
                    let again = all(chat.retell(home, after)).await;
                    assert_eq!(again.len(), expected.len(), "seed {seed}, home {home}");
                    for (told, expected) in again.iter().zip(&expected) {
                        let again = compare(told, told.frame.as_deref().map(read));
                        // The messages of a deleted channel went with it.
                        let is_purged = is_gone && is_of_message(expected) && again.3.is_none();
                        assert!(
                            is_purged || again == *expected,
                            "seed {seed}, cut {cut}: {again:?} for {expected:?}"
                        );
                    }
                }
            }
        }
        let from_ms = first[first.len() / 2].place.stamp.ms;
        let mut again = all(chat.retell_all(from_ms)).await;
        let mut last: HashMap<Uid, Place> = HashMap::new();
        for Told { place, .. } in &again {
            let earlier = last.insert(place.home, *place);
            assert!(earlier.is_none_or(|earlier| earlier < *place), "seed {seed}");
        }
        again.sort_by_key(|told| told.place);
        let mut expected: Vec<Place> =
            first.iter().map(|told| told.place).filter(|place| place.stamp.ms >= from_ms).collect();
        expected.sort();
        let again: Vec<Place> = again.iter().map(|told| told.place).collect();
        assert_eq!(again, expected, "seed {seed}");
    }
}

/// A channel of alice's with bob in it, and nothing heard yet.
async fn world() -> (World, [String; 2], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    world.told();
    (world, [alice, bob], channel)
}

async fn everything(chat: &Chat) -> Vec<(String, Value)> {
    let told = all(chat.retell_all(0)).await;
    let read = |told: &Told| told.frame.as_deref().map(read);
    let told = told.iter().filter_map(read);
    told.map(|(headers, payload)| (event_type(&headers).to_owned(), payload)).collect()
}

#[tokio::test]
async fn what_was_redacted_or_deleted_since_is_told_without_what_it_said() {
    let (mut world, [alice, _], channel) = world().await;
    let mut paths = Vec::new();
    for _ in 0..2 {
        let sent = world.send(&channel, &alice, "secret").await.expect("is sent");
        let id = text(&sent["MessageId"]);
        paths.push(format!("/channels/{}/messages/{id}", crate::testing::label(&channel)));
    }
    assert!(world.create_admin(&alice).await.is_ok());
    let redact = format!("{}?operation=redact", paths[0]);
    assert!(world.call("POST", &redact, &alice, json!({})).await.is_ok());
    assert!(world.delete(&paths[1], &alice).await.is_ok());
    let told = everything(&world.chat).await;
    assert!(!format!("{told:?}").contains("secret"));
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert!(kinds.ends_with(&[
        "CREATE_CHANNEL_MESSAGE",
        "REDACT_CHANNEL_MESSAGE",
        "DELETE_CHANNEL_MESSAGE"
    ]));
    assert_eq!(told[told.len() - 3].1["Redacted"], true);
}

#[tokio::test]
async fn an_event_and_its_retelling_have_one_id_and_different_events_have_different_ones() {
    let (mut world, [alice, _], channel) = world().await;
    for content in ["a", "b", "c"] {
        assert!(world.send(&channel, &alice, content).await.is_ok());
    }
    let first = world.told();
    let after = Stamp { ms: 0, seq: first[0].place.stamp.seq - 1 };
    let again = all(world.chat.retell(first[0].place.home, after)).await;
    let ids = |told: &[Told]| -> Vec<String> {
        let frames = told.iter().filter_map(|told| told.frame.as_deref());
        frames.map(|frame| text(&read(frame).0["x-campanile-event-id"])).collect()
    };
    assert_eq!(ids(&first), ids(&again));
    assert_eq!(ids(&first).into_iter().collect::<HashSet<_>>().len(), 3);
}

#[tokio::test]
async fn what_is_only_delivered_has_no_id_and_is_not_told_again() {
    let (mut world, [alice, _], channel) = world().await;
    let before = everything(&world.chat).await;
    let more = json!({ "Persistence": "NON_PERSISTENT" });
    assert!(world.send_with(&channel, &alice, more).await.is_ok());
    let told = world.told();
    let (headers, _) = read(told[0].frame.as_deref().expect("is told"));
    assert_eq!(headers["x-campanile-event-id"], Value::Null);
    assert_eq!(everything(&world.chat).await, before);
}

#[tokio::test]
async fn pages_lose_nothing_and_a_window_bounds_what_is_told() {
    let (mut world, [alice, _], channel) = world().await;
    let count = crate::limits::RETOLD_ROWS_PER_READ * 2;
    for index in 0..count {
        assert!(world.send(&channel, &alice, &format!("{index}")).await.is_ok());
    }
    let told = everything(&world.chat).await;
    let contents = told.iter().filter(|(kind, _)| kind == "CREATE_CHANNEL_MESSAGE");
    let contents: Vec<String> = contents.map(|(_, payload)| text(&payload["Content"])).collect();
    assert_eq!(contents, (0..count).map(|index| index.to_string()).collect::<Vec<_>>());
    world.clock.advance(RESUME_WINDOW_MS + 10_000);
    assert_eq!(everything(&world.chat).await, []);
}
