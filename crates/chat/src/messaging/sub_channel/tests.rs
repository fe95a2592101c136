use serde_json::{Value, json};
use store::Failure;

use super::SubChannel;
use crate::messaging::channel_message::CHANNEL_MESSAGE;
use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, Heard, LIMIT, NOT_FOUND, Outcome, World, array, label, text,
};
use crate::{Effect, Quotas};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// An elastic channel of the owner with sub-channels of two, four of them unless told.
async fn create(world: &mut World, owner: &str, maximum: i32) -> String {
    let elastic = json!({ "MaximumSubChannels": maximum, "TargetMembershipsPerSubChannel": 2,
        "MinimumMembershipPercentage": 40 });
    world.create_channel(owner, json!({ "ElasticChannelConfiguration": elastic })).await
}

fn below(channel: &str, rest: &str) -> String {
    format!("/channels/{}{rest}", label(channel))
}

/// Adds a member and returns the sub-channel.
async fn add(world: &World, channel: &str, bearer: &str, member: &str) -> String {
    let answer = world.join(channel, bearer, member).await.expect("is added");
    text(&answer["SubChannelId"])
}

async fn add_to(world: &World, channel: &str, bearer: &str, member: &str, sub: &str) -> Outcome {
    let body = json!({ "MemberArn": member, "Type": "DEFAULT", "SubChannelId": sub });
    world.call("POST", &below(channel, "/memberships"), bearer, body).await
}

async fn remove_from(world: &World, channel: &str, member: &str, sub: &str) -> Outcome {
    let rest = format!("/memberships/{}?sub-channel-id={sub}", label(member));
    world.delete(&below(channel, &rest), member).await
}

/// Returns the ids and counts of the sub-channels.
async fn subs(world: &World, channel: &str, bearer: &str) -> Vec<(String, i64)> {
    let target = below(channel, "/subchannels?max-results=1");
    let all = world.pages(&target, bearer, "SubChannels").await;
    let shown = |sub: &Value| {
        (text(&sub["SubChannelId"]), sub["MembershipCount"].as_i64().expect("is a count"))
    };
    all.iter().map(shown).collect()
}

async fn counts(world: &World, channel: &str, bearer: &str) -> Vec<i64> {
    let mut counts: Vec<i64> =
        subs(world, channel, bearer).await.into_iter().map(|(_, count)| count).collect();
    counts.sort_unstable();
    counts
}

async fn people<const N: usize>(world: &mut World) -> [String; N] {
    let mut all = Vec::new();
    for index in 0..N {
        all.push(world.create_user(&format!("user-{index}")).await);
    }
    all.try_into().expect("there are as many")
}

fn of_kind<'a>(heard: &'a [Heard], kind: &str) -> Vec<&'a Heard> {
    heard.iter().filter(|heard| heard.event_type == kind).collect()
}

#[tokio::test]
async fn creator_of_an_elastic_channel_is_its_moderator_and_no_member() {
    let mut world = World::new().await;
    let [owner, helper] = people(&mut world).await;
    let elastic = json!({ "MaximumSubChannels": 3, "TargetMembershipsPerSubChannel": 2,
        "MinimumMembershipPercentage": 40 });
    let more = json!({ "ElasticChannelConfiguration": elastic, "ModeratorArns": [helper] });
    let channel = world.create_channel(&owner, more).await;
    assert!(of_kind(&world.heard(), "CREATE_CHANNEL_MEMBERSHIP").is_empty());
    let described = world.get(&below(&channel, ""), &helper).await.expect("is described");
    assert_eq!(described["Channel"]["ElasticChannelConfiguration"], elastic);
    assert_eq!(described["Channel"]["Mode"], "RESTRICTED");
    assert_eq!(counts(&world, &channel, &owner).await, [0]);
    let own = below(&channel, &format!("/memberships/{}", label(&owner)));
    assert_eq!(world.delete(&own, &owner).await, FORBIDDEN);
    let wider = json!({ "Mode": "UNRESTRICTED" });
    assert_eq!(world.call("PUT", &below(&channel, ""), &owner, wider).await, BAD_REQUEST);
}

#[tokio::test]
async fn quotas_bound_elastic_channels_and_what_they_may_ask_for() {
    let mut quotas = Quotas::default();
    quotas.set("sub-channels", 3).expect("is a quota");
    let mut world = World::with_quotas(quotas).await;
    let [owner] = people(&mut world).await;
    for (subs, target) in [(4, 2), (2, 1_001)] {
        let elastic = json!({ "MaximumSubChannels": subs, "MinimumMembershipPercentage": 1,
            "TargetMembershipsPerSubChannel": target });
        let more = json!({ "ElasticChannelConfiguration": elastic });
        assert_eq!(world.try_create_channel(&owner, more).await, LIMIT);
    }
    let channel = create(&mut world, &owner, 3).await;
    let elastic = json!({ "MaximumSubChannels": 2, "TargetMembershipsPerSubChannel": 2,
        "MinimumMembershipPercentage": 1 });
    let more = json!({ "ElasticChannelConfiguration": elastic });
    assert_eq!(world.try_create_channel(&owner, more).await, LIMIT);
    assert!(world.delete(&below(&channel, ""), &owner).await.is_ok());
    create(&mut world, &owner, 2).await;
    world.run_jobs().await;
}

#[tokio::test]
async fn members_fill_sub_channels_until_all_are_full() {
    let mut world = World::new().await;
    let [owner, a, b, c, d, e] = people(&mut world).await;
    let channel = create(&mut world, &owner, 2).await;
    let first = add(&world, &channel, &owner, &a).await;
    assert_eq!(add(&world, &channel, &owner, &b).await, first);
    let second = add(&world, &channel, &owner, &c).await;
    assert_ne!(second, first);
    assert_eq!(add(&world, &channel, &owner, &d).await, second);
    assert_eq!(world.join(&channel, &owner, &e).await, LIMIT);
    assert_eq!(world.join(&channel, &owner, &a).await, CONFLICT);
    assert_eq!(world.join(&channel, &a, &a).await, CONFLICT);
    assert!(world.leave(&channel, &a, &a).await.is_ok());
    assert_eq!(counts(&world, &channel, &owner).await, [1, 2]);
    assert_eq!(add(&world, &channel, &owner, &e).await, first);
    for query in ["", "?sub-channel-id=none", "?type=HIDDEN"] {
        let list = world.get(&below(&channel, &format!("/memberships{query}")), &owner).await;
        assert_eq!(list, if query.contains("none") { FORBIDDEN } else { BAD_REQUEST });
    }
    let query = format!("?sub-channel-id={first}");
    let mut shown = world.members(&channel, &owner, &query).await;
    shown.sort_unstable();
    assert_eq!(shown, ["user-2", "user-5"]);
    let strangers = world.get(&below(&channel, &format!("/memberships{query}")), &c).await;
    assert_eq!(strangers, FORBIDDEN, "members of another sub-channel");
    assert_eq!(world.get(&below(&channel, "/subchannels"), &c).await, FORBIDDEN);
    world.run_jobs().await;
}

#[tokio::test]
async fn plain_members_are_assigned_and_moderators_choose() {
    let mut world = World::new().await;
    let [owner, a, b, c] = people(&mut world).await;
    let channel = create(&mut world, &owner, 3).await;
    let first = add(&world, &channel, &owner, &a).await;
    assert_eq!(add_to(&world, &channel, &owner, &b, &first).await, BAD_REQUEST);
    assert_eq!(world.join_as(&channel, &owner, &b, "HIDDEN").await, BAD_REQUEST);
    add(&world, &channel, &owner, &b).await;
    let second = add(&world, &channel, &owner, &c).await;
    assert_eq!(world.join(&channel, &owner, &owner).await, BAD_REQUEST);
    assert_eq!(add_to(&world, &channel, &owner, &owner, "none").await, FORBIDDEN);
    world.heard();
    for sub in [&first, &second] {
        let added = add_to(&world, &channel, &owner, &owner, sub).await.expect("is added");
        assert_eq!(added["SubChannelId"], **sub);
        assert_eq!(add_to(&world, &channel, &owner, &owner, sub).await, CONFLICT);
    }
    let heard = world.heard();
    let told = of_kind(&heard, "CREATE_CHANNEL_MEMBERSHIP");
    let subs_told: Vec<&Value> = told.iter().map(|heard| &heard.payload["SubChannelId"]).collect();
    assert_eq!(subs_told, [&json!(first), &json!(second)]);
    assert_eq!(counts(&world, &channel, &owner).await, [2, 3]);
    let rest = format!("/memberships/{}?sub-channel-id={first}", label(&owner));
    let own = world.get(&below(&channel, &rest), &a).await.expect("is described");
    assert_eq!(own["ChannelMembership"]["SubChannelId"], first);
    let rest = format!("/memberships/{}?sub-channel-id={first}", label(&c));
    assert_eq!(world.get(&below(&channel, &rest), &a).await, NOT_FOUND);
    assert!(remove_from(&world, &channel, &owner, &first).await.is_ok());
    assert_eq!(remove_from(&world, &channel, &owner, &first).await, FORBIDDEN);
    assert!(add_to(&world, &channel, &owner, &owner, &first).await.is_ok());
    assert!(world.leave(&channel, &owner, &owner).await.is_ok(), "he leaves all");
    assert_eq!(counts(&world, &channel, &owner).await, [1, 2]);
    world.run_jobs().await;
}

#[tokio::test]
async fn messages_stay_in_their_sub_channel() {
    let mut world = World::new().await;
    let [owner, a, b, c] = people(&mut world).await;
    let channel = create(&mut world, &owner, 3).await;
    let first = add(&world, &channel, &owner, &a).await;
    add(&world, &channel, &owner, &b).await;
    let second = add(&world, &channel, &owner, &c).await;
    world.heard();
    assert_eq!(world.send(&channel, &a, "lost").await, BAD_REQUEST);
    let to = |sub: &str| json!({ "SubChannelId": sub });
    assert_eq!(world.send_with(&channel, &a, to(&second)).await, FORBIDDEN);
    assert_eq!(world.send_with(&channel, &owner, to(&first)).await, FORBIDDEN);
    let sent = world.send_with(&channel, &a, to(&first)).await.expect("is sent");
    assert_eq!(sent["SubChannelId"], first);
    let heard = world.heard();
    let told = of_kind(&heard, "CREATE_CHANNEL_MESSAGE");
    assert_eq!(told[0].payload["SubChannelId"], first);
    assert_eq!(told[0].payload["MessageId"], sent["MessageId"]);
    let id = text(&sent["MessageId"]);
    let one = |sub: &str| below(&channel, &format!("/messages/{id}?sub-channel-id={sub}"));
    for (reader, sub, expected) in [
        (&b, &first, None),
        (&owner, &first, None),
        (&c, &first, Some(FORBIDDEN)),
        (&owner, &second, Some(NOT_FOUND)),
        (&c, &second, Some(NOT_FOUND)),
    ] {
        let outcome = world.get(&one(sub), reader).await;
        match expected {
            None => assert_eq!(outcome.expect("is read")["ChannelMessage"]["SubChannelId"], **sub),
            Some(refusal) => assert_eq!(outcome, refusal),
        }
    }
    let all = world.messages(&channel, &b, &format!("?sub-channel-id={first}")).await;
    let all = all.expect("is listed");
    assert_eq!((array(&all["ChannelMessages"]).len(), &all["SubChannelId"]), (1, &json!(first)));
    assert_eq!(world.messages(&channel, &b, "").await, BAD_REQUEST);
    let redact = below(&channel, &format!("/messages/{id}?operation=redact"));
    assert_eq!(world.call("POST", &redact, &a, json!({})).await, BAD_REQUEST);
    let update = below(&channel, &format!("/messages/{id}"));
    let body = json!({ "Content": "new", "SubChannelId": first });
    let updated = world.call("PUT", &update, &a, body.clone()).await.expect("is updated");
    assert_eq!(updated["SubChannelId"], first);
    assert!(world.leave(&channel, &a, &a).await.is_ok());
    assert_eq!(world.call("PUT", &update, &a, body).await, FORBIDDEN, "he is gone");
    let redacted = world.call("POST", &redact, &owner, to(&first)).await.expect("is redacted");
    assert_eq!(redacted["SubChannelId"], first);
}

#[tokio::test]
async fn role_that_changes_ends_all_memberships_and_so_does_a_ban() {
    let mut world = World::new().await;
    let [owner, a, b] = people(&mut world).await;
    assert!(world.create_admin(&b).await.is_ok());
    let channel = create(&mut world, &owner, 3).await;
    let first = add(&world, &channel, &owner, &a).await;
    assert!(world.promote(&channel, &b, &a).await.is_ok());
    assert_eq!(counts(&world, &channel, &owner).await, [0]);
    assert!(add_to(&world, &channel, &a, &a, &first).await.is_ok());
    world.heard();
    assert!(world.demote(&channel, &owner, &a).await.is_ok());
    let heard = world.heard();
    assert_eq!(of_kind(&heard, "DELETE_CHANNEL_MEMBERSHIP").len(), 1);
    add(&world, &channel, &owner, &a).await;
    assert!(world.ban(&channel, &owner, &a).await.is_ok());
    assert_eq!(counts(&world, &channel, &owner).await, [0]);
    assert_eq!(world.join(&channel, &owner, &a).await, FORBIDDEN);
    world.run_jobs().await;
}

#[tokio::test]
async fn batch_spreads_over_sub_channels_and_tells_of_each_member() {
    let mut world = World::new().await;
    let [owner, a, b, c, d, e] = people(&mut world).await;
    let channel = create(&mut world, &owner, 2).await;
    world.heard();
    let target = below(&channel, "/memberships?operation=batch-create");
    let body = json!({ "MemberArns": [a, b, a, c, owner, d, e] });
    let answer = world.call("POST", &target, &owner, body).await.expect("is answered");
    assert_eq!(array(&answer["BatchChannelMemberships"]["Members"]).len(), 4);
    assert!(answer["BatchChannelMemberships"]["SubChannelId"].is_null(), "there are two");
    let errors: Vec<&str> = array(&answer["Errors"])
        .iter()
        .map(|error| error["ErrorCode"].as_str().expect("is a code"))
        .collect();
    assert_eq!(errors, ["BadRequest", "ResourceLimitExceeded"]);
    assert_eq!(counts(&world, &channel, &owner).await, [2, 2]);
    let heard = world.heard();
    let told = of_kind(&heard, "CREATE_CHANNEL_MEMBERSHIP");
    assert_eq!(told.len(), 4);
    assert!(told.iter().all(|heard| heard.payload["SubChannelId"].is_string()));
    assert!(of_kind(&heard, "BATCH_CREATE_CHANNEL_MEMBERSHIP").is_empty());
    let (sub, _) = subs(&world, &channel, &owner).await.remove(0);
    let body = json!({ "MemberArns": [owner, e], "SubChannelId": sub });
    let answer = world.call("POST", &target, &owner, body).await.expect("is answered");
    assert_eq!(answer["BatchChannelMemberships"]["SubChannelId"], sub);
    assert_eq!(answer["Errors"][0]["ErrorCode"], "BadRequest");
    world.run_jobs().await;
}

#[tokio::test]
async fn update_and_end_of_the_channel_reach_every_sub_channel() {
    let mut world = World::new().await;
    let [owner, a, b, c] = people(&mut world).await;
    let channel = create(&mut world, &owner, 3).await;
    let first = add(&world, &channel, &owner, &a).await;
    add(&world, &channel, &owner, &b).await;
    add(&world, &channel, &owner, &c).await;
    assert!(add_to(&world, &channel, &owner, &owner, &first).await.is_ok());
    world.send_with(&channel, &a, json!({ "SubChannelId": first })).await.expect("is sent");
    let user = world.chat.connect(&a).await.expect("answers").expect("is let in");
    let heard_homes = world.chat.memberships(&user).await.expect("answers");
    assert_eq!(heard_homes.len(), 1);
    world.heard();
    let name = json!({ "Name": "new" });
    assert!(world.call("PUT", &below(&channel, ""), &owner, name).await.is_ok());
    let heard = world.heard();
    assert_eq!(of_kind(&heard, "UPDATE_CHANNEL").len(), 2);
    assert!(world.delete(&below(&channel, ""), &owner).await.is_ok());
    let heard = world.heard();
    let gone = heard.iter().filter_map(|heard| match heard.effect {
        Some(Effect::ChannelGone { channel }) => Some(channel),
        _ => None,
    });
    let gone: Vec<_> = gone.collect();
    assert_eq!((gone.len(), gone.contains(&heard_homes[0].channel)), (2, true));
    assert!(world.chat.memberships(&user).await.expect("answers").is_empty());
    world.run_jobs().await;
    for table in [
        &crate::messaging::channel_membership::CHANNEL_MEMBERSHIP,
        &crate::messaging::channel_message::CHANNEL_MESSAGE,
        &super::ELASTIC_MEMBER,
    ] {
        assert_eq!(world.row_count(table).await, 0, "{}", table.name);
    }
}

#[tokio::test]
async fn deleted_user_leaves_his_sub_channels() {
    let mut world = World::new().await;
    let [owner, a, b, c] = people(&mut world).await;
    assert!(world.create_admin(&a).await.is_ok());
    let channel = create(&mut world, &owner, 3).await;
    let first = add(&world, &channel, &owner, &a).await;
    add(&world, &channel, &owner, &b).await;
    let second = add(&world, &channel, &owner, &c).await;
    for sub in [&first, &second] {
        assert!(add_to(&world, &channel, &owner, &owner, sub).await.is_ok());
    }
    world.heard();
    let user = format!("/app-instance-users/{}", label(&owner));
    assert!(world.delete(&user, "").await.is_ok());
    world.run_jobs().await;
    let heard = world.heard();
    assert_eq!(of_kind(&heard, "DELETE_CHANNEL_MEMBERSHIP").len(), 2);
    assert_eq!(counts(&world, &channel, &a).await, [1, 2]);
}

#[tokio::test]
async fn own_channels_show_the_sub_channel_and_no_marker_or_preferences() {
    let mut world = World::new().await;
    let [owner, a] = people(&mut world).await;
    let channel = create(&mut world, &owner, 2).await;
    let first = add(&world, &channel, &owner, &a).await;
    let list = world.get("/channels?scope=app-instance-user-memberships", &a).await;
    let list = list.expect("is listed");
    let shown = &list["ChannelMemberships"][0];
    assert_eq!(shown["AppInstanceUserMembershipSummary"]["SubChannelId"], first);
    assert_eq!(shown["ChannelSummary"]["ChannelArn"], channel);
    let rest = format!("?scope=app-instance-user-membership&app-instance-user-arn={}", label(&a));
    let own = world.get(&below(&channel, &rest), &a).await.expect("is described");
    let summary = &own["ChannelMembership"]["AppInstanceUserMembershipSummary"];
    assert_eq!(summary["SubChannelId"], first);
    let marker = world.call("PUT", &below(&channel, "/readMarker"), &a, json!({})).await;
    assert_eq!(marker, BAD_REQUEST);
    let preferences = below(&channel, &format!("/memberships/{}/preferences", label(&a)));
    assert_eq!(world.get(&preferences, &a).await, BAD_REQUEST);
}

#[tokio::test]
async fn members_who_come_at_once_never_pass_the_target() {
    let mut world = World::new().await;
    let all: [String; 8] = people(&mut world).await;
    let channel = create(&mut world, &all[0], 3).await;
    let [owner, a, b, c, d, e, f, g] = &all;
    let join = |member| world.join(&channel, owner, member);
    let (a, b, c, d, e, f, g) =
        tokio::join!(join(a), join(b), join(c), join(d), join(e), join(f), join(g));
    let outcomes = [a, b, c, d, e, f, g];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 6);
    assert_eq!(counts(&world, &channel, &all[0]).await, [2, 2, 2]);
}

#[tokio::test]
async fn sub_channel_that_has_room_is_not_marked_as_full() {
    let mut world = World::new().await;
    let [owner, a, b, c] = people(&mut world).await;
    let channel = create(&mut world, &owner, 3).await;
    let first = add(&world, &channel, &owner, &a).await;
    let uid = crate::ids::parse_uuid(&first).expect("is a UUID");
    let key = SubChannel::key_of(world.uid_of(&channel).await, uid);
    let mark = async || {
        let mut tx = world.chat.0.store.begin();
        let mut record: SubChannel = tx.get(&key).await.expect("is read").expect("is there");
        tx.set_home(uid);
        record.close(&mut tx, 2);
        tx
    };
    let (early, late) = (mark().await, mark().await);
    let outcome = early.commit("mark").await;
    assert!(matches!(outcome, Err(Failure::Conflict(_))), "{outcome:?}");
    assert_eq!(add(&world, &channel, &owner, &b).await, first, "the last place, which is marked");
    let outcome = late.commit("mark").await;
    assert!(matches!(outcome, Err(Failure::Conflict(_))), "{outcome:?}");
    assert_ne!(add(&world, &channel, &owner, &c).await, first);
    world.run_jobs().await;
}

#[tokio::test]
async fn retention_purges_the_messages_of_every_sub_channel() {
    let mut world = World::new().await;
    let [owner, a, b, c] = people(&mut world).await;
    let channel = create(&mut world, &owner, 3).await;
    for member in [&a, &b, &c] {
        let sub = add(&world, &channel, &owner, member).await;
        let sent = world.send_with(&channel, member, json!({ "SubChannelId": sub })).await;
        assert!(sent.is_ok());
    }
    let target = format!("/app-instances/{}/retention-settings", label(&world.app_instance));
    let settings = json!({ "ChannelRetentionSettings": { "RetentionDays": 1 } });
    let body = json!({ "AppInstanceRetentionSettings": settings });
    assert!(world.call("PUT", &target, "", body).await.is_ok());
    assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 3);
    world.clock.advance(32 * DAY_MS);
    world.run_jobs().await;
    assert_eq!(world.row_count(&CHANNEL_MESSAGE).await, 0);
    assert_eq!(world.chat.check().await.expect("is read").findings, []);
}

#[tokio::test]
async fn message_in_any_sub_channel_puts_off_the_end_of_the_channel() {
    let mut world = World::new().await;
    let [owner, a, b, c] = people(&mut world).await;
    let channel = create(&mut world, &owner, 3).await;
    let mut sub = String::new();
    for member in [&a, &b, &c] {
        sub = add(&world, &channel, &owner, member).await;
    }
    let settings = json!({ "ExpirationDays": 2, "ExpirationCriterion": "LAST_MESSAGE_TIMESTAMP" });
    let body = json!({ "ExpirationSettings": settings });
    let target = below(&channel, "/expiration-settings");
    assert!(world.call("PUT", &target, &owner, body).await.is_ok());
    world.clock.advance(DAY_MS);
    assert!(world.send_with(&channel, &c, json!({ "SubChannelId": sub })).await.is_ok());
    for is_there in [true, false] {
        world.clock.advance(DAY_MS);
        world.run_jobs().await;
        assert_eq!(world.get(&below(&channel, ""), &owner).await.is_ok(), is_there);
    }
}

mod balance;
mod churn;
mod large;
mod many;
