"""SearchChannels: channels by their members, for their members and for admins."""

import pytest

from support import clients
from support.clients import BAD_BEARER, answer_of, everything, refusal, status_of

pytestmark = pytest.mark.any_engine


def field(operator, *values):
    return {"Key": "MEMBERS", "Operator": operator, "Values": list(values)}


def includes(*values):
    return field("INCLUDES", *values)


def equals(*values):
    return field("EQUALS", *values)


def search(world, bearer, *fields, **arguments):
    found = everything(world.messaging.search_channels, "Channels", ChimeBearer=bearer, Fields=list(fields),
                       **arguments)
    return [channel["ChannelArn"] for channel in found]


@pytest.fixture
def admin(world):
    return world.make_admin(world.user("admin"))


def test_a_channel_is_found_as_a_summary(world, alice, bob):
    channel = world.channel(alice, bob, name="Größe 🎉", Metadata="m", Privacy="PUBLIC")
    world.send(channel, alice)
    answer = world.messaging.search_channels(ChimeBearer=alice, Fields=[equals(alice, bob)])
    assert status_of(answer) == 200
    assert answer_of(answer) == {"Channels": [{
        "ChannelArn": channel, "Name": "Größe 🎉", "Mode": "RESTRICTED", "Privacy": "PUBLIC", "Metadata": "m",
        "LastMessageTimestamp": world.messages(channel, alice)[0]["CreatedTimestamp"],
    }]}


def test_includes_asks_for_all_and_equals_for_nobody_else(world, alice, bob, carol, admin):
    alone, pair, trio, others = (world.channel(alice), world.channel(alice, bob), world.channel(alice, bob, carol),
                                 world.channel(bob, carol))
    for fields, expected in [
        ([includes(alice)], [alone, pair, trio]),
        ([includes(bob, alice)], [pair, trio]),
        ([includes(carol, alice, bob)], [trio]),
        ([includes(alice), includes(carol)], [trio]),
        ([equals(alice)], [alone]),
        ([equals(bob, alice)], [pair]),
        ([equals(alice, bob, alice)], [pair]),
        ([equals(alice, carol)], []),
        ([equals(bob, carol)], [others]),
        ([equals(alice, bob), includes(bob)], [pair]),
        ([equals(alice, bob), includes(carol)], []),
        ([equals(alice), equals(alice, bob)], []),
    ]:
        for size in (1, 2, 50):
            assert search(world, admin, *fields, MaxResults=size) == expected, fields
        assert search(world, alice, *fields) == [channel for channel in expected if channel != others]


def test_users_find_their_own_channels_alone(world, alice, bob, carol, admin):
    public = world.channel(alice, bob, Privacy="PUBLIC")
    assert search(world, carol, includes(bob)) == []
    assert search(world, bob, includes(alice)) == [public]
    assert search(world, admin, includes(alice)) == [public]
    world.join(public, alice, carol, kind="HIDDEN")
    assert search(world, carol, equals(alice, bob)) == [public]
    assert search(world, carol, includes(carol)) == []


def test_hidden_members_neither_count_nor_are_found(world, alice, bob, carol, admin):
    channel = world.channel(alice, bob)
    world.join(channel, alice, carol, kind="HIDDEN")
    for bearer in (alice, bob, admin):
        assert search(world, bearer, includes(carol)) == []
        assert search(world, bearer, equals(alice, bob, carol)) == []
        assert search(world, bearer, equals(alice, bob)) == [channel]
    world.leave(channel, alice, carol)
    world.join(channel, alice, carol)
    assert search(world, alice, includes(carol)) == [channel]
    assert search(world, alice, equals(alice, bob)) == []


def test_changes_of_the_members_show_at_once(world, alice, bob, carol):
    channel = world.channel(alice, bob)
    world.join(channel, alice, carol)
    assert search(world, alice, equals(alice, bob)) == []
    assert search(world, alice, equals(alice, bob, carol)) == [channel]
    world.leave(channel, carol, carol)
    assert search(world, alice, equals(alice, bob)) == [channel]
    world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
    assert search(world, alice, includes(alice)) == []


def test_nobody_is_in_no_channel(world, another_world, alice, bob):
    world.channel(alice, bob)
    for stranger in (f"{world.arn}/user/nobody", f"{world.arn}/bot/nobody", another_world.user("bob")):
        assert search(world, alice, includes(alice, stranger)) == []
        assert search(world, alice, equals(stranger)) == []


@pytest.mark.parametrize("wrong", [
    [], [equals()], [{"Key": "NAME", "Operator": "EQUALS", "Values": ["x"]}],
    [{"Key": "MEMBERS", "Operator": "LIKE", "Values": ["x"]}], [equals("")], [equals("x" * 513)], [equals("bob")],
    [equals(*["x"] * 21)], [equals("x")] * 21, [{"Key": "MEMBERS", "Operator": "EQUALS"}],
], ids=lambda wrong: str(wrong)[:50])
def test_fields_outside_the_model_are_refused(world, alice, wrong):
    with refusal("BadRequest"):
        clients.messaging(world.server, checked=False).search_channels(ChimeBearer=alice, Fields=wrong)


def test_an_arn_of_something_else_is_refused(world, alice):
    for other in (world.arn, world.channel(alice)):
        with refusal("BadRequest"):
            search(world, alice, includes(other))


def test_the_bearer_is_needed_although_the_model_says_otherwise(world, alice):
    client = clients.messaging(world.server, checked=False)
    with refusal("Unauthorized", BAD_BEARER):
        client.search_channels(Fields=[includes(alice)])
    with refusal("Unauthorized", BAD_BEARER):
        client.search_channels(Fields=[includes(alice)], ChimeBearer=f"{world.arn}/user/nobody")


def test_pages_hold_every_channel_once_and_tokens_belong_to_their_search(world, alice, bob, admin):
    channels = [world.channel(alice, *[bob] * (index % 3 != 0)) for index in range(12)]
    both = [channel for index, channel in enumerate(channels) if index % 3 != 0]
    for size in (1, 3, 8, 50):
        assert search(world, bob, includes(alice, bob), MaxResults=size) == both
    first = world.messaging.search_channels(ChimeBearer=alice, Fields=[includes(bob)], MaxResults=1)
    token = first["NextToken"]
    assert search(world, alice, includes(bob), NextToken=token) == both[1:]
    for bearer, fields in [(bob, [includes(bob)]), (admin, [includes(bob)]), (alice, [includes(alice)]),
                           (alice, [equals(bob)]), (alice, [includes(bob), includes(bob)])]:
        with refusal("BadRequest"):
            search(world, bearer, *fields, NextToken=token)


def test_twenty_fields_of_twenty_values_are_answered(world, alice, bob):
    channel = world.channel(alice, bob)
    assert search(world, alice, *[includes(*[alice, bob] * 10)] * 20) == [channel]
