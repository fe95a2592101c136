use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use store::table::event_key;
use store::{Add, Audience, Batch, Put, Stamp, Uid};

use super::{Missed, RESUME_CHANNELS_MAX, RESUME_EVENTS_MAX, RESUME_OVERLAP_MS, USER_MEMBERSHIPS};
use crate::event::{Effect, Place, Told};
use crate::testing::random::Random;
use crate::testing::{World, label, text};
use crate::{Chat, RESUME_WINDOW_MS, SessionUser};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

async fn session(chat: &Chat, arn: &str) -> SessionUser {
    chat.connect(arn).await.expect("the store answers").expect("the user is live")
}

/// What a user is told who comes back with `id`: the events and the frame behind them.
async fn resume(chat: &Chat, arn: &str, id: &str) -> (Vec<Told>, Value) {
    let user = session(chat, arn).await;
    let missed = chat.missed(&user, id, chat.present(u64::MAX)).await;
    let mut missed: Missed = missed.expect("the store answers");
    let mut told = Vec::new();
    loop {
        let page = missed.next().await.expect("the store answers");
        if page.is_empty() {
            let end = serde_json::from_slice(&missed.end()).expect("frames are JSON");
            return (told, end);
        }
        told.extend(page);
    }
}

/// The type and payload of an event that has a frame.
fn frame(told: &Told) -> Option<(String, Value)> {
    let frame: Value = serde_json::from_slice(told.frame.as_deref()?).expect("frames are JSON");
    let payload = frame["Payload"].as_str().expect("has a payload");
    let payload = serde_json::from_str(payload).expect("payloads are JSON");
    Some((text(&frame["Headers"]["x-amz-chime-event-type"]), payload))
}

fn read(told: &[Told]) -> Vec<(String, Value)> {
    told.iter().filter_map(frame).collect()
}

fn kinds(told: &[Told]) -> Vec<String> {
    read(told).into_iter().map(|(kind, _)| kind).collect()
}

/// Returns the reason of a refusal, whose frame nothing else is told with.
async fn refusal(chat: &Chat, arn: &str, id: &str) -> String {
    let (told, end) = resume(chat, arn, id).await;
    assert!(told.is_empty());
    assert_eq!(end["Headers"]["x-amz-chime-event-type"], "RESUME_TOO_OLD");
    assert_eq!(end["Headers"]["x-amz-chime-message-type"], "SYSTEM");
    assert!(end["Headers"]["x-campanile-event-id"].is_string());
    let payload: Value =
        serde_json::from_str(end["Payload"].as_str().expect("is a text")).expect("is JSON");
    text(&payload["Reason"])
}

/// A channel of alice's, who is an admin, with bob in it.
async fn world() -> (World, [String; 2], String) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    assert!(world.create_admin(&alice).await.is_ok());
    let channel = world.create_channel(&alice, json!({ "MemberArns": [bob] })).await;
    (world, [alice, bob], channel)
}

/// Lets more time pass than the overlap covers, and returns an id of then.
fn cut(world: &World) -> String {
    world.clock.advance(RESUME_OVERLAP_MS + 1_000);
    let id = world.chat.present(u64::MAX);
    world.clock.advance(RESUME_OVERLAP_MS + 1_000);
    id
}

/// Who hears what, as a hub would have it that all users are connected to.
#[derive(Default)]
struct Hub {
    sub_channels: HashSet<Uid>,
    channels: HashMap<Uid, HashMap<Uid, bool>>,
    heard: HashMap<Uid, HashSet<Place>>,
}

impl Hub {
    fn after(told: &[Told], sub_channels: HashSet<Uid>) -> Self {
        let mut hub = Self { sub_channels, ..Self::default() };
        for told in told {
            hub.hear(told);
        }
        hub
    }

    fn hear(&mut self, told: &Told) {
        match told.effect {
            Some(Effect::Join { channel, user, moderator }) => {
                self.channels.entry(channel).or_default().insert(user, moderator);
            }
            Some(Effect::ModeratorChanged { channel, user, moderator }) => {
                let members = self.channels.entry(channel).or_default();
                members.entry(user).and_modify(|it| *it = moderator);
            }
            _ => {}
        }
        let none = HashMap::new();
        let members = |channel: &Uid| self.channels.get(channel).unwrap_or(&none);
        let users: Vec<Uid> = match &told.audience {
            Audience::Members(channel) => members(channel).keys().copied().collect(),
            Audience::Moderators(channel) => {
                let moderators = members(channel).iter().filter(|(_, moderator)| **moderator);
                moderators.map(|(user, _)| *user).collect()
            }
            Audience::Users(users) => users.clone(),
            Audience::Internal => Vec::new(),
        };
        for user in users {
            self.heard.entry(user).or_default().insert(told.place);
        }
        match told.effect {
            Some(Effect::Leave { channel, user }) => {
                self.channels.entry(channel).or_default().remove(&user);
            }
            Some(Effect::ChannelGone { channel }) => drop(self.channels.remove(&channel)),
            _ => {}
        }
    }

    fn heard(&self, user: Uid, place: Place) -> bool {
        self.heard.get(&user).is_some_and(|heard| heard.contains(&place))
    }

    fn role(&self, channel: Uid, user: Uid) -> Option<bool> {
        self.channels.get(&channel)?.get(&user).copied()
    }

    /// Whether a user who comes back at the end is to be told.
    fn is_due(&self, told: &Told, user: Uid) -> bool {
        let ends = match told.effect {
            Some(Effect::Leave { user: leaver, .. }) => leaver == user,
            Some(Effect::ChannelGone { .. }) => true,
            _ => false,
        };
        self.heard(user, told.place)
            && match &told.audience {
                _ if ends => true,
                Audience::Members(channel) => self.role(*channel, user).is_some(),
                Audience::Moderators(channel) => self.role(*channel, user) == Some(true),
                Audience::Users(_) => {
                    self.role(told.place.home, user).is_some() || is_end_of_hidden(told)
                }
                Audience::Internal => false,
            }
    }

    /// Whether a user who comes back at the end may be told: beside what is due, what members of his
    /// sub-channel were told before he came there, and moderators before he was one.
    fn is_allowed(&self, told: &Told, user: Uid) -> bool {
        self.is_due(told, user)
            || match &told.audience {
                Audience::Members(channel) => {
                    self.role(*channel, user).is_some() && self.sub_channels.contains(channel)
                }
                Audience::Moderators(channel) => self.role(*channel, user) == Some(true),
                Audience::Users(users) => users.contains(&user),
                Audience::Internal => false,
            }
    }
}

fn is_end_of_hidden(told: &Told) -> bool {
    frame(told).is_some_and(|(kind, _)| kind == "DELETE_CHANNEL_MEMBERSHIP")
}

/// Returns the message that an event tells of, as far as it is stored.
fn message(told: &Told) -> Option<String> {
    let (_, payload) = frame(told).filter(|(kind, _)| kind != "DELETE_CHANNEL_MESSAGE")?;
    Some(payload["MessageId"].as_str()?.to_owned())
}

fn event_id(told: &Told) -> Option<String> {
    let frame: Value = serde_json::from_slice(told.frame.as_deref()?).expect("frames are JSON");
    frame["Headers"]["x-campanile-event-id"].as_str().map(str::to_owned)
}

/// What happened in a random world.
struct Past {
    live: Vec<Told>,
    hub: Hub,
    /// Channels that are deleted, and messages.
    gone: HashSet<Uid>,
    deleted: HashSet<String>,
}

impl Past {
    async fn of(random: &mut Random, steps: usize) -> Self {
        for _ in 0..steps {
            random.step().await;
        }
        let live = random.world.told();
        let mut gone = HashSet::new();
        let mut deleted = HashSet::new();
        for told in &live {
            if let Some(Effect::ChannelGone { channel }) = told.effect {
                gone.insert(channel);
            }
            if let Some((kind, payload)) = frame(told)
                && kind == "DELETE_CHANNEL_MESSAGE"
            {
                deleted.insert(text(&payload["MessageId"]));
            }
        }
        let hub = Hub::after(&live, random.sub_channels());
        Self { live, hub, gone, deleted }
    }

    /// Whether the message of an event is there no more.
    fn is_gone(&self, told: &Told) -> bool {
        message(told)
            .is_some_and(|id| self.gone.contains(&told.place.home) || self.deleted.contains(&id))
    }

    fn check(&self, user: Uid, from_ms: u64, told: &[Told], case: &str) {
        let places: HashSet<Place> = told.iter().map(|told| told.place).collect();
        assert_eq!(places.len(), told.len(), "{case}: nothing twice");
        let first: HashMap<Place, &Told> =
            self.live.iter().map(|told| (told.place, told)).collect();
        let mut last: HashMap<Uid, Place> = HashMap::new();
        for Told { place, .. } in told {
            let earlier = last.insert(place.home, *place);
            assert!(earlier.is_none_or(|earlier| earlier < *place), "{case}: in order");
            assert!(place.stamp.ms >= from_ms, "{case}: not older than asked for");
            let first = first[place];
            assert!(self.hub.is_allowed(first, user), "{case}: not his: {first:?}");
        }
        let is_asked_for =
            |told: &&Told| told.place.stamp.seq > 0 && told.place.stamp.ms >= from_ms;
        for first in self.live.iter().filter(is_asked_for) {
            let is_told = places.contains(&first.place) || self.is_gone(first);
            assert!(is_told || !self.hub.is_due(first, user), "{case}: missed: {first:?}");
        }
    }
}

#[tokio::test]
async fn who_comes_back_is_told_all_that_he_missed_and_nothing_that_is_not_his() {
    for seed in 100..106 {
        let mut random = Random::new(seed).await;
        let past = Past::of(&mut random, 160).await;
        let chat = &random.world.chat;
        let count = past.live.len();
        for cut in [0, count / 3, count / 2, count - 1] {
            let Some(id) = past.live[cut..].iter().find_map(event_id) else { continue };
            let at_ms = chat.0.place.event_ids.ms(&id).expect("is an id");
            for arn in &random.users {
                let case = format!("seed {seed}, cut {cut}, {arn}");
                let user = session(chat, arn).await.user;
                let (told, end) = resume(chat, arn, &id).await;
                assert_eq!(end["Headers"]["x-amz-chime-event-type"], "RESUME_COMPLETE", "{case}");
                past.check(user, at_ms.saturating_sub(RESUME_OVERLAP_MS), &told, &case);
            }
        }
    }
}

#[tokio::test]
async fn an_id_that_is_too_old_or_no_id_of_this_store_is_refused() {
    let (world, [_, bob], _) = world().await;
    let id = world.chat.present(u64::MAX);
    for strange in ["", "x", &"A".repeat(24), &"é".repeat(12), &"A".repeat(100_000)] {
        assert_eq!(refusal(&world.chat, &bob, strange).await, "UNKNOWN_ID");
    }
    let other = wire::event::EventIds::new(&[9; 32]).of(world.chat.kept_from_ms() + 1_000, 0);
    assert_eq!(refusal(&world.chat, &bob, &other).await, "UNKNOWN_ID");
    world.clock.advance(RESUME_WINDOW_MS);
    assert_eq!(resume(&world.chat, &bob, &id).await.0.len(), 2);
    world.clock.advance(1);
    assert_eq!(refusal(&world.chat, &bob, &id).await, "WINDOW");
    let future = world.chat.present(u64::MAX);
    world.clock.set(crate::testing::START_MS);
    assert_eq!(refusal(&world.chat, &bob, &future).await, "UNKNOWN_ID");
}

#[tokio::test]
async fn a_user_of_very_many_channels_or_events_is_refused() {
    let (world, [alice, bob], channel) = world().await;
    let id = cut(&world);
    let user = session(&world.chat, &bob).await.user;
    let engine = world.chat.0.store.engine();
    let home = world.chat.memberships(&session(&world.chat, &alice).await).await;
    let home = home.expect("the store answers")[0].channel;
    let row = |seq| Put {
        key: event_key(home, Stamp { ms: world.chat.kept_from_ms() + RESUME_WINDOW_MS, seq }, 0),
        value: store::codec::encode(&json!({ "event": "CREATE_CHANNEL_MESSAGE" })),
    };
    let count = u64::try_from(RESUME_EVENTS_MAX).expect("is small");
    for rows in [100..count / 2, count / 2..count + 100] {
        let mut batch = Batch::new("events", home);
        batch.puts = rows.map(row).collect();
        engine.commit(batch).await.expect("is written");
    }
    assert_eq!(refusal(&world.chat, &bob, &id).await, "TOO_MANY_EVENTS");
    assert!(world.leave(&channel, &bob, &bob).await.is_ok());
    let mut batch = Batch::new("memberships", user);
    let key = USER_MEMBERSHIPS.key(user);
    batch.adds.push(Add { key, delta: RESUME_CHANNELS_MAX + 1, max: None });
    engine.commit(batch).await.expect("is written");
    assert_eq!(refusal(&world.chat, &bob, &id).await, "TOO_MANY_CHANNELS");
}

#[tokio::test]
async fn who_was_removed_is_told_of_it_and_of_nothing_before_or_after() {
    for r#type in ["DEFAULT", "HIDDEN"] {
        let (mut world, [alice, bob], channel) = world().await;
        if r#type == "HIDDEN" {
            assert!(world.leave(&channel, &bob, &bob).await.is_ok());
            assert!(world.join_as(&channel, &alice, &bob, r#type).await.is_ok());
        }
        let id = cut(&world);
        assert!(world.send(&channel, &alice, "before").await.is_ok());
        assert!(world.leave(&channel, &alice, &bob).await.is_ok());
        assert!(world.send(&channel, &alice, "after").await.is_ok());
        let (told, _) = resume(&world.chat, &bob, &id).await;
        assert_eq!(kinds(&told), ["DELETE_CHANNEL_MEMBERSHIP"], "{type}", r#type = r#type);
        assert_eq!(read(&told)[0].1["Member"]["Arn"], json!(bob));
    }
}

#[tokio::test]
async fn who_left_and_came_back_is_not_told_what_lies_between() {
    let (mut world, [alice, bob], channel) = world().await;
    let id = cut(&world);
    assert!(world.send(&channel, &alice, "1").await.is_ok());
    assert!(world.leave(&channel, &alice, &bob).await.is_ok());
    assert!(world.send(&channel, &alice, "2").await.is_ok());
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    assert!(world.send(&channel, &alice, "3").await.is_ok());
    let (told, end) = resume(&world.chat, &bob, &id).await;
    let said: Vec<Value> = read(&told).iter().map(|(_, told)| told["Content"].clone()).collect();
    assert_eq!(said, [json!("1"), json!(null), json!(null), json!("3")]);
    assert_eq!(end["Payload"], json!(r#"{"EventCount":4}"#));
}

#[tokio::test]
async fn members_of_a_deleted_channel_are_told_of_its_end_before_and_after_its_purge() {
    let (mut world, [alice, bob], channel) = world().await;
    let id = cut(&world);
    assert!(world.send(&channel, &alice, "last words").await.is_ok());
    assert!(world.delete(&format!("/channels/{}", label(&channel)), &alice).await.is_ok());
    let (before, _) = resume(&world.chat, &bob, &id).await;
    assert_eq!(kinds(&before), ["DELETE_CHANNEL"]);
    assert!(world.run_jobs().await > 0);
    let (after, _) = resume(&world.chat, &bob, &id).await;
    assert_eq!(read(&after), read(&before));
    assert_eq!(after[0].place, before[0].place);
}

#[tokio::test]
async fn members_of_a_deleted_elastic_channel_are_told_of_its_end() {
    let (mut world, [alice, bob], _) = world().await;
    let config = json!({ "MaximumSubChannels": 4, "TargetMembershipsPerSubChannel": 2,
        "MinimumMembershipPercentage": 10 });
    let more = json!({ "ElasticChannelConfiguration": config });
    let channel = world.create_channel(&alice, more).await;
    assert!(world.join(&channel, &alice, &bob).await.is_ok());
    let id = cut(&world);
    assert!(world.delete(&format!("/channels/{}", label(&channel)), &alice).await.is_ok());
    let (before, _) = resume(&world.chat, &bob, &id).await;
    assert_eq!(kinds(&before), ["DELETE_CHANNEL"]);
    assert!(world.run_jobs().await > 0);
    let (after, _) = resume(&world.chat, &bob, &id).await;
    assert_eq!(read(&after), read(&before));
}

#[tokio::test]
async fn what_is_past_its_retention_is_not_told() {
    let (mut world, [alice, bob], channel) = world().await;
    let sent = world.send(&channel, &alice, "old").await.expect("is sent");
    let settings = json!({ "AppInstanceRetentionSettings":
        { "ChannelRetentionSettings": { "RetentionDays": 1 } } });
    let target = format!("/app-instances/{}/retention-settings", label(&world.app_instance));
    assert!(world.call("PUT", &target, "", settings).await.is_ok());
    world.clock.advance(DAY_MS - 60_000);
    let id = world.chat.present(u64::MAX);
    let id_of_message = text(&sent["MessageId"]);
    let path = format!("/channels/{}/messages/{id_of_message}", label(&channel));
    let edit = json!({ "Content": "old, edited" });
    assert!(world.call("PUT", &path, &alice, edit).await.is_ok());
    assert_eq!(kinds(&resume(&world.chat, &bob, &id).await.0), ["UPDATE_CHANNEL_MESSAGE"]);
    world.clock.advance(120_000);
    assert_eq!(kinds(&resume(&world.chat, &bob, &id).await.0), [] as [&str; 0]);
}

#[tokio::test]
async fn what_is_targeted_or_for_moderators_is_told_to_those_alone() {
    let (mut world, [alice, bob], channel) = world().await;
    let carol = world.create_user("carol").await;
    let dave = world.create_user("dave").await;
    assert!(world.join(&channel, &alice, &carol).await.is_ok());
    let id = cut(&world);
    let more = json!({ "Content": "for bob", "Target": [{ "MemberArn": bob }] });
    assert!(world.send_with(&channel, &alice, more).await.is_ok());
    assert!(world.join_as(&channel, &alice, &dave, "HIDDEN").await.is_ok());
    let told = async |who: &str| kinds(&resume(&world.chat, who, &id).await.0);
    assert_eq!(told(&alice).await, ["CREATE_CHANNEL_MESSAGE", "CREATE_CHANNEL_MEMBERSHIP"]);
    assert_eq!(told(&bob).await, ["CREATE_CHANNEL_MESSAGE"]);
    assert_eq!(told(&carol).await, [] as [&str; 0]);
    assert_eq!(told(&dave).await, ["CREATE_CHANNEL_MEMBERSHIP"]);
}

#[tokio::test]
async fn ids_of_the_present_stand_for_what_was_not_told_yet() {
    let (mut world, [alice, bob], channel) = world().await;
    let established: Value =
        serde_json::from_slice(&Chat::established(&world.chat.present(u64::MAX)))
            .expect("frames are JSON");
    let id = text(&established["Headers"]["x-campanile-event-id"]);
    assert!(world.send(&channel, &alice, "now").await.is_ok());
    let (told, _) = resume(&world.chat, &bob, &id).await;
    assert!(kinds(&told).contains(&"CREATE_CHANNEL_MESSAGE".to_owned()));
    let established: Value =
        serde_json::from_slice(&Chat::established_to_resume()).expect("frames are JSON");
    assert_eq!(established["Headers"]["x-campanile-event-id"], Value::Null);
}
