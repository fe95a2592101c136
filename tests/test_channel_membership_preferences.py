"""Preferences of a membership: what may be put, by whom, and how they end."""

import json

import pytest

from support import clients
from support.clients import NO_ACCESS, answer_of, refusal, status_of

pytestmark = pytest.mark.any_engine

RULE = json.dumps({"mention": ["Bob"]})


def put(world, channel, owner, push, bearer=None):
    return clients.messaging(world.server, checked=False).put_channel_membership_preferences(
        ChannelArn=channel, MemberArn=owner, ChimeBearer=bearer or owner,
        Preferences={} if push is None else {"PushNotifications": push})


def get(world, channel, owner, bearer=None):
    return world.messaging.get_channel_membership_preferences(
        ChannelArn=channel, MemberArn=owner, ChimeBearer=bearer or owner)


def filtered(rule):
    return {"AllowNotifications": "FILTERED", "FilterRule": rule if isinstance(rule, str) else json.dumps(rule)}


def test_all_is_allowed_until_something_is_put(world, alice, bob):
    channel = world.channel(alice, bob)
    answer = get(world, channel, bob)
    assert status_of(answer) == 200
    assert answer_of(answer) == {
        "ChannelArn": channel, "Member": {"Arn": bob, "Name": "Bob"},
        "Preferences": {"PushNotifications": {"AllowNotifications": "ALL"}},
    }


@pytest.mark.parametrize("push", [
    {"AllowNotifications": "NONE"},
    {"AllowNotifications": "ALL"},
    {"AllowNotifications": "FILTERED", "FilterRule": RULE},
    {"AllowNotifications": "NONE", "FilterRule": RULE},
], ids=str)
def test_what_was_put_is_answered_and_read_back(world, alice, bob, push):
    channel = world.channel(alice, bob)
    put(world, channel, bob, {"AllowNotifications": "FILTERED", "FilterRule": '{"old":["x"]}'})
    answer = put(world, channel, bob, push)
    assert status_of(answer) == 200
    expected = {"ChannelArn": channel, "Member": {"Arn": bob, "Name": "Bob"},
                "Preferences": {"PushNotifications": push}}
    assert answer_of(answer) == expected
    assert answer_of(get(world, channel, bob)) == expected
    assert get(world, channel, alice)["Preferences"]["PushNotifications"] == {"AllowNotifications": "ALL"}


def test_preferences_without_push_notifications_are_the_default_again(world, alice):
    channel = world.channel(alice)
    put(world, channel, alice, {"AllowNotifications": "NONE"})
    answer = put(world, channel, alice, None)
    assert answer["Preferences"] == {"PushNotifications": {"AllowNotifications": "ALL"}}
    assert get(world, channel, alice)["Preferences"] == answer["Preferences"]


@pytest.mark.parametrize("rule", [
    {"mention": ["Bob", "Björn 🎉"]},
    {"type": [{"anything-but": ["Room", "Hall"]}], "mention": ["Bob"]},
    {"$or": [{"mention": ["Bob"]}, {"type": [{"anything-but": ["Room"]}]}]},
    {"lang": ["de"], "$or": [{f"key-{number}": ["x"]} for number in range(5)]},
    {"a": [f"value-{number}" for number in range(19)]},
    {"a": ["x" * (2048 - len('{"a": [""]}'))]},
], ids=lambda rule: json.dumps(rule)[:40])
def test_rules_within_the_limits_are_accepted(world, alice, rule):
    channel = world.channel(alice)
    put(world, channel, alice, filtered(rule))
    assert get(world, channel, alice)["Preferences"]["PushNotifications"] == filtered(rule)


@pytest.mark.parametrize("push", [
    {"AllowNotifications": "FILTERED"},
    {"AllowNotifications": "SOME"},
    {"FilterRule": RULE},
    {},
    filtered(""),
    filtered("mention=Bob"),
    filtered("[]"),
    filtered({}),
    filtered({"a": "b"}),
    filtered({"a": []}),
    filtered({"a": [1]}),
    filtered({"a": [{"prefix": "b"}]}),
    filtered({"a": [{"numeric": [">", 1]}]}),
    filtered({"a": [{"exists": True}]}),
    filtered({"a": [{"anything-but": []}]}),
    filtered({"a": [{"anything-but": {"prefix": "b"}}]}),
    filtered({"a": {"b": ["c"]}}),
    filtered({"$or": []}),
    filtered({"$or": [{f"key-{number}": ["x"]} for number in range(6)]}),
    filtered({"$or": [{"$or": [{"a": ["b"]}]}]}),
    filtered({"a": [f"value-{number}" for number in range(20)]}),
    filtered({"a": ["x" * (2049 - len('{"a": [""]}'))]}),
    filtered("[" * 2000),
], ids=lambda push: str(push)[:60])
def test_what_cannot_be_applied_is_refused_and_the_old_stays(world, alice, push):
    channel = world.channel(alice)
    put(world, channel, alice, filtered(RULE))
    with refusal("BadRequest"):
        put(world, channel, alice, push)
    assert get(world, channel, alice)["Preferences"]["PushNotifications"] == filtered(RULE)


def test_the_owner_alone_reads_and_puts(world, alice, bob, carol):
    channel = world.channel(alice, bob, Privacy="PUBLIC")
    hidden, stranger = world.users("hidden", "stranger")
    world.join(channel, alice, hidden, kind="HIDDEN")
    world.make_admin(carol)
    nobody = f"{world.arn}/user/nobody"
    for bearer, owner in [(alice, bob), (carol, bob), (hidden, bob), (bob, alice), (bob, nobody),
                          (carol, carol), (stranger, stranger)]:
        with refusal("Forbidden", NO_ACCESS):
            get(world, channel, owner, bearer=bearer)
        with refusal("Forbidden", NO_ACCESS):
            put(world, channel, owner, {"AllowNotifications": "NONE"}, bearer=bearer)
    for owner in (alice, bob, hidden):
        put(world, channel, owner, {"AllowNotifications": "NONE"})


def test_preferences_end_with_the_membership(world, alice, bob):
    channel = world.channel(alice, bob)
    put(world, channel, bob, {"AllowNotifications": "NONE"})
    world.leave(channel, bob, bob)
    with refusal("Forbidden"):
        get(world, channel, bob)
    world.join(channel, alice, bob)
    assert get(world, channel, bob)["Preferences"]["PushNotifications"] == {"AllowNotifications": "ALL"}
