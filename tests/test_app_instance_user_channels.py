"""The channels of a user: what he is a member of, what he moderates, and who may ask."""

import pytest

from support import clients
from support.clients import BAD_MEMBER, NO_ACCESS, answer_of, everything, refusal, status_of

pytestmark = pytest.mark.any_engine


def memberships(world, bearer, **arguments):
    return everything(world.messaging.list_channel_memberships_for_app_instance_user, "ChannelMemberships",
                      ChimeBearer=bearer, **arguments)


def moderated(world, bearer, **arguments):
    return everything(world.messaging.list_channels_moderated_by_app_instance_user, "Channels",
                      ChimeBearer=bearer, **arguments)


def describe_membership(world, channel, user, bearer):
    return world.messaging.describe_channel_membership_for_app_instance_user(
        ChannelArn=channel, AppInstanceUserArn=user, ChimeBearer=bearer)


def describe_moderated(world, channel, user, bearer):
    return world.messaging.describe_channel_moderated_by_app_instance_user(
        ChannelArn=channel, AppInstanceUserArn=user, ChimeBearer=bearer)


def arns(items):
    return [item["ChannelSummary"]["ChannelArn"] for item in items]


def test_memberships_show_the_channel_and_the_own_part_in_it(world, alice, bob):
    public = world.channel(alice, bob, name="Öffentlich 🎉", Privacy="PUBLIC", Metadata="m")
    secret = world.channel(alice, name="Secret", Mode="UNRESTRICTED")
    world.join(secret, alice, bob, kind="HIDDEN")
    world.send(public, alice)
    world.messaging.update_channel_read_marker(ChannelArn=public, ChimeBearer=bob)
    answer = world.messaging.list_channel_memberships_for_app_instance_user(ChimeBearer=bob)
    assert status_of(answer) == 200
    assert list(answer_of(answer)) == ["ChannelMemberships"]
    first, second = answer["ChannelMemberships"]
    newest = world.messages(public, bob)[0]["CreatedTimestamp"]
    read = first["AppInstanceUserMembershipSummary"].pop("ReadMarkerTimestamp")
    assert read > newest
    assert first == {
        "ChannelSummary": {"ChannelArn": public, "Name": "Öffentlich 🎉", "Mode": "RESTRICTED", "Privacy": "PUBLIC",
                           "Metadata": "m", "LastMessageTimestamp": newest},
        "AppInstanceUserMembershipSummary": {"Type": "DEFAULT"},
    }
    assert second == {
        "ChannelSummary": {"ChannelArn": secret, "Name": "Secret", "Mode": "UNRESTRICTED", "Privacy": "PRIVATE"},
        "AppInstanceUserMembershipSummary": {"Type": "HIDDEN"},
    }
    described = describe_membership(world, secret, bob, bob)
    assert status_of(described) == 200
    assert answer_of(described) == {"ChannelMembership": second}


def test_moderated_channels_are_those_of_the_role(world, alice, bob):
    own = world.channel(bob, name="Own")
    given = world.channel(alice, ModeratorArns=[bob])
    world.channel(alice, bob)
    world.leave(own, bob, bob)  # the role stays
    answer = world.messaging.list_channels_moderated_by_app_instance_user(ChimeBearer=bob)
    assert status_of(answer) == 200
    assert answer["Channels"] == [
        {"ChannelSummary": {"ChannelArn": own, "Name": "Own", "Mode": "RESTRICTED", "Privacy": "PRIVATE"}},
        {"ChannelSummary": {"ChannelArn": given, "Name": "Room", "Mode": "RESTRICTED", "Privacy": "PRIVATE"}},
    ]
    described = describe_moderated(world, own, bob, bob)
    assert status_of(described) == 200
    assert answer_of(described) == {"Channel": answer["Channels"][0]}


@pytest.mark.parametrize("listing", [memberships, moderated])
def test_lists_are_for_oneself_and_for_admins(world, another_world, alice, bob, carol, listing):
    room = world.channel(alice, bob)
    world.make_admin(carol)
    assert arns(listing(world, alice)) == [room]
    assert arns(listing(world, alice, AppInstanceUserArn=alice)) == [room]
    assert arns(listing(world, carol, AppInstanceUserArn=alice)) == [room]
    assert listing(world, carol) == []
    with refusal("Forbidden", NO_ACCESS):
        listing(world, bob, AppInstanceUserArn=alice)
    for unknown in (f"{world.arn}/user/nobody", f"{world.arn}/bot/nobody", another_world.user("zoe"), room):
        with refusal("Forbidden", NO_ACCESS):
            listing(world, bob, AppInstanceUserArn=unknown)
        with refusal("Forbidden", BAD_MEMBER):
            listing(world, carol, AppInstanceUserArn=unknown)


@pytest.mark.parametrize("describe", [describe_membership, describe_moderated])
def test_descriptions_are_for_oneself_and_for_admins(world, alice, bob, carol, describe):
    room = world.channel(alice, Privacy="PUBLIC")
    world.make_admin(carol)
    assert answer_of(describe(world, room, alice, alice)) == answer_of(describe(world, room, alice, carol))
    for user, bearer in [(alice, bob), (bob, bob), (bob, alice), (bob, carol), (carol, carol)]:
        with refusal("Forbidden", NO_ACCESS):
            describe(world, room, user, bearer)
    with refusal("Forbidden"):
        describe(world, f"{world.arn}/channel/nowhere", alice, alice)


@pytest.mark.parametrize("listing", [memberships, moderated])
def test_pages_hold_every_channel_once_without_those_that_are_gone(world, alice, listing):
    channels = [world.channel(alice) for _ in range(13)]
    for channel in channels[::4]:
        world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
    left = [channel for index, channel in enumerate(channels) if index % 4]
    for size in (1, 2, 5, 9, 50):
        assert arns(listing(world, alice, MaxResults=size)) == left
    assert arns(listing(world, alice)) == left


def test_a_token_is_bound_to_list_and_user(world, alice, bob, carol):
    world.make_admin(carol)
    for _ in range(2):
        world.channel(alice, bob)
    first = world.messaging.list_channel_memberships_for_app_instance_user(MaxResults=1, ChimeBearer=alice)
    token = first["NextToken"]
    arguments = {"NextToken": token, "ChimeBearer": bob}
    for call in (world.messaging.list_channel_memberships_for_app_instance_user,
                 world.messaging.list_channels_moderated_by_app_instance_user):
        with refusal("BadRequest"):
            call(**arguments)
    with refusal("BadRequest"):
        world.messaging.list_channels_moderated_by_app_instance_user(NextToken=token, ChimeBearer=alice)
    assert len(memberships(world, carol, AppInstanceUserArn=alice, NextToken=token)) == 1


@pytest.mark.parametrize("wrong", [{"MaxResults": 0}, {"MaxResults": 51}, {"AppInstanceUserArn": "x"},
                                   {"NextToken": "nonsense"}], ids=str)
def test_values_outside_the_model_are_refused(world, alice, wrong):
    client = clients.messaging(world.server, checked=False)
    for call in (client.list_channel_memberships_for_app_instance_user,
                 client.list_channels_moderated_by_app_instance_user):
        with refusal("BadRequest"):
            call(ChimeBearer=alice, **wrong)


def test_joining_and_leaving_show_at_once(world, alice, bob):
    room = world.channel(alice)
    assert memberships(world, bob) == []
    world.join(room, alice, bob)
    assert arns(memberships(world, bob)) == [room]
    world.leave(room, bob, bob)
    assert memberships(world, bob) == []


def test_a_user_of_the_same_id_starts_with_no_channels(world, alice, bob):
    world.channel(alice, bob)
    world.channel(bob)
    world.identity.delete_app_instance_user(AppInstanceUserArn=bob)
    assert world.user("bob") == bob
    assert memberships(world, bob) == []
    assert moderated(world, bob) == []
