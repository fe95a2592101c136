//! What is made again under the name of something deleted, while the purge is held back and after it:
//! it is what one that never had a predecessor would be.

use serde_json::{Value, json};

use crate::Quotas;
use crate::job::tests::{delete_channel, delete_user};
use crate::testing::{Outcome, World, label};

/// The one who is made again, and the one to whom he is compared; their names are equally long.
const AGAIN: &str = "bob";
const FRESH: &str = "eve";

async fn world() -> World {
    let mut quotas = Quotas::default();
    quotas.set("elastic-channels", 10).expect("is a quota");
    World::with_quotas(quotas).await
}

fn below(arn: &str, rest: &str) -> String {
    format!("/channels/{}{rest}", label(arn))
}

fn elastic() -> Value {
    json!({ "ElasticChannelConfiguration": { "MaximumSubChannels": 3,
        "TargetMembershipsPerSubChannel": 2, "MinimumMembershipPercentage": 40 } })
}

/// What requests show, with one name in the place of those that are compared.
async fn shown(world: &World, requests: &[(String, String)]) -> Vec<(String, Outcome)> {
    let masked = |text: &str| {
        [AGAIN, FRESH, "room", "hall"]
            .iter()
            .fold(text.to_owned(), |text, name| text.replace(name, "NAME"))
    };
    let mut all = Vec::new();
    for (target, bearer) in requests {
        let outcome = world.get(target, bearer).await;
        let outcome = outcome.map(|answer| {
            let text = masked(&answer.to_string());
            serde_json::from_str(&text).expect("a name is replaced by a name")
        });
        all.push((masked(target), outcome));
    }
    all
}

/// The channels of a world in which somebody may be anything.
struct Places {
    alice: String,
    joined: String,
    moderated: String,
    banned: String,
    hidden: String,
    large: String,
}

impl Places {
    async fn make(world: &mut World) -> Self {
        let alice = world.create_user("alice").await;
        assert!(world.create_admin(&alice).await.is_ok());
        let joined = world.create_channel(&alice, json!({ "Privacy": "PUBLIC" })).await;
        let moderated = world.create_channel(&alice, json!({})).await;
        let banned = world.create_channel(&alice, json!({})).await;
        let hidden = world.create_channel(&alice, json!({})).await;
        let large = world.create_channel(&alice, elastic()).await;
        Self { alice, joined, moderated, banned, hidden, large }
    }

    /// Makes a user everything that he can be.
    async fn fill(&self, world: &mut World, user: &str) {
        let alice = &self.alice;
        assert!(world.join(&self.joined, alice, user).await.is_ok());
        assert!(world.join(&self.moderated, alice, user).await.is_ok());
        assert!(world.promote(&self.moderated, alice, user).await.is_ok());
        assert!(world.ban(&self.banned, alice, user).await.is_ok());
        assert!(world.join_as(&self.hidden, alice, user, "HIDDEN").await.is_ok());
        assert!(world.join(&self.large, alice, user).await.is_ok());
        world.send(&self.joined, user, "hello").await.expect("is sent");
        let tags = json!({ "ResourceARN": user, "Tags": [{ "Key": "a", "Value": "b" }] });
        assert!(world.call("POST", "/tags?operation=tag-resource", "", tags).await.is_ok());
        let marker = below(&self.joined, "/readMarker");
        assert!(world.call("PUT", &marker, user, json!({})).await.is_ok());
        let preferences = below(&self.joined, &format!("/memberships/{}/preferences", label(user)));
        let none = json!({ "PushNotifications": { "AllowNotifications": "NONE" } });
        assert!(
            world.call("PUT", &preferences, user, json!({ "Preferences": none })).await.is_ok()
        );
        let days = json!({ "ExpirationDays": 9, "ExpirationCriterion": "CREATED_TIMESTAMP" });
        let settings = format!("/app-instance-users/{}/expiration-settings", label(user));
        let body = json!({ "ExpirationSettings": days });
        assert!(world.call("PUT", &settings, "", body).await.is_ok());
        world.register_device(user, "device").await.expect("is registered");
        assert!(world.create_admin(user).await.is_ok());
    }

    /// Everything that can be asked about a user, by himself and by an admin.
    fn requests(&self, world: &World, user: &str) -> Vec<(String, String)> {
        let (alice, label_of) = (&self.alice, label(user));
        let admins = format!("/app-instances/{}/admins", label(&world.app_instance));
        let by_nobody = [
            format!("/app-instance-users/{label_of}"),
            format!("/app-instance-users/{label_of}/endpoints"),
            format!("/tags?arn={label_of}"),
            format!("{admins}/{label_of}"),
        ];
        let mut all: Vec<(String, String)> =
            by_nobody.into_iter().map(|target| (target, String::new())).collect();
        for bearer in [user, alice] {
            for scope in ["memberships", "moderated-channels"] {
                let scope = format!("/channels?scope=app-instance-user-{scope}");
                all.push((format!("{scope}&app-instance-user-arn={label_of}"), bearer.to_owned()));
            }
        }
        for channel in [&self.joined, &self.moderated, &self.banned, &self.hidden, &self.large] {
            for rest in [
                format!("/memberships/{label_of}"),
                format!("/moderators/{label_of}"),
                format!("/bans/{label_of}"),
                format!("/memberships/{label_of}/preferences"),
                format!("?scope=app-instance-user-membership&app-instance-user-arn={label_of}"),
            ] {
                all.push((below(channel, &rest), alice.clone()));
            }
            for rest in ["", "/messages", "/memberships", "/memberships?type=HIDDEN", "/bans"] {
                all.push((below(channel, rest), user.to_owned()));
            }
        }
        all
    }
}

#[tokio::test]
async fn user_of_an_old_id_is_like_one_of_a_new_id_and_the_purge_changes_nothing_of_him() {
    let mut world = world().await;
    let places = Places::make(&mut world).await;
    let again = world.create_user(AGAIN).await;
    places.fill(&mut world, &again).await;
    delete_user(&world, &again).await;
    assert_eq!(world.create_user(AGAIN).await, again);
    let fresh = world.create_user(FRESH).await;
    let (of_again, of_fresh) = (places.requests(&world, &again), places.requests(&world, &fresh));
    let new = shown(&world, &of_fresh).await;
    assert_eq!(shown(&world, &of_again).await, new);
    world.heard();
    world.run_jobs().await;
    let told = world.heard();
    assert!(told.iter().all(|heard| heard.event_type == "DELETE_CHANNEL_MEMBERSHIP"), "{told:?}");
    assert_eq!(shown(&world, &of_again).await, new);
}

#[tokio::test]
async fn purge_leaves_everything_that_a_user_of_an_old_id_has_become_since() {
    let mut world = world().await;
    let places = Places::make(&mut world).await;
    let again = world.create_user(AGAIN).await;
    places.fill(&mut world, &again).await;
    delete_user(&world, &again).await;
    assert_eq!(world.create_user(AGAIN).await, again);
    places.fill(&mut world, &again).await;
    let requests = places.requests(&world, &again);
    let before = shown(&world, &requests).await;
    world.run_jobs().await;
    assert_eq!(shown(&world, &requests).await, before);
    assert!(before.iter().filter(|(_, outcome)| outcome.is_ok()).count() > 20);
}

/// Everything that can be asked about a channel.
fn requests_of(channel: &str, flow: &str, bearers: [&str; 2]) -> Vec<(String, String)> {
    let mut all = vec![
        (format!("/tags?arn={}", label(channel)), String::new()),
        (
            format!("/channels?scope=channel-flow-associations&channel-flow-arn={}", label(flow)),
            String::new(),
        ),
    ];
    for bearer in bearers {
        for rest in [
            "",
            "/memberships",
            "/memberships?type=HIDDEN",
            "/moderators",
            "/bans",
            "/messages",
            "/subchannels",
        ] {
            all.push((below(channel, rest), bearer.to_owned()));
        }
    }
    all
}

/// Puts everything that there can be into a channel of alice.
async fn fill(world: &mut World, channel: &str, flow: &str, [alice, bob, carol]: [&str; 3]) {
    assert!(world.promote(channel, alice, carol).await.is_ok());
    assert!(world.ban(channel, alice, bob).await.is_ok());
    assert!(world.associate(channel, alice, flow).await.is_ok());
    let tags = json!({ "ResourceARN": channel, "Tags": [{ "Key": "a", "Value": "b" }] });
    assert!(world.call("POST", "/tags?operation=tag-resource", "", tags).await.is_ok());
    let days = json!({ "ExpirationDays": 9, "ExpirationCriterion": "LAST_MESSAGE_TIMESTAMP" });
    let settings = below(channel, "/expiration-settings");
    let body = json!({ "ExpirationSettings": days });
    assert!(world.call("PUT", &settings, alice, body).await.is_ok());
}

#[tokio::test]
async fn channel_of_an_old_id_is_like_one_of_a_new_id_and_the_purge_changes_nothing_of_it() {
    for kind in [json!({}), elastic()] {
        let mut world = world().await;
        let alice = world.create_user("alice").await;
        assert!(world.create_admin(&alice).await.is_ok());
        let people = [world.create_user("bob").await, world.create_user("carol").await];
        let [bob, carol] = &people;
        let flow = world.create_flow("CONTINUE").await;
        let create = async |world: &mut World, id: &str| {
            let mut more = kind.clone();
            more["ChannelId"] = json!(id);
            world.create_channel(&alice, more).await
        };
        let again = create(&mut world, "room").await;
        for member in [&world.create_user("dave").await, &world.create_user("erin").await, carol] {
            assert!(world.join(&again, &alice, member).await.is_ok());
        }
        if kind == json!({}) {
            world.send(&again, &alice, "old").await.expect("is sent");
        }
        fill(&mut world, &again, &flow, [&alice, bob, carol]).await;
        delete_channel(&world, &again, &alice).await;
        assert_eq!(create(&mut world, "room").await, again);
        let fresh = create(&mut world, "hall").await;
        let bearers = [alice.as_str(), carol.as_str()];
        let (of_again, of_fresh) =
            (requests_of(&again, &flow, bearers), requests_of(&fresh, &flow, bearers));
        assert_same(&world, &of_again, &of_fresh).await;
        for channel in [&again, &fresh] {
            assert!(world.join(channel, &alice, carol).await.is_ok());
            fill(&mut world, channel, &flow, [&alice, bob, carol]).await;
        }
        assert_same(&world, &of_again, &of_fresh).await;
        world.heard();
        world.run_jobs().await;
        assert!(world.heard().is_empty());
        assert_same(&world, &of_again, &of_fresh).await;
    }
}

/// Sub-channels have other ids, and lists of all channels name both.
async fn assert_same(world: &World, again: &[(String, String)], fresh: &[(String, String)]) {
    let of_again = shown(world, again).await;
    let of_fresh = shown(world, fresh).await;
    for (mut again, mut fresh) in of_again.into_iter().zip(of_fresh) {
        for (_, outcome) in [&mut again, &mut fresh] {
            let Ok(answer) = outcome else { continue };
            answer.as_object_mut().expect("is one").remove("Channels");
            for sub in answer["SubChannels"].as_array_mut().into_iter().flatten() {
                sub["SubChannelId"] = json!("SUB");
            }
        }
        assert_eq!(again, fresh);
    }
}

#[tokio::test]
async fn same_names_in_a_new_app_instance_are_nobody_while_the_old_one_is_purged() {
    let mut world = world().await;
    let old = world.app_instance.clone();
    let places = Places::make(&mut world).await;
    let bob = world.create_user(AGAIN).await;
    places.fill(&mut world, &bob).await;
    let mut more = elastic();
    more["ChannelId"] = json!("room");
    world.create_channel(&bob, more.clone()).await;
    assert!(world.delete(&format!("/app-instances/{}", label(&old)), "").await.is_ok());
    world.app_instance = world.create_app_instance("app").await;
    assert_ne!(world.app_instance, old);
    let places = Places::make(&mut world).await;
    let bob = world.create_user(AGAIN).await;
    let eve = world.create_user(FRESH).await;
    let (of_bob, of_eve) = (places.requests(&world, &bob), places.requests(&world, &eve));
    let new = shown(&world, &of_eve).await;
    assert_eq!(shown(&world, &of_bob).await, new);
    places.fill(&mut world, &bob).await;
    world.create_channel(&bob, more).await;
    let before = shown(&world, &of_bob).await;
    world.heard();
    world.run_jobs().await;
    assert!(world.heard().is_empty(), "nobody is left to be told");
    assert_eq!(shown(&world, &of_bob).await, before);
}
