use serde_json::{Value, json};
use wire::messaging::MessagingDataType;

use super::*;
use crate::testing::{BAD_REQUEST, FORBIDDEN, NOT_FOUND, World, label};

const STREAM: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/chime-messaging-";

fn streams_of(app_instance: &str) -> String {
    format!("/app-instances/{}/streaming-configurations", label(app_instance))
}

fn configurations(streams: &[(&str, &str)]) -> Value {
    let one = |(kind, arn): &(&str, &str)| json!({ "DataType": kind, "ResourceArn": arn });
    json!({ "StreamingConfigurations": streams.iter().map(one).collect::<Value>() })
}

#[tokio::test]
async fn stream_that_is_in_order_cannot_be_reached() {
    let world = World::new().await;
    let path = streams_of(&world.app_instance);
    let (one, other) = (format!("{STREAM}one"), format!("{STREAM}two.x_Y"));
    for (count, streams) in [
        (1, configurations(&[("Channel", &one)])),
        (2, configurations(&[("ChannelMessage", &one), ("Channel", &other)])),
    ] {
        assert_eq!(world.call("PUT", &path, "", streams).await, BAD_REQUEST);
        assert_eq!(world.chat.refused_stream_count(), count);
    }
    assert_eq!(world.get(&path, "").await, NOT_FOUND);
}

#[tokio::test]
async fn what_is_no_such_stream_is_refused_and_not_counted() {
    let world = World::new().await;
    let path = streams_of(&world.app_instance);
    let good = format!("{STREAM}one");
    let other_name = "arn:aws:kinesis:us-east-1:000000000000:stream/other";
    let other_place = good.replace("us-east-1", "eu-central-1");
    let other_account = good.replace("000000000000", "111122223333");
    for streams in [
        json!({}),
        json!({ "StreamingConfigurations": [] }),
        configurations(&[("Channel", &good), ("Channel", &good)]),
        configurations(&[("Channel", &good), ("ChannelMessage", &good), ("Channel", &good)]),
        configurations(&[("Everything", &good)]),
        configurations(&[("Channel", other_name)]),
        configurations(&[("Channel", &other_place)]),
        configurations(&[("Channel", &good), ("ChannelMessage", &other_account)]),
        configurations(&[("Channel", &format!("{STREAM}a/b"))]),
        configurations(&[("Channel", &format!("{STREAM}{}", "x".repeat(113)))]),
        configurations(&[("Channel", &world.app_instance)]),
    ] {
        assert_eq!(world.call("PUT", &path, "", streams.clone()).await, BAD_REQUEST, "{streams}");
    }
    assert_eq!(world.chat.refused_stream_count(), 0);
    let reason = checked_text(&world, &good, other_name);
    assert!(reason.contains("chime-messaging-"), "{reason}");
}

/// Returns why a second stream of that ARN is refused.
fn checked_text(world: &World, good: &str, bad: &str) -> String {
    let cx = world.chat.nobodys_cx(String::new());
    let one =
        |data_type, arn: &str| StreamingConfiguration { data_type, resource_arn: arn.to_owned() };
    let streams =
        [one(MessagingDataType::Channel, good), one(MessagingDataType::ChannelMessage, bad)];
    checked(&cx, &streams).expect_err("is refused").to_string()
}

#[tokio::test]
async fn none_is_there_to_be_read_and_deleting_none_is_done() {
    let mut world = World::new().await;
    let path = streams_of(&world.app_instance);
    assert_eq!(world.get(&path, "").await, NOT_FOUND);
    assert_eq!(world.delete(&path, "").await, Ok(Value::Null));
    let alice = world.create_user("alice").await;
    let missing = streams_of(&format!("{}0", &world.app_instance));
    let streams = configurations(&[("Channel", &format!("{STREAM}one"))]);
    for (path, refusal) in [(missing, FORBIDDEN), (streams_of(&alice), BAD_REQUEST)] {
        assert_eq!(world.get(&path, "").await, refusal);
        assert_eq!(world.delete(&path, "").await, refusal);
        assert_eq!(world.call("PUT", &path, "", streams.clone()).await, refusal);
    }
}
