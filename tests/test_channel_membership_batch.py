"""BatchCreateChannelMembership: who can be added is, and each of the others gets an error."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from support import clients
from support.clients import BAD_MEMBER, NO_ACCESS, answer_of, refusal, status_of
from support.world import Fence

pytestmark = pytest.mark.any_engine


def add(world, channel, bearer, *members, **extra):
    return world.messaging.batch_create_channel_membership(
        ChannelArn=channel, MemberArns=list(members), ChimeBearer=bearer, **extra)


def added(answer):
    return [member["Name"] for member in answer["BatchChannelMemberships"]["Members"]]


def errors(answer):
    return [(error["MemberArn"], error["ErrorCode"]) for error in answer["Errors"]]


def test_all_are_added_and_named_in_the_order_of_the_request(world, alice, bob, carol):
    channel = world.channel(alice)
    answer = add(world, channel, alice, carol, bob)
    assert status_of(answer) == 200
    assert answer_of(answer) == {"Errors": [], "BatchChannelMemberships": {
        "ChannelArn": channel, "Type": "DEFAULT", "InvitedBy": {"Arn": alice, "Name": "Alice"},
        "Members": [{"Arn": carol, "Name": "Carol"}, {"Arn": bob, "Name": "Bob"}]}}
    assert world.members(channel, bob) == ["alice", "bob", "carol"]
    found = world.messaging.describe_channel_membership(ChannelArn=channel, MemberArn=bob, ChimeBearer=carol)
    assert found["ChannelMembership"]["InvitedBy"] == {"Arn": alice, "Name": "Alice"}


def test_each_who_cannot_be_added_gets_an_error(world, another_world, alice, bob, carol):
    channel = world.channel(alice, bob)
    banned = world.user("banned")
    world.messaging.create_channel_ban(ChannelArn=channel, MemberArn=banned, ChimeBearer=alice)
    nobody, foreign = f"{world.arn}/user/nobody", another_world.user("zoe")
    answer = add(world, channel, alice, nobody, bob, carol, foreign, banned, carol)
    assert added(answer) == ["Carol"]
    assert errors(answer) == [
        (nobody, "Forbidden"), (bob, "Conflict"), (foreign, "Forbidden"), (banned, "Forbidden")]
    texts = [error["ErrorMessage"] for error in answer["Errors"]]
    assert (texts[0], texts[3]) == (BAD_MEMBER, NO_ACCESS)
    assert world.members(channel, alice) == ["alice", "bob", "carol"]


@pytest.mark.two_nodes
def test_a_batch_of_failures_is_answered_and_told_to_nobody(world, alice, bob):
    channel = world.channel(alice, bob)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    answer = add(world, channel, alice, bob, alice)
    assert (status_of(answer), added(answer)) == (200, [])
    assert errors(answer) == [(bob, "Conflict"), (alice, "Conflict")]
    assert fence.before(*sockets) == [[], []]


@pytest.mark.two_nodes
def test_members_hear_of_it_once_the_new_ones_included(world, alice, bob, carol):
    channel = world.channel(alice)
    fence = Fence(world, alice, bob, carol)
    sockets = [world.connect(user) for user in (alice, bob, carol)]
    answer = add(world, channel, alice, bob, carol)
    world.send(channel, bob, "hello")
    for events in fence.before(*sockets):
        assert [event.type for event in events] == ["BATCH_CREATE_CHANNEL_MEMBERSHIP", "CREATE_CHANNEL_MESSAGE"]
        assert events[0].payload == answer["BatchChannelMemberships"]
        assert events[0].message_type == "SYSTEM"


@pytest.mark.two_nodes
def test_hidden_members_hear_of_themselves_and_moderators_of_all(world, alice, bob, carol):
    member = world.user("member")
    channel = world.channel(alice, member)
    fence = Fence(world, alice, bob, carol, member)
    sockets = [world.connect(user) for user in (alice, bob, carol, member)]
    answer = add(world, channel, alice, bob, carol, Type="HIDDEN")
    assert answer["BatchChannelMemberships"]["Type"] == "HIDDEN"
    named = [[[one["Name"] for one in event.payload["Members"]] for event in events]
             for events in fence.before(*sockets)]
    assert named == [[["Bob", "Carol"]], [["Bob"]], [["Carol"]], []]
    assert world.members(channel, alice, Type="HIDDEN") == ["bob", "carol"]


def test_the_roles_are_those_of_single_memberships(world, alice, bob, carol):
    channel = world.channel(alice, bob)
    for bearer in (bob, carol):
        with refusal("Forbidden", NO_ACCESS):
            add(world, channel, bearer, carol)
    free = world.channel(alice, bob, Mode="UNRESTRICTED", Privacy="PUBLIC")
    with refusal("Forbidden", NO_ACCESS):
        add(world, free, bob, carol, Type="HIDDEN")
    assert added(add(world, free, bob, carol)) == ["Carol"]
    joiner = world.user("joiner")
    assert added(add(world, free, joiner, joiner)) == ["Joiner"]
    with refusal("Forbidden", NO_ACCESS):
        add(world, f"{channel}0", alice, carol)


@pytest.mark.parametrize("count", [0, 101])
def test_a_batch_holds_one_to_a_hundred(world, alice, bob, count):
    channel = world.channel(alice)
    with refusal("BadRequest"):
        clients.messaging(world.server, checked=False).batch_create_channel_membership(
            ChannelArn=channel, MemberArns=[bob] * count, ChimeBearer=alice)


def test_a_sub_channel_of_an_ordinary_channel_is_refused(world, alice, bob):
    with refusal("BadRequest"):
        add(world, world.channel(alice), alice, bob, SubChannelId="sub")


def test_a_hundred_are_added_at_once(world, alice):
    channel = world.channel(alice)
    with ThreadPoolExecutor(8) as pool:
        users = list(pool.map(world.user, [f"user-{number:03}" for number in range(100)]))
    answer = add(world, channel, alice, *users)
    assert (len(added(answer)), errors(answer)) == (100, [])
    assert len(world.members(channel, users[99])) == 101


def test_batches_at_once_add_everybody_once(world, alice):
    channel = world.channel(alice)
    users = [world.user(f"user-{number}") for number in range(12)]
    batches = [users[start:start + 6] for start in (0, 3, 6)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda batch: add(world, channel, alice, *batch), batches))
    names = [name for answer in answers for name in added(answer)]
    assert sorted(names) == sorted(f"User-{number}" for number in range(12))
    failed = [error for answer in answers for error in errors(answer)]
    assert len(failed) == 6
    assert {code for _, code in failed} == {"Conflict"}
