"""Read markers: whose they are, what time they tell, and how they end."""

import concurrent.futures

import pytest

from support.clients import NO_ACCESS, answer_of, refusal, status_of
from support.sigv4 import now
from support.world import Fence, World

pytestmark = pytest.mark.any_engine


def mark(world, channel, bearer):
    return world.messaging.update_channel_read_marker(ChannelArn=channel, ChimeBearer=bearer)


def marker(world, channel, owner, bearer=None):
    described = world.messaging.describe_channel_membership_for_app_instance_user(
        ChannelArn=channel, AppInstanceUserArn=owner, ChimeBearer=bearer or owner)["ChannelMembership"]
    return described["AppInstanceUserMembershipSummary"].get("ReadMarkerTimestamp")


def test_the_marker_is_absent_until_set_and_then_the_time_of_the_last_call(world, alice):
    channel = world.channel(alice)
    assert marker(world, channel, alice) is None
    before = now(-1)
    answer = mark(world, channel, alice)
    assert status_of(answer) == 200
    assert answer_of(answer) == {"ChannelArn": channel}
    first = marker(world, channel, alice)
    assert before < first < now(1)
    mark(world, channel, alice)
    assert marker(world, channel, alice) > first


def test_what_was_sent_before_is_read_and_what_is_sent_after_is_not(world, alice, bob):
    channel = world.channel(alice, bob)
    for number in range(20):
        world.send(channel, alice, str(number))
    mark(world, channel, bob)
    read = marker(world, channel, bob)
    assert read >= world.messages(channel, bob)[0]["CreatedTimestamp"]
    world.send(channel, alice, "new")
    assert read < world.messages(channel, bob)[0]["CreatedTimestamp"]
    [listed] = world.messaging.list_channel_memberships_for_app_instance_user(
        ChimeBearer=bob)["ChannelMemberships"]
    assert listed["AppInstanceUserMembershipSummary"]["ReadMarkerTimestamp"] == read
    assert listed["ChannelSummary"]["LastMessageTimestamp"] > read


@pytest.mark.two_nodes
def test_each_member_has_his_own_and_nobody_is_told(world, alice, bob):
    channel = world.channel(alice, bob)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    mark(world, channel, bob)
    assert fence.before(*sockets) == [[], []]
    assert marker(world, channel, alice) is None
    assert marker(world, channel, bob) is not None


def test_members_and_hidden_members_may_and_others_must_join_first(world, alice, bob, carol):
    stranger = world.user("stranger")
    channel = world.channel(alice, Privacy="PUBLIC")
    world.join(channel, alice, bob, kind="HIDDEN")
    mark(world, channel, bob)
    world.leave(channel, alice, alice)  # he stays moderator
    for bearer in (alice, world.make_admin(carol), stranger):
        with refusal("Forbidden", NO_ACCESS):
            mark(world, channel, bearer)
    with refusal("Forbidden"):
        mark(world, f"{world.arn}/channel/nowhere", bob)


def test_a_marker_ends_with_the_membership(world, alice, bob):
    channel = world.channel(alice, bob)
    mark(world, channel, bob)
    world.leave(channel, alice, bob)
    with refusal("Forbidden"):
        mark(world, channel, bob)
    world.join(channel, alice, bob)
    assert marker(world, channel, bob) is None


def test_calls_at_once_leave_one_marker_that_only_rises(world, alice, bob):
    channel = world.channel(alice, bob)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        seen = [marker(world, channel, bob)]
        for _ in range(5):
            assert {status_of(answer) for answer in pool.map(
                lambda _: mark(world, channel, bob), range(8))} == {200}
            seen.append(marker(world, channel, bob))
    times = seen[1:]
    assert seen[0] is None
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_a_marker_outlives_a_restart(start):
    server = start()
    world = World(server)
    alice = world.user("alice")
    channel = world.channel(alice)
    mark(world, channel, alice)
    read = marker(world, channel, alice)
    server.restart()
    world.reconnect()
    assert marker(world, channel, alice) == read
