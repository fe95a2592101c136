"""Prefetch: a session that asks for it is told of its channels, as the lists would tell them, before new events."""

import threading
import time

import pytest

from support.sender import Sender
from support.sockets import CLOSE, Closed

pytestmark = [pytest.mark.any_engine, pytest.mark.two_nodes]

CHANNELS_MAX, MESSAGES_MAX, MEMBERSHIPS_MAX = 50, 20, 30
# Twice what a socket's queue holds, if a client took nothing.
LARGE_CHANNELS = 50
LARGE_CONTENT = "x" * 4096


def prefetch(world, user, sort=None, **options):
    """A socket that asks for prefetch."""
    parameters = {"prefetch-on": "connect"} | ({} if sort is None else {"prefetch-sort-by": sort})
    return world.connect(user, parameters=parameters, **options)


def details(world, user, count, sort=None):
    """The payloads of the first `count` events, all of which are details."""
    socket = prefetch(world, user, sort)
    events = [socket.next() for _ in range(count)]
    assert {(event.type, event.message_type) for event in events} <= {("CHANNEL_DETAILS", "SYSTEM")}
    return [event.payload for event in events]


def names(payloads):
    return [payload["Channel"]["Name"] for payload in payloads]


def contents(payload):
    return [message["Content"] for message in payload["ChannelMessages"]]


def iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def mark(world, channel, user):
    world.messaging.update_channel_read_marker(ChannelArn=channel, ChimeBearer=user)


def test_details_are_what_the_lists_tell(world, alice, bob):
    channel = world.channel(alice, bob, Metadata='{"k":1}')
    world.send(channel, alice, "first", Metadata='{"m":1}', ContentType="text/plain",
               MessageAttributes={"mention": {"StringValues": ["bob"]}})
    mark(world, channel, bob)
    world.send(channel, bob, "second")
    [payload] = details(world, bob, 1)
    listed = world.messages(channel, bob)
    shown = world.messaging.describe_channel_membership_for_app_instance_user(
        ChannelArn=channel, AppInstanceUserArn=bob, ChimeBearer=bob)["ChannelMembership"]
    marker = shown["AppInstanceUserMembershipSummary"]["ReadMarkerTimestamp"]
    summary = shown["ChannelSummary"]

    def as_event(value):
        if isinstance(value, dict):
            return {name: as_event(item) for name, item in value.items()}
        if isinstance(value, list):
            return [as_event(item) for item in value]
        return iso(value) if hasattr(value, "isoformat") else value

    assert payload == {
        "Channel": as_event(summary), "ChannelMessages": as_event(listed), "ChannelMessagesHasMore": False,
        "ChannelMemberships": [{"Member": {"Arn": alice, "Name": "Alice"}}, {"Member": {"Arn": bob, "Name": "Bob"}}],
        "ReadMarkerTimestamp": iso(marker),
    }


def test_a_channel_without_marker_and_messages_has_neither(world, alice):
    channel = world.channel(alice)
    [payload] = details(world, alice, 1)
    assert payload == {
        "Channel": {"ChannelArn": channel, "Name": "Room", "Mode": "RESTRICTED", "Privacy": "PRIVATE"},
        "ChannelMessages": [], "ChannelMessagesHasMore": False,
        "ChannelMemberships": [{"Member": {"Arn": alice, "Name": "Alice"}}],
    }


@pytest.mark.parametrize("parameters", [
    {}, {"prefetch-sort-by": "unread"}, {"prefetch-on": "reconnect"}, {"prefetch-on": ""}, {"prefetch-on": "CONNECT"},
], ids=str)
def test_nothing_is_told_unless_it_is_asked_for(world, alice, parameters):
    channel = world.channel(alice)
    socket = world.connect(alice, parameters=parameters)
    world.send(channel, alice, "the first event")
    assert socket.next().payload["Content"] == "the first event"


def test_a_user_without_channels_is_told_nothing(world, alice, bob):
    socket = prefetch(world, bob)
    channel = world.channel(alice, bob)
    *told, _ = socket.until(lambda event: event.type == "CREATE_CHANNEL_MEMBERSHIP")
    # Of this channel he may be told: it may be there before his list is read.
    assert {event.payload["Channel"]["ChannelArn"] for event in told} <= {channel}
    world.send(channel, alice)
    assert socket.next().type == "CREATE_CHANNEL_MESSAGE"


def test_the_order_decides_which_channels_are_told(world, alice, bob):
    channels = [world.channel(alice, bob, name=f"c{number}") for number in range(CHANNELS_MAX + 2)]
    for channel in channels[1:]:
        world.send(channel, alice)
    read, newest = channels[-1], [f"c{number}" for number in reversed(range(CHANNELS_MAX + 2))]
    mark(world, read, bob)
    unread = [name for name in newest if name != "c51"]
    assert names(details(world, bob, CHANNELS_MAX)) == unread[:CHANNELS_MAX]
    assert names(details(world, bob, CHANNELS_MAX, "unread")) == unread[:CHANNELS_MAX]
    by_time = details(world, bob, CHANNELS_MAX, "last-message-timestamp")
    assert names(by_time) == newest[:CHANNELS_MAX]


def test_messages_and_memberships_are_the_first_of_many(world, alice, bob):
    members = [world.user(f"member-{number}") for number in range(MEMBERSHIPS_MAX)]
    channel = world.channel(alice, bob, *members)
    for number in range(MESSAGES_MAX + 1):
        world.send(channel, alice, str(number))
    [payload] = details(world, bob, 1)
    assert contents(payload) == [str(number) for number in range(MESSAGES_MAX, 0, -1)]
    assert payload["ChannelMessagesHasMore"] is True
    assert len(payload["ChannelMemberships"]) == MEMBERSHIPS_MAX


def test_only_what_the_user_may_see_is_told(world, alice, bob, carol):
    channel = world.channel(alice, bob, carol)
    hidden = world.user("hidden")
    world.join(channel, alice, hidden, kind="HIDDEN")
    world.send(channel, alice, "for all")
    world.send(channel, alice, "for carol", Target=[{"MemberArn": carol}])
    gone = world.send(channel, alice, "redacted")
    world.messaging.redact_channel_message(ChannelArn=channel, MessageId=gone, ChimeBearer=alice)
    for user, expected in ((bob, ["for all"]), (carol, ["for carol", "for all"]), (hidden, ["for all"])):
        [payload] = details(world, user, 1)
        redacted, *others = payload["ChannelMessages"]
        assert (redacted["Redacted"], "Content" in redacted) == (True, False)
        assert [message["Content"] for message in others] == expected
        listed = [item["Member"]["Name"] for item in payload["ChannelMemberships"]]
        assert listed == ["Alice", "Bob", "Carol"]


def test_the_last_message_is_the_last_that_the_user_may_see(world, alice, bob, carol):
    channel = world.channel(alice, bob, carol)
    world.send(channel, alice, "for all")
    world.send(channel, alice, "for carol", Target=[{"MemberArn": carol}])
    for user, last in ((bob, "for all"), (carol, "for carol")):
        [payload] = details(world, user, 1)
        newest = payload["ChannelMessages"][0]
        assert newest["Content"] == last
        assert payload["Channel"]["LastMessageTimestamp"] == newest["CreatedTimestamp"]


def test_a_member_of_an_elastic_channel_is_told_of_his_sub_channel(world, alice, bob, carol):
    channel = world.channel(alice, ElasticChannelConfiguration={
        "MaximumSubChannels": 2, "TargetMembershipsPerSubChannel": 2, "MinimumMembershipPercentage": 10})
    dave = world.user("dave")
    subs = {user: world.join(channel, alice, user)["SubChannelId"] for user in (bob, carol, dave)}
    for user, sub in subs.items():
        world.send(channel, user, f"of {user}", SubChannelId=sub)
    [for_bob], [for_dave] = details(world, bob, 1), details(world, dave, 1)
    assert (for_bob["SubChannelId"], for_dave["SubChannelId"]) == (subs[bob], subs[dave])
    assert contents(for_bob) == [f"of {carol}", f"of {bob}"]
    assert contents(for_dave) == [f"of {dave}"]
    assert "ReadMarkerTimestamp" not in for_bob
    assert [item["Member"]["Name"] for item in for_dave["ChannelMemberships"]] == ["Dave"]


def test_a_session_that_connects_again_is_told_again(world, alice):
    channel = world.channel(alice)
    for number in range(2):
        world.send(channel, alice, str(number))
        socket = prefetch(world, alice, session_id="one-session")
        assert contents(socket.next().payload) == [str(it) for it in range(number, -1, -1)]
        socket.write_frame(CLOSE, (1000).to_bytes(2, "big"))
        socket.closed()


def test_nothing_is_lost_between_details_and_events(world, alice, bob):
    """While messages flow, a message is among the details or comes as an event, and events keep their order."""
    channel = world.channel(alice, bob)
    for number in range(10):
        world.channel(alice, bob, name=f"other {number}")
    sender = Sender(world.server, channel, alice)
    sent, done = [], threading.Event()

    def send():
        while not done.is_set():
            sent.append(sender.id_of("x"))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        sockets = [prefetch(world, bob) for _ in range(8)]
        # Details are read while messages flow, so that the last one is in nobody's details.
        openings = [[socket.next() for _ in range(11)] for socket in sockets]
    finally:
        done.set()
        thread.join()
        sender.close()
    last = world.send(channel, alice, "the last")
    for socket, first in zip(sockets, openings, strict=True):
        assert {event.type for event in first} == {"CHANNEL_DETAILS"}
        told = [event.payload for event in first]
        events = socket.until(lambda event: event.payload.get("MessageId") == last)
        assert "CHANNEL_DETAILS" not in {event.type for event in events}
        [room] = [payload for payload in told if payload["Channel"]["ChannelArn"] == channel]
        known = [message["MessageId"] for message in reversed(room["ChannelMessages"])]
        live = [event.payload["MessageId"] for event in events if event.type == "CREATE_CHANNEL_MESSAGE"]
        both = known + [message_id for message_id in live if message_id not in known]
        begin = sent.index(both[0])
        assert both == [*sent[begin:], last]
        assert len(set(live)) == len(live)


def test_details_that_exceed_the_queue_wait_for_the_client(start_world):
    """They come in step with a client that takes them, slowly as it may, and nobody is closed for it."""
    world = start_world(data_dir=":memory:")
    here, there = world.sides()
    alice, bob = world.users("alice", "bob")
    for number in range(LARGE_CHANNELS):
        sender = Sender(there.server, world.channel(alice, bob, name=f"c{number}"), alice)
        for _ in range(MESSAGES_MAX):
            sender.id_of(LARGE_CONTENT)
        sender.close()
    socket = prefetch(here, bob, receive_bytes=4096)
    # With the first of them the list of channels is read: one that is made now is none of them.
    told = [socket.next()]
    held = there.channel(alice, bob, name="meanwhile")
    message_id = there.send(held, alice, "meanwhile")
    told += [socket.next() for _ in range(LARGE_CHANNELS - 1)]
    assert {event.type for event in told} == {"CHANNEL_DETAILS"}
    assert {len(event.payload["ChannelMessages"]) for event in told} == {MESSAGES_MAX}
    assert socket.until(lambda event: event.type == "CREATE_CHANNEL_MESSAGE")[-1].payload["MessageId"] == message_id
    assert [node.metric("slow_closes_total") for node in world.nodes] == [0] * len(world.nodes)


def test_a_client_that_takes_no_details_ends_like_any_other(start_world):
    """What is committed meanwhile is held for it in bounds; then it is closed as one that is too slow."""
    world = start_world(data_dir=":memory:")
    here, there = world.sides()
    alice, slow, bob = world.users("alice", "slow", "bob")
    channel = world.channel(alice, slow, bob)
    for number in range(LARGE_CHANNELS):
        sender = Sender(there.server, world.channel(alice, slow, name=f"c{number}"), alice)
        for _ in range(MESSAGES_MAX):
            sender.id_of(LARGE_CONTENT)
        sender.close()
    lazy = prefetch(here, slow, receive_bytes=4096)
    sender = Sender(there.server, channel, alice)
    deadline = time.monotonic() + 60
    while here.server.metric("slow_closes_total") == 0:
        assert time.monotonic() < deadline
        for _ in range(100):
            sender.id_of(LARGE_CONTENT, persistence="NON_PERSISTENT")
    sender.close()
    with pytest.raises((Closed, ConnectionError)) as end:
        while True:
            lazy.next()
    assert getattr(end.value, "code", 1013) == 1013
    # Others open meanwhile: nobody waits for a place that a slow client has.
    assert len(details(here, bob, 1)) == 1
