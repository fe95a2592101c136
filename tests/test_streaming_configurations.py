"""Streaming configurations: checked, and refused as the service refuses a stream that it cannot reach."""

import pytest

from support import clients
from support.clients import answer_of, refusal, status_of
from support.world import World

pytestmark = pytest.mark.any_engine

STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/chime-messaging-"


def put(world, *configurations, app_instance=None):
    return clients.messaging(world.server, checked=False).put_messaging_streaming_configurations(
        AppInstanceArn=app_instance or world.arn,
        StreamingConfigurations=[{"DataType": kind, "ResourceArn": arn} for kind, arn in configurations])


def test_a_stream_cannot_be_reached_and_nothing_is_configured(world):
    with refusal("BadRequest", "Unable to access Kinesis stream chime-messaging-one"):
        put(world, ("ChannelMessage", STREAM + "one"), ("Channel", STREAM + "two"))
    with refusal("NotFound"):
        world.messaging.get_messaging_streaming_configurations(AppInstanceArn=world.arn)


@pytest.mark.parametrize("configurations", [
    [],
    [("Channel", STREAM + "one"), ("Channel", STREAM + "two")],
    [("Channel", STREAM + "one"), ("ChannelMessage", STREAM + "two"), ("Channel", STREAM + "three")],
    [("Messages", STREAM + "one")],
    [("Channel", STREAM.replace("chime-messaging-", "my-stream"))],
    [("Channel", STREAM.replace("us-east-1", "eu-central-1") + "one")],
    [("Channel", STREAM.replace("000000000000", "111122223333") + "one")],
    [("Channel", "arn:aws:s3:::chime-messaging-one")],
])
def test_what_is_no_stream_is_told_so(world, configurations):
    with refusal("BadRequest") as caught:
        put(world, *configurations)
    assert "Unable to access" not in caught.value.response["Error"]["Message"]


def test_deleting_what_is_not_there_answers_204(world):
    answer = world.messaging.delete_messaging_streaming_configurations(AppInstanceArn=world.arn)
    assert status_of(answer) == 204
    assert answer_of(answer) == {}


def test_a_missing_app_instance_is_forbidden(world, alice):
    missing = world.arn[:-1] + ("0" if world.arn[-1] != "0" else "1")
    for arn, name in ((missing, "Forbidden"), (alice, "BadRequest")):
        with refusal(name):
            put(world, ("Channel", STREAM + "one"), app_instance=arn)
        with refusal(name):
            world.messaging.get_messaging_streaming_configurations(AppInstanceArn=arn)
        with refusal(name):
            world.messaging.delete_messaging_streaming_configurations(AppInstanceArn=arn)


def test_refused_streams_are_counted(start):
    server = start()
    world = World(server)
    with refusal("BadRequest"):
        put(world, ("Channel", STREAM + "one"))
    assert server.metric("streams_refused_total") == 1
