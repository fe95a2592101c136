"""Expiration settings of channels and users: put, shown, removed, refused. Their end is a matter of days, which
the tests of the rules play with a clock of their own."""

import uuid

import pytest

from support import clients
from support.clients import NO_ACCESS, answer_of, refusal, status_of

pytestmark = pytest.mark.any_engine

CREATED = {"ExpirationDays": 30, "ExpirationCriterion": "CREATED_TIMESTAMP"}
LAST_MESSAGE = {"ExpirationDays": 5475, "ExpirationCriterion": "LAST_MESSAGE_TIMESTAMP"}
NO_DAYS = [{"ExpirationDays": days, "ExpirationCriterion": "CREATED_TIMESTAMP"} for days in (0, -1, 5476)]


def put(world, channel, bearer, checked=True, **settings):
    return clients.messaging(world.server, checked=checked).put_channel_expiration_settings(
        ChannelArn=channel, ChimeBearer=bearer, **settings)


def put_of_user(world, user, checked=True, **settings):
    return clients.identity(world.server, checked=checked).put_app_instance_user_expiration_settings(
        AppInstanceUserArn=user, **settings)


def describe(world, channel, bearer):
    return world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bearer)["Channel"]


def describe_user(world, user):
    return world.identity.describe_app_instance_user(AppInstanceUserArn=user)["AppInstanceUser"]


@pytest.mark.parametrize("settings", [CREATED, LAST_MESSAGE], ids=str)
def test_a_channel_shows_the_settings_until_they_are_removed(world, alice, settings):
    made = world.channel(alice, ExpirationSettings=settings)
    assert describe(world, made, alice)["ExpirationSettings"] == settings
    channel = world.channel(alice)
    before = describe(world, channel, alice)
    assert "ExpirationSettings" not in before
    answer = put(world, channel, alice, ExpirationSettings=settings)
    assert status_of(answer) == 200
    assert answer_of(answer) == {"ChannelArn": channel, "ExpirationSettings": settings}
    assert describe(world, channel, alice) == before | {"ExpirationSettings": settings}
    assert answer_of(put(world, channel, alice)) == {"ChannelArn": channel}
    assert describe(world, channel, alice) == before


@pytest.mark.parametrize("wrong", [*NO_DAYS, CREATED | {"ExpirationCriterion": "NEVER"}, {"ExpirationDays": 1}], ids=str)
def test_wrong_settings_of_a_channel_are_refused(world, alice, wrong):
    channel = world.channel(alice)
    with refusal("BadRequest"):
        put(world, channel, alice, checked=False, ExpirationSettings=wrong)
    assert "ExpirationSettings" not in describe(world, channel, alice)


def test_admins_and_moderators_put_the_settings_of_a_channel(world, alice, bob, carol):
    channel = world.channel(alice, bob)
    with refusal("Forbidden", NO_ACCESS):
        put(world, channel, bob, ExpirationSettings=CREATED)
    world.make_admin(carol)
    for bearer in (alice, carol):
        put(world, channel, bearer, ExpirationSettings=CREATED)


def test_a_channel_needs_a_bearer(world, alice):
    channel = world.channel(alice)
    with refusal("Unauthorized"):
        world.messaging.put_channel_expiration_settings(ChannelArn=channel, ExpirationSettings=CREATED)


def test_a_user_shows_the_settings_until_they_are_removed(world, alice):
    made = world.identity.create_app_instance_user(
        AppInstanceArn=world.arn, AppInstanceUserId="guest", Name="Guest", ExpirationSettings=CREATED,
        ClientRequestToken=str(uuid.uuid4()))["AppInstanceUserArn"]
    assert describe_user(world, made)["ExpirationSettings"] == CREATED
    answer = put_of_user(world, alice, ExpirationSettings=CREATED)
    assert status_of(answer) == 200
    assert answer_of(answer) == {"AppInstanceUserArn": alice, "ExpirationSettings": CREATED}
    assert describe_user(world, alice)["ExpirationSettings"] == CREATED
    assert answer_of(put_of_user(world, alice)) == {"AppInstanceUserArn": alice}
    assert "ExpirationSettings" not in describe_user(world, alice)


@pytest.mark.parametrize("wrong", [*NO_DAYS, LAST_MESSAGE], ids=str)
def test_wrong_settings_of_a_user_are_refused(world, alice, wrong):
    with refusal("BadRequest"):
        put_of_user(world, alice, checked=False, ExpirationSettings=wrong)
    assert "ExpirationSettings" not in describe_user(world, alice)


def test_nobody_has_no_settings(world, alice):
    with refusal("Forbidden"):
        put_of_user(world, alice + "-nobody", ExpirationSettings=CREATED)
