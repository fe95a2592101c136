use serde_json::{Value, json};

use crate::limits::PAGE_READS_MAX;
use crate::testing::{BAD_REQUEST, Outcome, UNAUTHORIZED, World, array, label, text};

/// Who searches, and whom for.
fn field(operator: &str, values: &[&String]) -> Value {
    json!({ "Key": "MEMBERS", "Operator": operator, "Values": values })
}

async fn ask(world: &World, bearer: &str, query: &str, fields: &[Value]) -> Outcome {
    let target = format!("/channels?operation=search{query}");
    world.call("POST", &target, bearer, json!({ "Fields": fields })).await
}

fn ids(answer: &Value) -> Vec<String> {
    let id = |one: &Value| text(&one["ChannelArn"]).rsplit('/').next().unwrap_or("").to_owned();
    array(&answer["Channels"]).iter().map(id).collect()
}

/// Returns the ids of all pages of a search, and how many pages there were.
async fn search_in(
    world: &World,
    bearer: &str,
    size: usize,
    fields: &[Value],
) -> (Vec<String>, usize) {
    let (mut found, mut page_count, mut next) = (Vec::new(), 0, String::new());
    loop {
        let query = format!("&max-results={size}&next-token={next}");
        let answer = ask(world, bearer, &query, fields).await.expect("is answered");
        page_count += 1;
        assert!(ids(&answer).len() <= size);
        found.extend(ids(&answer));
        match answer["NextToken"].as_str() {
            Some(token) => token.clone_into(&mut next),
            None => return (found, page_count),
        }
    }
}

async fn search(world: &World, bearer: &str, fields: &[Value]) -> Vec<String> {
    search_in(world, bearer, 50, fields).await.0
}

/// Alice, bob, carol and the admin root; channels in the order of their names: `ab`, `abc` and `b`
/// of these members, and `ab-c` where carol is hidden.
async fn world() -> (World, [String; 4]) {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    let root = world.create_user("root").await;
    assert!(world.create_admin(&root).await.is_ok());
    for (id, creator, members) in [
        ("ab", &alice, vec![&bob]),
        ("abc", &alice, vec![&bob, &carol]),
        ("b", &bob, vec![&bob]),
        ("ab-c", &alice, vec![&bob]),
    ] {
        world.clock.advance(1);
        let more = json!({ "ChannelId": id, "MemberArns": members, "Name": id });
        world.create_channel(creator, more).await;
    }
    let hidden = format!("{}/channel/ab-c", world.app_instance);
    assert!(world.join_as(&hidden, &alice, &carol, "HIDDEN").await.is_ok());
    (world, [alice, bob, carol, root])
}

#[tokio::test]
async fn includes_finds_channels_with_all_of_them_and_equals_with_nobody_else() {
    let (world, [alice, bob, carol, root]) = world().await;
    let cases: [(&str, Vec<&String>, &[&str]); 9] = [
        ("INCLUDES", vec![&alice], &["ab", "abc", "ab-c"]),
        ("INCLUDES", vec![&bob], &["ab", "abc", "b", "ab-c"]),
        ("INCLUDES", vec![&bob, &alice], &["ab", "abc", "ab-c"]),
        ("INCLUDES", vec![&carol, &bob, &alice], &["abc"]),
        ("EQUALS", vec![&alice, &bob], &["ab", "ab-c"]),
        ("EQUALS", vec![&bob, &alice, &bob], &["ab", "ab-c"]),
        ("EQUALS", vec![&bob], &["b"]),
        ("EQUALS", vec![&alice, &bob, &carol], &["abc"]),
        ("EQUALS", vec![&alice, &carol], &[]),
    ];
    for (operator, values, expected) in cases {
        let fields = [field(operator, &values)];
        assert_eq!(search(&world, &root, &fields).await, expected, "{operator} {values:?}");
        for size in 1..4 {
            assert_eq!(search_in(&world, &root, size, &fields).await.0, expected);
        }
    }
}

#[tokio::test]
async fn user_finds_his_own_channels_alone_hidden_ones_among_them() {
    let (world, [alice, bob, carol, _]) = world().await;
    let includes = |one| [field("INCLUDES", &[one])];
    assert_eq!(search(&world, &alice, &includes(&bob)).await, ["ab", "abc", "ab-c"]);
    assert_eq!(search(&world, &carol, &includes(&bob)).await, ["abc", "ab-c"]);
    assert_eq!(search(&world, &bob, &includes(&bob)).await.len(), 4);
    assert!(search(&world, &alice, &[field("EQUALS", &[&bob])]).await.is_empty());
    let others = [field("EQUALS", &[&alice, &bob])];
    assert_eq!(search(&world, &carol, &others).await, ["ab-c"]);
}

#[tokio::test]
async fn hidden_member_is_found_by_nobody() {
    let (world, [alice, bob, carol, root]) = world().await;
    let fields = [field("INCLUDES", &[&carol])];
    for bearer in [&alice, &bob, &carol, &root] {
        assert_eq!(search(&world, bearer, &fields).await, ["abc"], "{bearer}");
    }
    let hidden = format!("{}/channel/ab-c", world.app_instance);
    assert!(world.leave(&hidden, &carol, &carol).await.is_ok());
    assert!(world.join(&hidden, &alice, &carol).await.is_ok());
    assert_eq!(search(&world, &alice, &fields).await, ["abc", "ab-c"]);
    assert_eq!(search(&world, &root, &[field("EQUALS", &[&alice, &bob])]).await, ["ab"]);
    assert_eq!(world.chat.check().await.expect("the store answers").findings, []);
}

#[tokio::test]
async fn all_fields_must_hold() {
    let (world, [alice, bob, carol, root]) = world().await;
    let includes = |values: &[&String]| field("INCLUDES", values);
    let equals = |values: &[&String]| field("EQUALS", values);
    for (fields, expected) in [
        (vec![includes(&[&alice]), includes(&[&carol])], vec!["abc"]),
        (vec![equals(&[&alice, &bob]), includes(&[&bob])], vec!["ab", "ab-c"]),
        (vec![includes(&[&bob]), equals(&[&alice, &bob])], vec!["ab", "ab-c"]),
        (vec![equals(&[&alice, &bob]), includes(&[&carol])], vec![]),
        (vec![equals(&[&bob]), equals(&[&alice, &bob])], vec![]),
        (vec![equals(&[&bob]), equals(&[&bob, &bob])], vec!["b"]),
    ] {
        assert_eq!(search(&world, &root, &fields).await, expected, "{fields:?}");
    }
}

#[tokio::test]
async fn somebody_who_is_not_there_is_in_no_channel() {
    let (mut world, [alice, bob, _, root]) = world().await;
    let home = world.app_instance.clone();
    let nobody = format!("{home}/user/nobody");
    world.app_instance = world.create_app_instance("other").await;
    let foreign = world.create_user("bob").await;
    for stranger in [&nobody, &foreign, &format!("{home}/bot/nobody")] {
        for fields in [[field("INCLUDES", &[stranger])], [field("EQUALS", &[&bob, stranger])]] {
            assert_eq!(ask(&world, &root, "", &fields).await, Ok(json!({ "Channels": [] })));
        }
    }
    assert!(world.delete(&format!("/app-instance-users/{}", label(&bob)), "").await.is_ok());
    assert!(search(&world, &alice, &[field("INCLUDES", &[&bob])]).await.is_empty());
    world.app_instance = home;
    assert_eq!(world.create_user("bob").await, bob);
    assert!(search(&world, &root, &[field("INCLUDES", &[&bob])]).await.is_empty());
    world.run_jobs().await;
    assert_eq!(search(&world, &root, &[field("EQUALS", &[&alice])]).await, ["ab", "ab-c"]);
}

#[tokio::test]
async fn search_without_a_bearer_or_outside_the_model_is_refused() {
    let (world, [alice, ..]) = world().await;
    let fields = [field("INCLUDES", &[&alice])];
    for bearer in ["", "x", &format!("{alice}2")] {
        assert_eq!(ask(&world, bearer, "", &fields).await, UNAUTHORIZED);
    }
    let channel = format!("{}/channel/ab", world.app_instance);
    let long = "x".repeat(513);
    let name = "alice".to_owned();
    for fields in [
        vec![],
        vec![field("INCLUDES", &[&alice]); 21],
        vec![field("INCLUDES", &[])],
        vec![field("INCLUDES", &[&alice; 21])],
        vec![field("INCLUDES", &[&long])],
        vec![field("INCLUDES", &[&name])],
        vec![field("INCLUDES", &[&channel])],
        vec![field("INCLUDES", &[&world.app_instance])],
        vec![field("LIKE", &[&alice])],
        vec![json!({ "Key": "NAME", "Operator": "EQUALS", "Values": [alice] })],
    ] {
        assert_eq!(ask(&world, &alice, "", &fields).await, BAD_REQUEST, "{fields:?}");
    }
    assert_eq!(ask(&world, &alice, "&max-results=51", &fields).await, BAD_REQUEST);
    assert!(ask(&world, &alice, "", &vec![field("INCLUDES", &[&alice; 20]); 20]).await.is_ok());
}

#[tokio::test]
async fn token_is_bound_to_bearer_and_fields() {
    let (world, [alice, bob, _, root]) = world().await;
    let fields = [field("INCLUDES", &[&alice, &bob])];
    let first = ask(&world, &alice, "&max-results=1", &fields).await.expect("is answered");
    let next = format!("&next-token={}", text(&first["NextToken"]));
    assert!(ask(&world, &alice, &next, &fields).await.is_ok());
    assert_eq!(ask(&world, &bob, &next, &fields).await, BAD_REQUEST);
    assert_eq!(ask(&world, &root, &next, &fields).await, BAD_REQUEST);
    for others in [
        vec![field("EQUALS", &[&alice, &bob])],
        vec![field("INCLUDES", &[&alice])],
        vec![field("INCLUDES", &[&alice]), field("INCLUDES", &[&bob])],
    ] {
        assert_eq!(ask(&world, &alice, &next, &others).await, BAD_REQUEST);
    }
}

#[tokio::test]
async fn summaries_show_channels_as_lists_do_and_none_that_is_gone() {
    let (mut world, [alice, bob, _, _]) = world().await;
    let channel = format!("{}/channel/ab", world.app_instance);
    world.send(&channel, &alice, "hello").await.expect("is sent");
    let fields = [field("EQUALS", &[&alice, &bob])];
    let answer = ask(&world, &alice, "", &fields).await.expect("is answered");
    let mut first = answer["Channels"][0].clone();
    assert!(first["LastMessageTimestamp"].take().is_number());
    assert_eq!(
        first,
        json!({ "ChannelArn": channel, "Name": "ab", "Mode": "RESTRICTED", "Privacy": "PRIVATE",
            "LastMessageTimestamp": null })
    );
    assert!(world.delete(&format!("/channels/{}", label(&channel)), &alice).await.is_ok());
    assert_eq!(search(&world, &alice, &fields).await, ["ab-c"]);
    let more = json!({ "ChannelId": "ab", "MemberArns": [bob] });
    world.clock.advance(1);
    world.create_channel(&alice, more).await;
    assert_eq!(search(&world, &alice, &fields).await, ["ab-c", "ab"], "the newest comes last");
}

#[tokio::test]
async fn many_wanted_members_are_all_asked_for() {
    let mut world = World::new().await;
    let mut users = Vec::new();
    for index in 0..20 {
        users.push(world.create_user(&format!("u{index}")).await);
    }
    let creator = users[0].clone();
    for missing in [None, Some(7), Some(19), Some(1)] {
        world.clock.advance(1);
        let id = missing.map_or("all".to_owned(), |index| format!("without-{index}"));
        let channel = world.create_channel(&creator, json!({ "ChannelId": id })).await;
        for (index, user) in users.iter().enumerate().skip(1) {
            if missing != Some(index) {
                assert!(world.join(&channel, &creator, user).await.is_ok());
            }
        }
        // The same count, and one who is not wanted.
        let stranger = world.create_user(&format!("stranger-{id}")).await;
        if missing.is_some() {
            assert!(world.join(&channel, &creator, &stranger).await.is_ok());
        }
    }
    let values: Vec<&String> = users.iter().collect();
    for operator in ["INCLUDES", "EQUALS"] {
        assert_eq!(search(&world, &creator, &[field(operator, &values)]).await, ["all"]);
    }
    let without: Vec<&String> = users.iter().filter(|user| !user.ends_with("/u7")).collect();
    let found = search(&world, &creator, &[field("INCLUDES", &without)]).await;
    assert_eq!(found, ["all", "without-7"]);
}

#[tokio::test]
async fn request_reads_a_bounded_number_of_rows_and_a_short_page_has_a_token() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let bob = world.create_user("bob").await;
    let carol = world.create_user("carol").await;
    for index in 0..1_200 {
        world.clock.advance(1);
        let members = if index == 1_150 { json!([bob]) } else { json!([bob, carol]) };
        let more = json!({ "ChannelId": format!("c{index}"), "MemberArns": members });
        world.create_channel(&alice, more).await;
        world.heard();
    }
    let fields = [field("EQUALS", &[&alice, &bob])];
    world.engine.take();
    let first = ask(&world, &alice, "", &fields).await.expect("is answered");
    let calls = world.engine.take();
    assert_eq!(usize::try_from(calls.scans), Ok(PAGE_READS_MAX));
    assert!(calls.gets < 2 * u32::try_from(PAGE_READS_MAX).expect("is small"), "{calls:?}");
    assert_eq!(array(&first["Channels"]).len(), 0);
    assert!(first["NextToken"].is_string());
    let (found, page_count) = search_in(&world, &alice, 50, &fields).await;
    assert_eq!((found, page_count), (vec!["c1150".to_owned()], 2));
}
