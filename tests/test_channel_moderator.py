"""Channel moderators: create, describe, list, delete. Who may do so stands in test_roles.py."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from support import clients
from support.clients import BAD_BEARER, BAD_MEMBER, NO_ACCESS, answer_of, refusal, status_of
from support.sigv4 import now
from support.world import Fence, World

pytestmark = pytest.mark.any_engine


def promote(world, channel, bearer, moderator):
    return world.messaging.create_channel_moderator(
        ChannelArn=channel, ChannelModeratorArn=moderator, ChimeBearer=bearer)


def demote(world, channel, bearer, moderator):
    return world.messaging.delete_channel_moderator(
        ChannelArn=channel, ChannelModeratorArn=moderator, ChimeBearer=bearer)


def describe(world, channel, bearer, moderator):
    return world.messaging.describe_channel_moderator(
        ChannelArn=channel, ChannelModeratorArn=moderator, ChimeBearer=bearer)["ChannelModerator"]


def moderators(world, channel, bearer, **extra):
    listed = clients.everything(world.messaging.list_channel_moderators, "ChannelModerators",
                                ChannelArn=channel, ChimeBearer=bearer, **extra)
    return sorted(item["Moderator"]["Name"] for item in listed)


def test_create_answers_201_with_the_channel_and_the_moderator(world, alice, bob):
    channel = world.channel(alice, bob)
    answer = promote(world, channel, alice, bob)
    assert status_of(answer) == 201
    assert answer_of(answer) == {"ChannelArn": channel, "ChannelModerator": {"Arn": bob, "Name": "Bob"}}


def test_describe_shows_the_moderator_and_who_made_him_one(world, alice, bob):
    channel = world.channel(alice, bob)
    before = now(-1)
    promote(world, channel, alice, bob)
    found = describe(world, channel, bob, bob)
    assert before < found.pop("CreatedTimestamp") < now(1)
    assert found == {"ChannelArn": channel, "Moderator": {"Arn": bob, "Name": "Bob"},
                     "CreatedBy": {"Arn": alice, "Name": "Alice"}}


def test_list_shows_arn_and_name_only_and_the_creator_is_in_it(world, alice, bob):
    channel = world.channel(alice, bob)
    promote(world, channel, alice, bob)
    answer = world.messaging.list_channel_moderators(ChannelArn=channel, ChimeBearer=bob)
    assert status_of(answer) == 200
    assert set(answer_of(answer)) == {"ChannelArn", "ChannelModerators"}
    assert answer["ChannelArn"] == channel
    assert sorted(answer["ChannelModerators"], key=str) == [
        {"Moderator": {"Arn": alice, "Name": "Alice"}}, {"Moderator": {"Arn": bob, "Name": "Bob"}}]


def test_pages_joined_together_give_every_moderator_once(world, alice):
    channel = world.channel(alice)
    names = ["Alice"]
    for number in range(12):
        promote(world, channel, alice, world.user(f"user-{number:02}"))
        names.append(f"User-{number:02}")
    for size in (1, 5, 13, 50):
        assert moderators(world, channel, alice, MaxResults=size) == names


def test_a_moderator_twice_is_a_conflict(world, alice, bob):
    channel = world.channel(alice, bob)
    promote(world, channel, alice, bob)
    for moderator in (alice, bob):
        with refusal("Conflict"):
            promote(world, channel, alice, moderator)


def test_the_role_gives_no_membership(world, alice, bob, carol):
    channel = world.channel(alice)
    promote(world, channel, alice, bob)
    assert world.members(channel, bob) == ["alice"]
    with refusal("Forbidden", NO_ACCESS):
        world.send(channel, bob)
    with refusal("Forbidden", NO_ACCESS):
        promote(world, channel, bob, carol)
    world.join(channel, bob, bob)
    promote(world, channel, bob, carol)
    world.send(channel, bob)


def test_delete_answers_204_and_ends_the_role_alone(world, alice, bob):
    channel = world.channel(alice, bob)
    promote(world, channel, alice, bob)
    answer = demote(world, channel, bob, alice)
    assert (status_of(answer), answer_of(answer)) == (204, {})
    with refusal("Forbidden", NO_ACCESS):
        moderators(world, channel, alice)
    assert moderators(world, channel, bob) == ["Bob"]
    world.send(channel, alice, "still a member")


def test_the_last_moderator_may_be_removed_and_an_admin_makes_another(world, alice, bob, carol):
    channel = world.channel(alice, bob)
    world.make_admin(carol)
    demote(world, channel, alice, alice)
    assert moderators(world, channel, carol) == []
    promote(world, channel, carol, bob)
    assert moderators(world, channel, bob) == ["Bob"]


def test_who_is_none_is_not_found_and_cannot_be_removed(world, another_world, alice, bob):
    channel = world.channel(alice, bob)
    for other in (bob, f"{world.arn}/user/nobody", another_world.user("zoe")):
        with refusal("NotFound"):
            describe(world, channel, alice, other)
        with refusal("Forbidden"):
            demote(world, channel, alice, other)


def test_an_unknown_user_is_refused_with_the_known_text(world, another_world, alice):
    channel = world.channel(alice)
    for stranger in (f"{world.arn}/user/nobody", another_world.user("zoe")):
        with refusal("Forbidden", BAD_MEMBER):
            promote(world, channel, alice, stranger)
    with refusal("Unauthorized", BAD_BEARER):
        promote(world, channel, f"{world.arn}/user/nobody", alice)


def test_a_re_created_user_is_no_moderator(world, alice, bob):
    channel = world.channel(alice, bob)
    promote(world, channel, alice, bob)
    world.identity.delete_app_instance_user(AppInstanceUserArn=bob)
    assert moderators(world, channel, alice) == ["Alice"]
    assert world.user("bob") == bob
    with refusal("Forbidden", NO_ACCESS):
        moderators(world, channel, bob)
    promote(world, channel, alice, bob)


def test_of_promotions_at_once_one_succeeds(world, alice, bob):
    channel = world.channel(alice, bob)

    def attempt(_):
        try:
            return status_of(promote(world, channel, alice, bob))
        except world.messaging.exceptions.ConflictException:
            return 409

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == [201] + [409] * 7
    assert moderators(world, channel, alice) == ["Alice", "Bob"]


@pytest.mark.two_nodes
def test_nobody_hears_of_the_role_and_its_holder_hears_of_hidden_members_from_then_on(
        world, alice, bob, carol):
    channel = world.channel(alice, bob)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    world.join(channel, alice, carol, kind="HIDDEN")
    promote(world, channel, alice, bob)
    world.leave(channel, alice, carol)
    demote(world, channel, alice, bob)
    world.join(channel, alice, carol, kind="HIDDEN")
    for_alice, for_bob = fence.before(*sockets)
    create, delete = "CREATE_CHANNEL_MEMBERSHIP", "DELETE_CHANNEL_MEMBERSHIP"
    assert [event.type for event in for_alice] == [create, delete, create]
    assert [event.type for event in for_bob] == [delete]


@pytest.mark.two_nodes
def test_a_socket_that_opens_later_knows_the_role(world, alice, bob, carol):
    channel = world.channel(alice, bob)
    promote(world, channel, alice, bob)
    socket = world.connect(bob)
    world.join(channel, alice, carol, kind="HIDDEN")
    assert socket.next().payload["Member"]["Arn"] == carol


def test_the_role_survives_a_restart(start):
    server = start()
    world = World(server)
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob)
    promote(world, channel, alice, bob)
    server.restart()
    world.reconnect()
    assert moderators(world, channel, bob) == ["Alice", "Bob"]
