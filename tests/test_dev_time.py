"""Expiration and retention as the test of an app sees them: the clock of `campanile dev` is advanced."""

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
