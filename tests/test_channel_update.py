"""UpdateChannel: what it changes, what it leaves alone, and who hears of it."""

import pytest

from support import clients
from support.clients import NO_ACCESS, answer_of, refusal, status_of
from support.world import Fence

pytestmark = pytest.mark.any_engine


def update(world, channel, bearer, checked=True, **changes):
    return clients.messaging(world.server, checked=checked).update_channel(
        ChannelArn=channel, ChimeBearer=bearer, **changes)


def describe(world, channel, bearer):
    return world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bearer)["Channel"]


@pytest.mark.parametrize("changes", [
    {"Name": "Größe 🎉"}, {"Mode": "UNRESTRICTED"}, {"Metadata": '{"a":\n1}'},
    {"Name": "x" * 256, "Mode": "RESTRICTED", "Metadata": "é" * 512},
], ids=lambda changes: "-".join(changes))
def test_what_is_named_changes_and_the_rest_stays(world, alice, changes):
    channel = world.channel(alice, name="Old", Metadata="old", Privacy="PUBLIC")
    before = describe(world, channel, alice)
    answer = update(world, channel, alice, **changes)
    assert status_of(answer) == 200
    assert answer_of(answer) == {"ChannelArn": channel}
    after = describe(world, channel, alice)
    assert after.pop("LastUpdatedTimestamp") >= before.pop("LastUpdatedTimestamp")
    assert after == before | changes


def test_empty_metadata_takes_it_away(world, alice):
    channel = world.channel(alice, Metadata="old")
    update(world, channel, alice, Metadata="")
    assert "Metadata" not in describe(world, channel, alice)


@pytest.mark.parametrize("wrong", [
    {"Name": ""}, {"Name": "x" * 257}, {"Name": "bell\x07"}, {"Mode": "OPEN"}, {"Metadata": "é" * 513},
], ids=str)
def test_values_outside_the_model_are_refused_and_nothing_changes(world, alice, wrong):
    channel = world.channel(alice)
    before = describe(world, channel, alice)
    with refusal("BadRequest"):
        update(world, channel, alice, checked=False, **wrong)
    assert describe(world, channel, alice) == before


def test_admins_and_moderators_update_and_nobody_else(world, alice, bob, carol):
    hidden, stranger = world.users("hidden", "stranger")
    channel = world.channel(alice, bob, Privacy="PUBLIC", Mode="UNRESTRICTED")
    world.join(channel, alice, hidden, kind="HIDDEN")
    for bearer in (bob, hidden, stranger):
        with refusal("Forbidden", NO_ACCESS):
            update(world, channel, bearer, Name="theirs")
    for bearer in (alice, world.make_admin(carol)):
        update(world, channel, bearer, Name=bearer.rpartition("/")[2])
        assert describe(world, channel, alice)["Name"] == bearer.rpartition("/")[2]


def test_a_missing_or_foreign_channel_is_forbidden(world, another_world, alice):
    foreign = another_world.channel(another_world.user("zoe"), Privacy="PUBLIC")
    for channel in (f"{world.arn}/channel/nowhere", foreign):
        with refusal("Forbidden"):
            update(world, channel, alice, Name="x")


@pytest.mark.two_nodes
def test_members_hear_the_whole_channel_and_strangers_nothing(world, alice, bob, carol):
    channel = world.channel(alice, bob, Metadata="m", Privacy="PUBLIC")
    world.send(channel, alice)
    fence = Fence(world, alice, bob, carol)
    sockets = [world.connect(user) for user in (alice, bob, carol)]
    update(world, channel, alice, Name="New")
    for_alice, for_bob, for_carol = fence.before(*sockets)
    assert for_carol == []
    assert [event.text for event in for_alice] == [event.text for event in for_bob]
    [event] = for_bob
    assert (event.type, event.message_type) == ("UPDATE_CHANNEL", "SYSTEM")
    assert set(event.payload) == {
        "Name", "ChannelArn", "Mode", "Privacy", "Metadata", "CreatedBy", "CreatedTimestamp",
        "LastMessageTimestamp", "LastUpdatedTimestamp"}
    assert (event.payload["Name"], event.payload["Metadata"]) == ("New", "m")


@pytest.mark.two_nodes
def test_naming_nothing_tells_nothing_and_naming_the_same_again_is_an_update(world, alice):
    channel = world.channel(alice, name="Same")
    fence = Fence(world, alice)
    socket = world.connect(alice)
    before = describe(world, channel, alice)
    assert answer_of(update(world, channel, alice)) == {"ChannelArn": channel}
    assert describe(world, channel, alice) == before
    assert fence.before(socket) == [[]]
    update(world, channel, alice, Name="Same")
    assert [event.type for event in fence.before(socket)[0]] == ["UPDATE_CHANNEL"]


def test_the_new_mode_and_name_are_seen_everywhere(world, alice, bob, carol):
    channel = world.channel(alice, bob, Privacy="PUBLIC")
    update(world, channel, alice, Mode="UNRESTRICTED", Name="New")
    world.join(channel, bob, carol)  # a right of members of an UNRESTRICTED channel
    [listed] = world.messaging.list_channels(AppInstanceArn=world.arn, ChimeBearer=carol)["Channels"]
    assert (listed["Name"], listed["Mode"], listed["Privacy"]) == ("New", "UNRESTRICTED", "PUBLIC")
