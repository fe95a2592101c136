use serde_json::{Value, json};
use store::Audience;

use crate::limits::RESOURCE_COUNT;
use crate::messaging::channel_membership::CHANNEL_MEMBERSHIP;
use crate::messaging::channel_moderator::CHANNEL_MODERATOR;
use crate::testing::{
    BAD_REQUEST, CONFLICT, FORBIDDEN, LIMIT, NOT_FOUND, START_MS, UNAUTHORIZED, World, array,
    label, lex, text,
};

fn path(bot: &str) -> String {
    format!("/app-instance-bots/{}", label(bot))
}

fn configured(more: Value) -> Value {
    json!({ "Configuration": { "Lex": lex(more) } })
}

#[tokio::test]
async fn bot_is_created_described_listed_and_deleted() {
    let mut world = World::new().await;
    let invoked_by = json!({ "StandardMessages": "MENTIONS", "TargetedMessages": "NONE" });
    let full = lex(json!({ "InvokedBy": invoked_by, "WelcomeIntent": "Hello_World" }));
    let more =
        json!({ "Name": "Bot 🤖", "Metadata": "m", "Configuration": { "Lex": full.clone() } });
    let created = world.try_create_bot(more).await.expect("is created");
    let bot = text(&created["AppInstanceBotArn"]);
    let (parent, id) = bot.rsplit_once('/').expect("an ARN has an id");
    assert_eq!(parent, format!("{}/bot", world.app_instance));
    assert!(crate::ids::parse_uuid(id).is_some(), "{id}");
    let described = world.get(&path(&bot), "").await;
    assert_eq!(
        described,
        Ok(json!({ "AppInstanceBot": {
            "AppInstanceBotArn": bot, "Name": "Bot 🤖", "Metadata": "m",
            "Configuration": { "Lex": full }, "CreatedTimestamp": START_MS / 1_000,
            "LastUpdatedTimestamp": START_MS / 1_000,
        } }))
    );
    let list = format!("/app-instance-bots?app-instance-arn={}", label(&world.app_instance));
    let listed = json!({
        "AppInstanceArn": world.app_instance,
        "AppInstanceBots": [{ "AppInstanceBotArn": bot, "Name": "Bot 🤖", "Metadata": "m" }],
    });
    assert_eq!(world.get(&list, "").await, Ok(listed));
    assert_eq!(world.delete(&path(&bot), "").await, Ok(Value::Null));
    assert_eq!(world.get(&path(&bot), "").await, NOT_FOUND);
    assert_eq!(world.delete(&path(&bot), "").await, FORBIDDEN);
    let none = json!({ "AppInstanceArn": world.app_instance, "AppInstanceBots": [] });
    assert_eq!(world.get(&list, "").await, Ok(none));
}

#[tokio::test]
async fn configuration_is_checked_and_kept_as_given() {
    let mut world = World::new().await;
    let both = json!({ "StandardMessages": "ALL", "TargetedMessages": "ALL" });
    for bad in [
        json!({ "LexBotAliasArn": "arn:aws:lex:us-east-1:111122223333:bot-alias/short/0123456789" }),
        json!({ "LexBotAliasArn": null }),
        json!({ "LocaleId": null }),
        json!({ "LocaleId": "" }),
        json!({ "LocaleId": "en US" }),
        json!({ "LocaleId": "x".repeat(65) }),
        json!({ "WelcomeIntent": "" }),
        json!({ "WelcomeIntent": "Hello2" }),
        json!({ "WelcomeIntent": "a".repeat(101) }),
        json!({ "RespondsTo": "ALL" }),
        json!({ "InvokedBy": { "StandardMessages": "ALL" } }),
        json!({ "InvokedBy": { "TargetedMessages": "ALL" } }),
        json!({ "InvokedBy": { "StandardMessages": "SOME", "TargetedMessages": "ALL" } }),
        json!({ "InvokedBy": both, "RespondsTo": "STANDARD_MESSAGES" }),
    ] {
        assert_eq!(world.try_create_bot(configured(bad.clone())).await, BAD_REQUEST, "{bad}");
    }
    for missing in [json!({}), Value::Null] {
        let more = json!({ "Configuration": missing });
        assert_eq!(world.try_create_bot(more).await, BAD_REQUEST);
    }
    for good in [
        json!({}),
        json!({ "LocaleId": "es_419" }),
        json!({ "RespondsTo": "STANDARD_MESSAGES" }),
        json!({ "InvokedBy": both }),
        json!({ "InvokedBy": { "StandardMessages": "AUTO", "TargetedMessages": "NONE" } }),
    ] {
        let created = world.try_create_bot(configured(good.clone())).await.expect("is created");
        let bot = text(&created["AppInstanceBotArn"]);
        let described = world.get(&path(&bot), "").await.expect("is there");
        let described = &described["AppInstanceBot"];
        assert_eq!(described["Configuration"], configured(good)["Configuration"]);
        assert_eq!(described.get("Name"), None, "none was given");
        assert_eq!(described.get("Metadata"), None);
    }
}

#[tokio::test]
async fn token_answers_the_first_bot_again_until_it_is_deleted() {
    let mut world = World::new().await;
    let more = json!({ "Name": "bot", "ClientRequestToken": "same" });
    let first = world.try_create_bot(more.clone()).await.expect("is created");
    assert_eq!(world.try_create_bot(more.clone()).await, Ok(first.clone()));
    let other = json!({ "Name": "other", "ClientRequestToken": "same" });
    assert_eq!(world.try_create_bot(other).await, CONFLICT);
    let bot = text(&first["AppInstanceBotArn"]);
    assert!(world.delete(&path(&bot), "").await.is_ok());
    let second = world.try_create_bot(more).await.expect("is created");
    assert_ne!(second, first);
}

#[tokio::test]
async fn update_replaces_name_and_metadata_and_a_configuration_that_is_given() {
    let mut world = World::new().await;
    let bot = world.create_bot("old").await;
    world.clock.advance(1_000);
    let body = json!({ "Name": "new", "Metadata": "m" });
    let updated = world.call("PUT", &path(&bot), "", body).await;
    assert_eq!(updated, Ok(json!({ "AppInstanceBotArn": bot })));
    let described = world.get(&path(&bot), "").await.expect("is there");
    assert_eq!(
        described["AppInstanceBot"],
        json!({
            "AppInstanceBotArn": bot, "Name": "new", "Metadata": "m",
            "Configuration": { "Lex": lex(json!({})) }, "CreatedTimestamp": START_MS / 1_000,
            "LastUpdatedTimestamp": START_MS / 1_000 + 1,
        })
    );
    let german = lex(json!({ "LocaleId": "de_DE" }));
    let body = json!({ "Name": "", "Metadata": "", "Configuration": { "Lex": german } });
    assert!(world.call("PUT", &path(&bot), "", body).await.is_ok());
    let described = world.get(&path(&bot), "").await.expect("is there");
    assert_eq!(described["AppInstanceBot"]["Configuration"]["Lex"], german);
    assert_eq!(described["AppInstanceBot"].get("Name"), None);
    for body in [
        json!({ "Name": "n" }),
        json!({ "Metadata": "m" }),
        json!({ "Name": "n", "Metadata": "m", "Configuration": {} }),
        json!({ "Name": "n", "Metadata": "m",
            "Configuration": { "Lex": lex(json!({ "LocaleId": "" })) } }),
    ] {
        assert_eq!(world.call("PUT", &path(&bot), "", body.clone()).await, BAD_REQUEST, "{body}");
    }
    let alice = world.create_user("alice").await;
    let body = json!({ "Name": "n", "Metadata": "m" });
    assert_eq!(world.call("PUT", &path(&alice), "", body.clone()).await, BAD_REQUEST);
    assert!(world.delete(&path(&bot), "").await.is_ok());
    assert_eq!(world.call("PUT", &path(&bot), "", body).await, FORBIDDEN);
}

#[tokio::test]
async fn bots_of_another_or_a_deleted_app_instance_are_forbidden() {
    let mut world = World::new().await;
    let bot = world.create_bot("bot").await;
    let id = bot.rsplit_once('/').expect("an ARN has an id").1;
    let other = world.create_app_instance("other").await;
    assert_eq!(world.get(&path(&format!("{other}/bot/{id}")), "").await, NOT_FOUND);
    assert_eq!(world.get(&path(&world.app_instance), "").await, BAD_REQUEST);
    let app_instance = format!("/app-instances/{}", label(&world.app_instance));
    assert!(world.delete(&app_instance, "").await.is_ok());
    assert_eq!(world.get(&path(&bot), "").await, FORBIDDEN);
    assert_eq!(world.try_create_bot(json!({})).await, FORBIDDEN);
}

#[tokio::test]
async fn hundred_bots_fit_are_listed_in_pages_and_a_deleted_one_frees_its_place() {
    let mut world = World::new().await;
    let mut last = String::new();
    for index in 0..100 {
        last = world.create_bot(&index.to_string()).await;
    }
    assert_eq!(world.try_create_bot(json!({})).await, LIMIT);
    assert!(world.delete(&path(&last), "").await.is_ok());
    assert!(world.try_create_bot(json!({})).await.is_ok());
    let list = format!("/app-instance-bots?app-instance-arn={}", label(&world.app_instance));
    for size in [1, 33, 50] {
        let target = format!("{list}&max-results={size}");
        let bots = world.pages(&target, "", "AppInstanceBots").await;
        let mut arns: Vec<String> =
            bots.iter().map(|bot| text(&bot["AppInstanceBotArn"])).collect();
        arns.dedup();
        assert_eq!(arns.len(), 100, "{size}");
        assert!(arns.is_sorted());
    }
    assert_eq!(world.get(&format!("{list}&max-results=0"), "").await, BAD_REQUEST);
}

#[tokio::test]
async fn bot_acts_as_a_user_does() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bot = world.create_bot("bot").await;
    // As the bearer: it founds a channel, and is its member and moderator.
    let channel = world.create_channel(&bot, json!({})).await;
    assert!(world.join(&channel, &bot, &alice).await.is_ok());
    assert!(world.send(&channel, &bot, "hello").await.is_ok());
    assert_eq!(world.contents(&channel, &bot).await, ["hello"]);
    let messages = world.messages(&channel, &alice, "").await.expect("is readable");
    let sender = &messages["ChannelMessages"][0]["Sender"];
    assert_eq!(*sender, json!({ "Arn": bot, "Name": "bot" }));
    // As a member and a moderator of another's.
    let second = world.create_bot("second").await;
    let more = json!({ "MemberArns": [bot], "ModeratorArns": [second] });
    let other = world.create_channel(&alice, more).await;
    let mut members = world.members(&other, &bot, "").await;
    members.sort();
    assert_eq!(members, ["alice", "bot", "second"]);
    let carol = world.create_user("carol").await;
    assert_eq!(world.join(&other, &bot, &carol).await, FORBIDDEN);
    assert!(world.join(&other, &second, &carol).await.is_ok());
    // As a target, whom nobody else hears of.
    world.heard();
    let target = json!({ "Target": [{ "MemberArn": bot }] });
    assert!(world.send_with(&other, &alice, target).await.is_ok());
    assert!(matches!(&world.heard()[0].audience, Audience::Users(users) if users.len() == 2));
    assert_eq!(world.contents(&other, &bot).await, ["hello"]);
    assert!(world.contents(&other, &second).await.is_empty());
    // As an admin.
    let private = world.create_channel(&alice, json!({})).await;
    assert_eq!(world.messages(&private, &bot, "").await, FORBIDDEN);
    assert!(world.create_admin(&bot).await.is_ok());
    assert!(world.messages(&private, &bot, "").await.is_ok());
    assert!(world.leave(&other, &alice, &bot).await.is_ok());
}

#[tokio::test]
async fn user_and_bot_of_the_same_id_are_two() {
    let mut world = World::new().await;
    let bot = world.create_bot("bot").await;
    let id = bot.rsplit_once('/').expect("an ARN has an id").1.to_owned();
    let user = world.create_user(&id).await;
    assert_ne!(user, bot);
    let channel = world.create_channel(&user, json!({})).await;
    assert_eq!(world.messages(&channel, &bot, "").await, FORBIDDEN);
    assert_eq!(world.get(&format!("/app-instance-users/{}", label(&bot)), "").await, BAD_REQUEST);
}

#[tokio::test]
async fn deleted_bot_takes_everything_with_it_and_the_others_hear_of_it() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let tags = json!([{ "Key": "a", "Value": "b" }]);
    let created = world.try_create_bot(json!({ "Name": "bot", "Tags": tags })).await;
    let bot = text(&created.expect("is created")["AppInstanceBotArn"]);
    let channel = world.create_channel(&alice, json!({ "ModeratorArns": [bot] })).await;
    let own = world.create_channel(&bot, json!({})).await;
    assert!(world.create_admin(&bot).await.is_ok());
    world.send(&channel, &bot, "of the bot").await.expect("is sent");
    world.heard();
    assert!(world.delete(&path(&bot), "").await.is_ok());
    assert_eq!(world.send(&channel, &bot, "gone").await, UNAUTHORIZED);
    assert_eq!(world.members(&channel, &alice, "").await, ["alice"]);
    let admins = format!("/app-instances/{}/admins", label(&world.app_instance));
    let admins = world.get(&admins, "").await.expect("is there");
    assert_eq!(*array(&admins["AppInstanceAdmins"]), [json!(null); 0]);
    world.run_jobs().await;
    let heard = world.heard();
    let mut left: Vec<String> =
        heard.iter().map(|event| text(&event.payload["ChannelArn"])).collect();
    assert!(heard.iter().all(|event| event.event_type == "DELETE_CHANNEL_MEMBERSHIP"
        && event.payload["Member"]["Arn"] == json!(bot)));
    left.sort();
    let mut expected = vec![channel.clone(), own];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(world.row_count(&CHANNEL_MEMBERSHIP).await, 1);
    assert_eq!(world.row_count(&CHANNEL_MODERATOR).await, 1);
    assert_eq!(world.row_count(&crate::identity::tags::RESOURCE_TAG).await, 0);
    assert_eq!(world.contents(&channel, &alice).await, ["of the bot"], "what it said stays");
}

#[tokio::test]
async fn bots_go_with_their_app_instance() {
    let mut world = World::new().await;
    for index in 0..60 {
        let bot = world.create_bot(&index.to_string()).await;
        world.create_channel(&bot, json!({})).await;
    }
    let app_instance = format!("/app-instances/{}", label(&world.app_instance));
    assert!(world.delete(&app_instance, "").await.is_ok());
    world.run_jobs().await;
    assert_eq!(world.row_count(&super::APP_INSTANCE_BOT).await, 0);
    assert_eq!(world.row_count(&RESOURCE_COUNT).await, 1, "that of the account");
}
