"""Channel bans: create, describe, list, delete, and what a ban keeps its user from."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from support import clients
from support.clients import BAD_BEARER, BAD_MEMBER, NO_ACCESS, answer_of, refusal, status_of
from support.sigv4 import now
from support.world import Fence, World

pytestmark = pytest.mark.any_engine


def ban(world, channel, bearer, member):
    return world.messaging.create_channel_ban(ChannelArn=channel, MemberArn=member, ChimeBearer=bearer)


def lift(world, channel, bearer, member):
    return world.messaging.delete_channel_ban(ChannelArn=channel, MemberArn=member, ChimeBearer=bearer)


def describe(world, channel, bearer, member):
    return world.messaging.describe_channel_ban(
        ChannelArn=channel, MemberArn=member, ChimeBearer=bearer)["ChannelBan"]


def banned(world, channel, bearer, **extra):
    listed = clients.everything(world.messaging.list_channel_bans, "ChannelBans",
                                ChannelArn=channel, ChimeBearer=bearer, **extra)
    return sorted(item["Member"]["Name"] for item in listed)


def test_create_answers_201_with_the_channel_and_the_member(world, alice, bob):
    channel = world.channel(alice, bob)
    answer = ban(world, channel, alice, bob)
    assert status_of(answer) == 201
    assert answer_of(answer) == {"ChannelArn": channel, "Member": {"Arn": bob, "Name": "Bob"}}


def test_describe_shows_the_banned_and_who_banned_him(world, alice, bob):
    channel = world.channel(alice, bob)
    before = now(-1)
    ban(world, channel, alice, bob)
    found = describe(world, channel, alice, bob)
    assert before < found.pop("CreatedTimestamp") < now(1)
    assert found == {"ChannelArn": channel, "Member": {"Arn": bob, "Name": "Bob"},
                     "CreatedBy": {"Arn": alice, "Name": "Alice"}}


def test_list_shows_arn_and_name_only_and_may_be_empty(world, alice, bob):
    channel = world.channel(alice, bob)
    answer = world.messaging.list_channel_bans(ChannelArn=channel, ChimeBearer=alice)
    assert status_of(answer) == 200
    assert answer_of(answer) == {"ChannelArn": channel, "ChannelBans": []}
    ban(world, channel, alice, bob)
    answer = world.messaging.list_channel_bans(ChannelArn=channel, ChimeBearer=alice)
    assert answer_of(answer) == {"ChannelArn": channel, "ChannelBans": [{"Member": {"Arn": bob, "Name": "Bob"}}]}


def test_pages_joined_together_give_every_ban_once(world, alice):
    channel = world.channel(alice)
    names = []
    for number in range(11):
        ban(world, channel, alice, world.user(f"user-{number:02}"))
        names.append(f"User-{number:02}")
    for size in (1, 4, 11, 50):
        assert banned(world, channel, alice, MaxResults=size) == names


@pytest.mark.two_nodes
def test_a_banned_member_is_removed_and_hears_up_to_his_removal(world, alice, bob):
    channel = world.channel(alice, bob)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    ban(world, channel, alice, bob)
    world.send(channel, alice, "after")
    for_alice, for_bob = fence.before(*sockets)
    assert [event.type for event in for_alice] == ["DELETE_CHANNEL_MEMBERSHIP", "CREATE_CHANNEL_MESSAGE"]
    assert [event.type for event in for_bob] == ["DELETE_CHANNEL_MEMBERSHIP"]
    assert for_bob[0].payload["Member"] == {"Arn": bob, "Name": "Bob"}
    assert world.members(channel, alice) == ["alice"]


@pytest.mark.two_nodes
def test_a_ban_of_who_is_no_member_is_told_to_nobody(world, alice, bob):
    channel = world.channel(alice)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    ban(world, channel, alice, bob)
    lift(world, channel, alice, bob)
    assert fence.before(*sockets) == [[], []]


def test_the_banned_neither_join_nor_are_added_nor_send(world, alice, bob):
    channel = world.channel(alice, bob, Privacy="PUBLIC")
    ban(world, channel, alice, bob)
    for bearer in (alice, bob):
        for kind in ("DEFAULT", "HIDDEN"):
            with refusal("Forbidden", NO_ACCESS):
                world.join(channel, bearer, bob, kind=kind)
    with refusal("Forbidden", NO_ACCESS):
        world.send(channel, bob)
    with refusal("Forbidden", NO_ACCESS):
        world.messaging.create_channel_moderator(
            ChannelArn=channel, ChannelModeratorArn=bob, ChimeBearer=alice)
    assert world.messages(channel, bob) == [], "a PUBLIC channel is readable for everybody"


def test_delete_answers_204_and_lets_him_come_back_by_himself(world, alice, bob):
    channel = world.channel(alice, bob, Privacy="PUBLIC")
    ban(world, channel, alice, bob)
    answer = lift(world, channel, alice, bob)
    assert (status_of(answer), answer_of(answer)) == (204, {})
    assert world.members(channel, alice) == ["alice"]
    with refusal("NotFound"):
        describe(world, channel, alice, bob)
    with refusal("Forbidden"):
        lift(world, channel, alice, bob)
    world.join(channel, bob, bob)


def test_banned_twice_is_a_conflict(world, alice, bob):
    channel = world.channel(alice, bob)
    ban(world, channel, alice, bob)
    with refusal("Conflict"):
        ban(world, channel, alice, bob)


def test_admins_and_moderators_of_the_channel_are_not_banned(world, alice, bob, carol):
    channel = world.channel(alice, bob)
    world.make_admin(carol)
    world.messaging.create_channel_moderator(ChannelArn=channel, ChannelModeratorArn=bob, ChimeBearer=alice)
    for target in (alice, bob, carol):
        with refusal("Forbidden", NO_ACCESS):
            ban(world, channel, alice, target)
    assert world.members(channel, alice) == ["alice", "bob"]
    ban(world, world.channel(bob), bob, alice)


def test_an_unknown_user_is_refused_or_not_found(world, another_world, alice):
    channel = world.channel(alice)
    for stranger in (f"{world.arn}/user/nobody", another_world.user("zoe")):
        with refusal("Forbidden", BAD_MEMBER):
            ban(world, channel, alice, stranger)
        with refusal("NotFound"):
            describe(world, channel, alice, stranger)
        with refusal("Forbidden"):
            lift(world, channel, alice, stranger)
    with refusal("Unauthorized", BAD_BEARER):
        ban(world, channel, f"{world.arn}/user/nobody", alice)


def test_a_ban_goes_with_its_user_and_with_its_channel(world, alice, bob):
    channel = world.channel(alice, bob, ChannelId="general")
    ban(world, channel, alice, bob)
    world.identity.delete_app_instance_user(AppInstanceUserArn=bob)
    assert banned(world, channel, alice) == []
    assert world.user("bob") == bob
    world.join(channel, alice, bob)
    ban(world, channel, alice, bob)
    world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
    assert world.channel(alice, ChannelId="general") == channel
    assert banned(world, channel, alice) == []
    world.join(channel, alice, bob)


def test_whatever_comes_first_a_ban_and_joins_at_once_leave_no_member(world, alice, bob):
    for _ in range(5):
        channel = world.channel(alice, Privacy="PUBLIC")

        def join(_, channel=channel):
            try:
                return status_of(world.join(channel, bob, bob))
            except (world.messaging.exceptions.ForbiddenException, world.messaging.exceptions.ConflictException):
                return None

        with ThreadPoolExecutor(4) as pool:
            joins = [pool.submit(join, number) for number in range(3)]
            banning = pool.submit(ban, world, channel, alice, bob)
            assert status_of(banning.result()) == 201
            assert {join.result() for join in joins} <= {201, None}
        assert world.members(channel, alice) == ["alice"]
        assert banned(world, channel, alice) == ["Bob"]


def test_a_ban_survives_a_restart(start):
    server = start()
    world = World(server)
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob)
    ban(world, channel, alice, bob)
    server.restart()
    world.reconnect()
    assert banned(world, channel, alice) == ["Bob"]
    with refusal("Forbidden", NO_ACCESS):
        world.join(channel, alice, bob)
