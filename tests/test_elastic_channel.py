"""Elastic channels: members are assigned to sub-channels, and what is said stays in one of them."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import clients
from support.clients import refusal
from support.server import eventually
from support.world import Fence

pytestmark = pytest.mark.any_engine

# How old the figure of the jobs that are due may be.
READING_LIFE_S = 2


def elastic(world, owner, maximum=3, target=2, **extra):
    return world.channel(owner, ElasticChannelConfiguration={
        "MaximumSubChannels": maximum, "TargetMembershipsPerSubChannel": target,
        "MinimumMembershipPercentage": 40}, **extra)


def sub_channels(world, channel, bearer, **extra):
    return clients.everything(world.messaging.list_sub_channels, "SubChannels",
                              ChannelArn=channel, ChimeBearer=bearer, **extra)


def counts(world, channel, bearer):
    return sorted(item["MembershipCount"] for item in sub_channels(world, channel, bearer))


def add(world, channel, bearer, member):
    return world.join(channel, bearer, member)["SubChannelId"]


def told(events):
    return [(event.type, event.payload.get("SubChannelId")) for event in events]


def wait_for_the_end_of_the_work(node):
    """The figure that is shown may be as old as its life, so one that is shown later counts."""
    begun = time.monotonic()
    eventually(lambda: node.metric("jobs_due") == 0 and time.monotonic() > begun + READING_LIFE_S, "the end of the work")


@pytest.fixture
def owner(world):
    return world.user("owner")


def test_the_configuration_is_shown_and_the_creator_is_no_member(world, owner):
    channel = elastic(world, owner, maximum=5, target=7)
    found = world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=owner)["Channel"]
    assert found["ElasticChannelConfiguration"] == {
        "MaximumSubChannels": 5, "TargetMembershipsPerSubChannel": 7, "MinimumMembershipPercentage": 40}
    [first] = sub_channels(world, channel, owner)
    assert first["MembershipCount"] == 0
    listed = world.messaging.list_channel_memberships_for_app_instance_user(ChimeBearer=owner)
    assert listed["ChannelMemberships"] == []


def test_members_fill_sub_channels_and_moderators_choose(world, owner, alice, bob, carol):
    channel = elastic(world, owner, maximum=2)
    first = add(world, channel, owner, alice)
    assert add(world, channel, owner, bob) == first
    second = add(world, channel, owner, carol)
    assert second != first
    assert {item["SubChannelId"]: item["MembershipCount"]
            for item in sub_channels(world, channel, owner, MaxResults=1)} == {first: 2, second: 1}
    assert world.members(channel, owner, SubChannelId=first) == ["alice", "bob"]
    with refusal("BadRequest"):
        world.join(channel, owner, owner)
    for sub_channel in (first, second):
        answer = world.messaging.create_channel_membership(
            ChannelArn=channel, MemberArn=owner, Type="DEFAULT", SubChannelId=sub_channel, ChimeBearer=owner)
        assert answer["SubChannelId"] == sub_channel
    with refusal("ResourceLimitExceeded"):
        world.join(channel, owner, world.user("late"))
    world.leave(channel, owner, owner)
    # If the new one was filled meanwhile, the place is in the first.
    assert add(world, channel, owner, world.user("later")) in (first, second)
    assert counts(world, channel, owner) == [2, 2]
    with refusal("Forbidden"):
        world.messaging.list_sub_channels(ChannelArn=channel, ChimeBearer=alice)


@pytest.mark.two_nodes
def test_what_is_said_is_heard_in_its_sub_channel_alone(world, owner, alice, bob, carol):
    fence = Fence(world, alice, bob, carol)
    channel = elastic(world, owner)
    sockets = [world.connect(alice), world.connect(bob), world.connect(carol)]
    first = add(world, channel, owner, alice)
    add(world, channel, owner, bob)
    second = add(world, channel, owner, carol)
    with refusal("BadRequest"):
        world.send(channel, alice)
    with refusal("Forbidden"):
        world.send(channel, alice, SubChannelId=second)
    answer = world.post(channel, alice, "hello", SubChannelId=first)
    assert answer["SubChannelId"] == first
    world.messaging.update_channel(ChannelArn=channel, Name="New", ChimeBearer=owner)
    joined, said, updated = ("CREATE_CHANNEL_MEMBERSHIP", first), ("CREATE_CHANNEL_MESSAGE", first), (
        "UPDATE_CHANNEL", None)
    for_alice, for_bob, for_carol = fence.before(*sockets)
    assert told(for_alice) == [joined, joined, said, updated]
    assert told(for_bob) == [joined, said, updated]
    assert told(for_carol) == [("CREATE_CHANNEL_MEMBERSHIP", second), updated]
    again = world.connect(bob)
    world.send(channel, alice, "again", SubChannelId=first)
    assert told(fence.before(again)[0]) == [said]
    assert world.contents(channel, bob, SubChannelId=first) == ["again", "hello"]
    with refusal("Forbidden"):
        world.contents(channel, carol, SubChannelId=first)
    world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=owner)
    assert [told(events) for events in fence.before(*sockets, again)] == [
        [said, ("DELETE_CHANNEL", None)], [said, ("DELETE_CHANNEL", None)], [("DELETE_CHANNEL", None)],
        [("DELETE_CHANNEL", None)]]


def test_members_who_come_at_once_never_pass_the_target(world, owner):
    channel = elastic(world, owner, maximum=4, target=3)
    members = world.users(*(f"member-{index}" for index in range(14)))

    def join(member):
        try:
            return add(world, channel, owner, member)
        except world.messaging.exceptions.ResourceLimitExceededException:
            return None

    with ThreadPoolExecutor(7) as pool:
        joined = [found for found in pool.map(join, members) if found]
    assert len(joined) == 12
    counts = [item["MembershipCount"] for item in sub_channels(world, channel, owner)]
    assert counts == [3, 3, 3, 3]


@pytest.mark.two_nodes
def test_a_batch_is_told_one_by_one(world, owner, alice, bob, carol):
    fence = Fence(world, alice)
    channel = elastic(world, owner)
    socket = world.connect(alice)
    answer = world.messaging.batch_create_channel_membership(
        ChannelArn=channel, MemberArns=[alice, bob, carol], ChimeBearer=owner)
    assert answer["Errors"] == []
    assert "SubChannelId" not in answer["BatchChannelMemberships"]
    heard = told(fence.before(socket)[0])
    assert [kind for kind, _ in heard] == ["CREATE_CHANNEL_MEMBERSHIP"] * 2
    assert len(set(heard)) == 1


@pytest.mark.two_nodes
def test_members_are_moved_into_a_new_sub_channel_and_hear_it_from_then_on(world, owner):
    members = world.users(*(f"member-{index}" for index in range(5)))
    fence = Fence(world, *members)
    channel = elastic(world, owner, target=4)
    sockets = [world.connect(member) for member in members]
    first = [add(world, channel, owner, member) for member in members[:4]][0]
    fence.before(*sockets)
    second = add(world, channel, owner, members[4])
    eventually(lambda: counts(world, channel, owner) == [2, 3], "the members are spread")
    heard = dict(zip(members, fence.before(*sockets)))
    # He may have been moved before the join of the last one was told, and hears that then too.
    moved = {member: event for member, events in heard.items() for event in events
             if event.type == "UPDATE_CHANNEL_MEMBERSHIP"}
    [(member, event)] = moved.items()
    assert event.message_type == "SYSTEM"
    assert "x-amz-chime-event-reason" not in event.headers
    payload = event.payload
    assert (payload["ChannelArn"], payload["Member"]["Arn"], payload["SubChannelId"]) == (channel, member, second)
    assert payload["InvitedBy"]["Arn"] == owner
    assert payload["Type"] == "DEFAULT"
    with refusal("Forbidden"):
        world.send(channel, member, SubChannelId=first)
    world.send(channel, member, "moved", SubChannelId=second)
    stayed = next(other for other in members[:4] if other != member)
    world.send(channel, stayed, "stayed", SubChannelId=first)
    heard = dict(zip(members, fence.before(*sockets)))
    said = {member: [event.payload["Content"] for event in events] for member, events in heard.items()}
    assert said == {other: ["moved"] if other in (member, members[4]) else ["stayed"] for other in members}
    again = world.connect(member)
    world.send(channel, members[4], "again", SubChannelId=second)
    assert [event.payload["Content"] for event in fence.before(again)[0]] == ["again"]


@pytest.mark.two_nodes
def test_a_small_sub_channel_goes_and_its_moderator_is_told_why(start_world):
    world = start_world(data_dir=":memory:")
    owner = world.user("owner")
    members = world.users(*(f"member-{index}" for index in range(5)))
    fence = Fence(world, owner, *members)
    channel = elastic(world, owner, target=4)
    first = [add(world, channel, owner, member) for member in members[:4]][0]
    second = add(world, channel, owner, members[4])
    # A sub-channel that is still being filled would take members of the other one again.
    eventually(lambda: counts(world, channel, owner) == [2, 3], "the members are spread")
    wait_for_the_end_of_the_work(world.nodes[0])
    for sub_channel in (first, second):
        world.messaging.create_channel_membership(
            ChannelArn=channel, MemberArn=owner, Type="DEFAULT", SubChannelId=sub_channel, ChimeBearer=owner)
    world.send(channel, members[4], "soon gone", SubChannelId=second)
    socket = world.connect(owner)
    for member in world.members(channel, owner, SubChannelId=second):
        if member != "owner":
            world.leave(channel, owner, f"{world.arn}/user/{member}")
    [left] = [member for member in world.members(channel, owner, SubChannelId=first) if member != "owner"][:1]
    world.leave(channel, owner, f"{world.arn}/user/{left}")
    eventually(lambda: [item["SubChannelId"] for item in sub_channels(world, channel, owner)] == [first],
               "the small one is gone")
    events = [event for event in fence.before(socket)[0] if event.payload["Member"]["Arn"] == owner]
    [event] = [event for event in events if event.type == "DELETE_CHANNEL_MEMBERSHIP"]
    assert event.headers["x-amz-chime-event-reason"] == "subchannel_DELETED"
    assert event.payload["SubChannelId"] == second
    with refusal("Forbidden"):
        world.contents(channel, owner, SubChannelId=second)
    world.send(channel, owner, "still here", SubChannelId=first)
    assert [event.payload["Content"] for event in fence.before(socket)[0]] == ["still here"]
    assert counts(world, channel, owner) == [3]
