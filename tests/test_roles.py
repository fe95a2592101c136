"""The role table of the channel operations: who may do what, in every kind of channel.

Each row names the actors who may; everybody else is answered 403 with the known text. The actors:
an app instance admin who is no member, a moderator (the creator, who is a member), a member, a hidden
member, and a stranger of the same app instance.
"""

import itertools

import pytest

from support.clients import NO_ACCESS, refusal

pytestmark = pytest.mark.any_engine

ACTORS = ("admin", "moderator", "member", "hidden", "stranger")
INSIDERS = ("admin", "moderator", "member", "hidden")
PRIVACY = ("PRIVATE", "PUBLIC")
MODE = ("RESTRICTED", "UNRESTRICTED")


class Cast:
    """One channel of a kind with one actor of each role, a guest who is in it and a newcomer who is not."""

    def __init__(self, world, privacy, mode):
        self.world = world
        for name in (*ACTORS, "guest", "newcomer"):
            setattr(self, name, world.user(name))
        world.make_admin(self.admin)
        self.channel = world.channel(self.moderator, self.member, self.guest, Privacy=privacy, Mode=mode)
        world.join(self.channel, self.moderator, self.hidden, kind="HIDDEN")
        self.message = world.send(self.channel, self.moderator, "hello")


def describe_channel(cast, actor):
    cast.world.messaging.describe_channel(ChannelArn=cast.channel, ChimeBearer=actor)


def delete_channel(cast, actor):
    cast.world.messaging.delete_channel(ChannelArn=cast.channel, ChimeBearer=actor)


def add_somebody(cast, actor):
    cast.world.join(cast.channel, actor, cast.newcomer)


def add_a_hidden_member(cast, actor):
    cast.world.join(cast.channel, actor, cast.newcomer, kind="HIDDEN")


def remove_somebody(cast, actor):
    cast.world.leave(cast.channel, actor, cast.guest)


def list_members(cast, actor):
    cast.world.messaging.list_channel_memberships(ChannelArn=cast.channel, ChimeBearer=actor)


def list_hidden_members(cast, actor):
    cast.world.messaging.list_channel_memberships(ChannelArn=cast.channel, Type="HIDDEN", ChimeBearer=actor)


def describe_a_member(cast, actor):
    cast.world.messaging.describe_channel_membership(
        ChannelArn=cast.channel, MemberArn=cast.guest, ChimeBearer=actor)


def send_a_message(cast, actor):
    cast.world.send(cast.channel, actor)


def send_an_unstored_message(cast, actor):
    cast.world.send(cast.channel, actor, persistence="NON_PERSISTENT")


def get_a_message(cast, actor):
    cast.world.messaging.get_channel_message(
        ChannelArn=cast.channel, MessageId=cast.message, ChimeBearer=actor)


def add_a_batch(cast, actor):
    cast.world.messaging.batch_create_channel_membership(
        ChannelArn=cast.channel, MemberArns=[cast.newcomer], ChimeBearer=actor)


def list_moderators(cast, actor):
    cast.world.messaging.list_channel_moderators(ChannelArn=cast.channel, ChimeBearer=actor)


def describe_a_moderator(cast, actor):
    cast.world.messaging.describe_channel_moderator(
        ChannelArn=cast.channel, ChannelModeratorArn=cast.moderator, ChimeBearer=actor)


def make_a_moderator(cast, actor):
    cast.world.messaging.create_channel_moderator(
        ChannelArn=cast.channel, ChannelModeratorArn=cast.guest, ChimeBearer=actor)


def remove_a_moderator(cast, actor):
    cast.world.messaging.delete_channel_moderator(
        ChannelArn=cast.channel, ChannelModeratorArn=cast.moderator, ChimeBearer=actor)


def list_bans(cast, actor):
    cast.world.messaging.list_channel_bans(ChannelArn=cast.channel, ChimeBearer=actor)


def ban_somebody(cast, actor):
    cast.world.messaging.create_channel_ban(
        ChannelArn=cast.channel, MemberArn=cast.guest, ChimeBearer=actor)


def list_messages(cast, actor):
    cast.world.messaging.list_channel_messages(ChannelArn=cast.channel, ChimeBearer=actor)


def allowed(action, privacy, mode):
    """The table."""
    reading = ACTORS if privacy == "PUBLIC" else INSIDERS
    adding = ("admin", "moderator", "member") if mode == "UNRESTRICTED" else ("admin", "moderator")
    return {
        describe_channel: reading,
        list_members: reading,
        describe_a_member: reading,
        get_a_message: reading,
        list_messages: reading,
        list_hidden_members: ("admin", "moderator"),
        add_somebody: adding,
        add_a_batch: adding,
        list_moderators: ("admin", "moderator"),
        describe_a_moderator: ("admin", "moderator"),
        make_a_moderator: ("admin", "moderator"),
        remove_a_moderator: ("admin", "moderator"),
        list_bans: ("admin", "moderator"),
        ban_somebody: ("admin", "moderator"),
        add_a_hidden_member: ("admin", "moderator"),
        remove_somebody: ("admin", "moderator"),
        send_a_message: ("moderator", "member"),
        send_an_unstored_message: ("moderator", "member"),
        delete_channel: ("admin", "moderator"),
    }[action]


READS = (describe_channel, list_members, list_hidden_members, describe_a_member, get_a_message, list_messages,
         list_moderators, describe_a_moderator, list_bans)
WRITES = (add_somebody, add_a_batch, add_a_hidden_member, remove_somebody, make_a_moderator, remove_a_moderator,
          ban_somebody, send_a_message, send_an_unstored_message, delete_channel)


@pytest.fixture(params=itertools.product(PRIVACY, MODE), ids=lambda kind: f"{kind[0]}-{kind[1]}")
def cast(request, world):
    cast = Cast(world, *request.param)
    cast.kind = request.param
    return cast


def check(cast, action, actor_name):
    actor = getattr(cast, actor_name)
    if actor_name in allowed(action, *cast.kind):
        action(cast, actor)
    else:
        with refusal("Forbidden", NO_ACCESS):
            action(cast, actor)


def test_reads_follow_the_table(cast):
    for action, actor_name in itertools.product(READS, ACTORS):
        check(cast, action, actor_name)


@pytest.mark.parametrize("action", WRITES, ids=lambda action: action.__name__)
def test_writes_refuse_everybody_whom_the_table_does_not_name(cast, action):
    for actor_name in sorted(set(ACTORS) - set(allowed(action, *cast.kind))):
        check(cast, action, actor_name)
    members = cast.world.members(cast.channel, cast.admin)
    assert members == ["guest", "member", "moderator"]
    assert cast.world.contents(cast.channel, cast.admin) == ["hello"]


ACCEPTED = [
    (privacy, mode, action, actor)
    for privacy, mode in itertools.product(PRIVACY, MODE)
    for action in WRITES
    for actor in allowed(action, privacy, mode)
]


@pytest.mark.parametrize(
    "privacy, mode, action, actor_name", ACCEPTED,
    ids=[f"{privacy}-{mode}-{action.__name__}-{actor}" for privacy, mode, action, actor in ACCEPTED])
def test_writes_accept_whom_the_table_names(world, privacy, mode, action, actor_name):
    cast = Cast(world, privacy, mode)
    action(cast, getattr(cast, actor_name))


def test_anybody_joins_a_public_channel_by_himself_and_nobody_a_private_one(cast):
    if cast.kind[0] == "PUBLIC":
        cast.world.join(cast.channel, cast.stranger, cast.stranger)
        assert "stranger" in cast.world.members(cast.channel, cast.stranger)
        cast.world.send(cast.channel, cast.stranger)
    else:
        with refusal("Forbidden", NO_ACCESS):
            cast.world.join(cast.channel, cast.stranger, cast.stranger)


def test_nobody_joins_as_a_hidden_member_by_himself(cast):
    with refusal("Forbidden", NO_ACCESS):
        cast.world.join(cast.channel, cast.stranger, cast.stranger, kind="HIDDEN")


@pytest.mark.parametrize("actor_name", ["moderator", "member", "hidden"])
def test_every_member_may_leave(cast, actor_name):
    actor = getattr(cast, actor_name)
    cast.world.leave(cast.channel, actor, actor)
    with refusal("Forbidden", NO_ACCESS):
        cast.world.send(cast.channel, actor)


def test_an_admin_sends_once_he_is_a_member(cast):
    cast.world.join(cast.channel, cast.admin, cast.admin)
    cast.world.send(cast.channel, cast.admin, "now I may")
    assert cast.world.contents(cast.channel, cast.admin) == ["now I may", "hello"]


def test_the_admin_of_another_app_instance_is_a_stranger(cast, another_world):
    outsider = another_world.make_admin(another_world.user("outsider"))
    for action in (*READS, *WRITES):
        with refusal("Forbidden"):
            action(cast, outsider)
