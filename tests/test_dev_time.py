"""Expiration and retention as the test of an app sees them: the clock of `campanile dev` is advanced."""

from datetime import datetime

import pytest

from support.clients import NO_ACCESS, refusal
from support.sockets import open_socket
from support.world import World
from test_dev import dev, post  # its fixture and its request

DAYS = 30
# Each request takes some of the dev clock's time.
MINUTE = "60s"


@pytest.fixture
def world(dev):
    return World(dev)


def to_the_eve(server, days=DAYS):
    """One minute before so many days from now are over."""
    post(server, "/clock", advance=f"{days * 24 * 60 - 1}m")


def test_a_channel_is_there_until_its_days_are_over_and_then_gone(dev, world):
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob, ExpirationSettings={
        "ExpirationDays": DAYS, "ExpirationCriterion": "CREATED_TIMESTAMP"})
    socket = open_socket(dev, bob)
    to_the_eve(dev)
    assert world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bob)["Channel"]["Name"] == "Room"
    post(dev, "/clock", advance=MINUTE)
    with refusal("Forbidden"):
        world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bob)
    event = socket.next()
    assert (event.type, event.payload["ChannelArn"]) == ("DELETE_CHANNEL", channel)
    socket.close()


def test_a_message_puts_off_the_end_of_a_channel_that_counts_from_the_last_one(dev, world):
    alice = world.user("alice")
    channel = world.channel(alice, ExpirationSettings={
        "ExpirationDays": DAYS, "ExpirationCriterion": "LAST_MESSAGE_TIMESTAMP"})
    to_the_eve(dev)
    world.send(channel, alice, "still here")
    post(dev, "/clock", advance=f"{DAYS - 1}d")
    assert world.contents(channel, alice) == ["still here"]
    post(dev, "/clock", advance="1d")
    with refusal("Forbidden"):
        world.messages(channel, alice)


def test_an_expired_user_is_gone_and_his_socket_closed(dev, world):
    alice = world.user("alice", ExpirationSettings={
        "ExpirationDays": DAYS, "ExpirationCriterion": "CREATED_TIMESTAMP"})
    bob = world.user("bob")
    channel = world.channel(bob, alice)
    socket = open_socket(dev, alice)
    to_the_eve(dev)
    assert world.members(channel, bob) == ["alice", "bob"]
    post(dev, "/clock", advance=MINUTE)
    assert socket.closed().code == 4003
    assert world.members(channel, bob) == ["bob"]
    with refusal("Forbidden"):
        world.identity.describe_app_instance_user(AppInstanceUserArn=alice)
    assert world.user("alice") == alice, "the id is free"
    with refusal("Forbidden", NO_ACCESS):
        world.send(channel, alice)


def retain(world, days):
    settings = {"ChannelRetentionSettings": {"RetentionDays": days} if days else {}}
    return world.identity.put_app_instance_retention_settings(
        AppInstanceArn=world.arn, AppInstanceRetentionSettings=settings)


def test_messages_past_their_retention_are_hidden_and_come_back_within_the_grace(dev, world):
    alice = world.user("alice")
    channel = world.channel(alice)
    old = world.send(channel, alice, "old")
    post(dev, "/clock", advance=MINUTE)
    retain(world, DAYS)
    to_the_eve(dev)
    assert world.contents(channel, alice) == [], "the old one is a minute older than the settings"
    world.send(channel, alice, "new")
    assert world.contents(channel, alice) == ["new"]
    with refusal("NotFound"):
        world.messaging.get_channel_message(ChannelArn=channel, MessageId=old, ChimeBearer=alice)
    retain(world, 2 * DAYS)
    assert world.contents(channel, alice) == ["new", "old"]


def test_messages_are_purged_when_the_grace_is_over(dev, world):
    alice = world.user("alice")
    channel = world.channel(alice)
    world.send(channel, alice, "old")
    retain(world, 1)
    post(dev, "/clock", advance="32d")
    retain(world, 0)
    assert world.contents(channel, alice) == []


DAY_MS = 24 * 60 * 60 * 1000


def milliseconds(moment):
    """Of a time that boto3 has parsed; the server's have whole milliseconds."""
    return round(moment.timestamp() * 1000)


def stand(server, advance_ms=0):
    """Stops the clock so many milliseconds from now, and returns what it shows."""
    now = post(server, "/clock", advance=f"{advance_ms}ms", then="stop")
    return milliseconds(datetime.fromisoformat(now.replace("Z", "+00:00")))


def go_to(server, at_ms):
    assert stand(server, at_ms - stand(server)) == at_ms


def described(world, channel, bearer):
    return world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bearer)["Channel"]


def test_a_channel_goes_at_its_millisecond_and_not_one_before(dev, world):
    alice = world.user("alice")
    stand(dev)
    by_creation, by_message, without = (
        world.channel(alice, name=criterion, ExpirationSettings={"ExpirationDays": 2, "ExpirationCriterion": criterion})
        for criterion in ("CREATED_TIMESTAMP", "LAST_MESSAGE_TIMESTAMP", "LAST_MESSAGE_TIMESTAMP"))
    created = {channel: milliseconds(described(world, channel, alice)["CreatedTimestamp"])
               for channel in (by_creation, without)}
    stand(dev, DAY_MS)
    for channel in (by_creation, by_message):
        world.send(channel, alice, "hello")
    said = milliseconds(described(world, by_message, alice)["LastMessageTimestamp"])
    assert created[by_creation] == created[without], "the clock stands still"
    for channels, since in (((by_creation, without), created[without]), ((by_message,), said)):
        go_to(dev, since + 2 * DAY_MS - 1)
        for channel in channels:
            assert described(world, channel, alice)["Name"]
        stand(dev, 1)
        for channel in channels:
            with refusal("Forbidden"):
                described(world, channel, alice)


def test_a_user_goes_at_his_millisecond_and_not_one_before(dev, world):
    stand(dev)
    guest = world.user("guest", ExpirationSettings={
        "ExpirationDays": 1, "ExpirationCriterion": "CREATED_TIMESTAMP"})
    alice = world.user("alice")
    channel = world.channel(alice, guest)
    sent = world.send(channel, guest, "hello")
    socket = open_socket(dev, guest)
    heard = open_socket(dev, alice)
    made = world.identity.describe_app_instance_user(AppInstanceUserArn=guest)["AppInstanceUser"]
    go_to(dev, milliseconds(made["CreatedTimestamp"]) + DAY_MS - 1)
    assert world.members(channel, guest) == ["alice", "guest"]
    stand(dev, 1)
    assert socket.closed().code == 4003
    event = heard.next()
    assert (event.type, event.payload["Member"]["Arn"]) == ("DELETE_CHANNEL_MEMBERSHIP", guest)
    heard.close()
    assert world.members(channel, alice) == ["alice"]
    message = world.messaging.get_channel_message(ChannelArn=channel, MessageId=sent, ChimeBearer=alice)
    assert message["ChannelMessage"]["Sender"] == {"Arn": guest, "Name": "Guest"}


def shown(world, channel, bearer, message_id):
    """Whether each way to read a message shows it: all agree."""
    def is_there(call, name, message):
        try:
            return call(ChannelArn=channel, ChimeBearer=bearer, MessageId=message_id, **message) is not None
        except getattr(world.messaging.exceptions, name):
            return False

    api = world.messaging
    ways = {
        "list": message_id in [item["MessageId"] for item in world.messages(channel, bearer)],
        "oldest first": message_id in [item["MessageId"] for item in world.messages(channel, bearer, SortOrder="ASCENDING")],
        "between": message_id in [item["MessageId"] for item in world.messages(
            channel, bearer, NotBefore=datetime(2000, 1, 1), NotAfter=datetime(2300, 1, 1))],
        "get": is_there(api.get_channel_message, "NotFoundException", {}),
        "status": is_there(api.get_channel_message_status, "ForbiddenException", {}),
        "update": is_there(api.update_channel_message, "ForbiddenException", {"Content": "hello"}),
    }
    [answer] = set(ways.values()) if len(set(ways.values())) == 1 else pytest.fail(f"they differ: {ways}")
    return answer


def test_a_message_is_hidden_at_its_millisecond_comes_back_within_the_grace_and_not_after(dev, world):
    alice = world.user("alice")
    stand(dev)
    channel = world.channel(alice)
    sent = world.send(channel, alice, "hello")
    said = milliseconds(described(world, channel, alice)["LastMessageTimestamp"])
    stand(dev, DAY_MS // 2)
    ends = milliseconds(retain(world, 1)["InitiateDeletionTimestamp"])
    go_to(dev, said + DAY_MS - 1)
    assert shown(world, channel, alice, sent)
    stand(dev, 1)
    assert not shown(world, channel, alice, sent)
    assert milliseconds(described(world, channel, alice)["LastMessageTimestamp"]) == said, "it stays"
    [found] = world.messaging.search_channels(ChimeBearer=alice, Fields=[
        {"Key": "MEMBERS", "Values": [alice], "Operator": "INCLUDES"}])["Channels"]
    assert milliseconds(found["LastMessageTimestamp"]) == said
    go_to(dev, ends - 1)
    assert not shown(world, channel, alice, sent)
    retain(world, 60)
    assert shown(world, channel, alice, sent), "the grace is not over"
    retain(world, 1)
    assert not shown(world, channel, alice, sent)
    go_to(dev, stand(dev) + 30 * DAY_MS)
    retain(world, 60)
    assert not shown(world, channel, alice, sent), "the grace is over"
    retain(world, 0)
    assert world.messages(channel, alice) == []
