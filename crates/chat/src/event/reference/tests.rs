use store::{Audience, Direction, Key, Range, Stamp, Uid};

use super::{Telling, read};
use crate::testing::World;

const HOME: Uid = Uid([3; 16]);
const AT: Stamp = Stamp { ms: 5, seq: 6 };

fn row(json: &str) -> Vec<u8> {
    [b"\x01", json.as_bytes()].concat()
}

#[test]
fn rows_of_earlier_versions_are_read() {
    let read = |json: &str| read(&row(json), HOME, AT).expect("is readable");
    let message = read(r#"{"event":"CREATE_CHANNEL_MESSAGE","audience":"members"}"#);
    assert_eq!((message.audience, message.effect), (Audience::Members(HOME), None));
    assert!(matches!(message.told, Telling::Message { of: AT, channel: None, .. }));
    let json = r#"{"event":"UPDATE_CHANNEL_MESSAGE","audience":{"users":["03030303030303030303030303030303"]},"of":{"ms":1,"seq":2}}"#;
    let change = read(json);
    assert_eq!(change.audience, Audience::Users(vec![HOME]));
    assert!(matches!(change.told, Telling::Message { of: Stamp { ms: 1, seq: 2 }, .. }));
    let json = r#"{"event":"UPDATE_CHANNEL","audience":"moderators","payload":"{}"}"#;
    let channel = read(json);
    assert_eq!(channel.audience, Audience::Moderators(HOME));
    assert!(matches!(channel.told, Telling::Payload { .. }));
}

#[test]
fn rows_that_say_nothing_sensible_are_none() {
    for json in ["", "7", r#"{"audience":"nobody"}"#, r#"{"in":"x"}"#] {
        assert!(read(&row(json), HOME, AT).is_none(), "{json}");
    }
    assert!(read(b"\x02{}", HOME, AT).is_none());
}

/// One goes with every message: what is in it more than it must costs every send.
#[tokio::test]
async fn the_row_of_a_message_is_small() {
    let mut world = World::new().await;
    let alice = world.create_user("alice").await;
    let channel = world.create_channel(&alice, serde_json::json!({})).await;
    world.chat.0.store.view();
    assert!(world.send(&channel, &alice, "hello").await.is_ok());
    let view = world.chat.0.store.view();
    let all = Range::prefix(Key::new(&store::table::EVENT));
    let rows = view.list(&all, usize::MAX, Direction::Backward).await.expect("the store answers");
    let is_message = |value: &[u8]| {
        read(value, HOME, AT).is_some_and(|row| matches!(row.told, Telling::Message { .. }))
    };
    let sizes: Vec<usize> =
        rows.iter().filter(|row| is_message(&row.value)).map(|row| row.value.len()).collect();
    assert_eq!(sizes, [83]);
}
