"""The conducts of messages."""

from support.clients import refusal
from support.conformance.channel import GONE_CHANNEL
from support.conformance.conduct import conduct
from support.conformance.members import identity

ABSENT_MESSAGE = GONE_CHANNEL | {"MessageId": "NotFound"}
GONE_MESSAGE = GONE_CHANNEL | {"MessageId": "Forbidden"}


def described(stage, channel, message, reader=None):
    return stage.messaging.get_channel_message(
        ChannelArn=channel, MessageId=message, ChimeBearer=reader or stage.member)["ChannelMessage"]


@conduct("messaging", "SendChannelMessage", gives=["ChannelArn", "MessageId", "Status"], unknown=GONE_CHANNEL,
         denied=["admin", "hidden", "stranger"])
def send_channel_message(stage):
    channel = stage.channel()
    given = {
        "ChannelArn": channel, "Content": "hello 🔔", "Type": "STANDARD", "Persistence": "PERSISTENT",
        "Metadata": "first", "ContentType": "text/plain", "ClientRequestToken": stage.token(),
        "PushNotification": {"Title": "Bells", "Body": "hello", "Type": "DEFAULT"},
        "MessageAttributes": {"mood": {"StringValues": ["bright", "loud"]}}, "ChimeBearer": stage.member,
    }
    answer = yield given
    assert (answer["ChannelArn"], answer["Status"]) == (channel, {"Value": "SENT"})
    found = described(stage, channel, answer["MessageId"], stage.moderator)
    for member in ("Content", "Type", "Persistence", "Metadata", "ContentType", "MessageAttributes"):
        assert found[member] == given[member]
    assert found["Sender"] == identity(stage.member)
    again = stage.messaging.send_channel_message(**given)
    assert again["MessageId"] == answer["MessageId"], "the token is known"


@conduct("messaging", "GetChannelMessage", gives=["ChannelMessage"], unknown=ABSENT_MESSAGE, denied=["stranger"])
def get_channel_message(stage):
    channel = stage.channel()
    message = stage.world.send(channel, stage.member, "hello")
    answer = yield {"ChannelArn": channel, "MessageId": message, "ChimeBearer": stage.moderator}
    found = answer["ChannelMessage"]
    assert (found["MessageId"], found["ChannelArn"], found["Content"]) == (message, channel, "hello")
    assert (found["Redacted"], found["Status"]) == (False, {"Value": "SENT"})


@conduct("messaging", "ListChannelMessages", gives=["ChannelArn", "ChannelMessages"], unknown=GONE_CHANNEL,
         denied=["stranger"])
def list_channel_messages(stage):
    channel = stage.channel()
    ids = [stage.world.send(channel, stage.member, content) for content in ("first", "second", "third")]
    answer = yield {"ChannelArn": channel, "SortOrder": "ASCENDING", "MaxResults": 50, "ChimeBearer": stage.moderator}
    assert answer["ChannelArn"] == channel
    assert [message["MessageId"] for message in answer["ChannelMessages"]] == ids


@conduct("messaging", "UpdateChannelMessage", gives=["ChannelArn", "MessageId", "Status"], unknown=GONE_MESSAGE,
         denied=["admin", "moderator", "stranger"])
def update_channel_message(stage):
    channel = stage.channel()
    message = stage.world.send(channel, stage.member, "hello", Metadata="first")
    answer = yield {"ChannelArn": channel, "MessageId": message, "Content": "edited", "Metadata": "second",
                    "ContentType": "text/plain", "ChimeBearer": stage.member}
    assert answer == {"ChannelArn": channel, "MessageId": message, "Status": {"Value": "SENT"}}
    found = described(stage, channel, message)
    assert (found["Content"], found["Metadata"], found["ContentType"]) == ("edited", "second", "text/plain")
    assert found["LastEditedTimestamp"] == found["LastUpdatedTimestamp"] >= found["CreatedTimestamp"]


@conduct("messaging", "RedactChannelMessage", gives=["ChannelArn", "MessageId"], unknown=GONE_MESSAGE,
         denied=["hidden", "stranger"])
def redact_channel_message(stage):
    channel = stage.channel()
    message = stage.world.send(channel, stage.member, "secret", Metadata="secret")
    answer = yield {"ChannelArn": channel, "MessageId": message, "ChimeBearer": stage.moderator}
    assert answer == {"ChannelArn": channel, "MessageId": message}
    found = described(stage, channel, message)
    assert found["Redacted"] is True
    assert not found.get("Content") and not found.get("Metadata")


@conduct("messaging", "DeleteChannelMessage", unknown=GONE_MESSAGE,
         denied=["moderator", "member", "hidden", "stranger"])
def delete_channel_message(stage):
    channel = stage.channel()
    kept, message = (stage.world.send(channel, stage.member, content) for content in ("kept", "deleted"))
    yield {"ChannelArn": channel, "MessageId": message, "ChimeBearer": stage.admin}
    with refusal("NotFound"):
        described(stage, channel, message)
    assert [item["MessageId"] for item in stage.world.messages(channel, stage.member)] == [kept]


@conduct("messaging", "GetChannelMessageStatus", gives=["Status"], unknown=GONE_MESSAGE,
         denied=["admin", "moderator", "hidden", "stranger"])
def get_channel_message_status(stage):
    channel = stage.channel()
    message = stage.world.send(channel, stage.member)
    answer = yield {"ChannelArn": channel, "MessageId": message, "ChimeBearer": stage.member}
    assert answer["Status"] == {"Value": "SENT"}
