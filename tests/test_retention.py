"""Retention settings of an app instance: put, shown, switched off, refused. What they hide is a matter of days,
which the tests of the rules play with a clock of their own."""

from datetime import datetime, timedelta, timezone

import pytest

from support import clients
from support.clients import answer_of, refusal, status_of

pytestmark = pytest.mark.any_engine

OFF = {"ChannelRetentionSettings": {}}


def days(count):
    return {"ChannelRetentionSettings": {"RetentionDays": count}}


def put(world, settings, checked=True, app_instance=None):
    return clients.identity(world.server, checked=checked).put_app_instance_retention_settings(
        AppInstanceArn=app_instance or world.arn, AppInstanceRetentionSettings=settings)


def get(world):
    return answer_of(world.identity.get_app_instance_retention_settings(AppInstanceArn=world.arn))


def test_settings_that_were_never_put_are_empty(another_world):
    assert get(another_world) == {"AppInstanceRetentionSettings": {}}


@pytest.mark.parametrize("count", [1, 365, 5475])
def test_settings_are_answered_with_the_time_from_which_messages_go(world, count):
    put(world, OFF)
    answer = put(world, days(count))
    assert status_of(answer) == 200
    assert answer["AppInstanceRetentionSettings"] == days(count)
    in_30_days = datetime.now(timezone.utc) + timedelta(days=30)
    assert abs(answer["InitiateDeletionTimestamp"] - in_30_days) < timedelta(minutes=1)
    assert get(world) == answer_of(answer)


def test_retention_is_switched_off(world):
    put(world, days(9))
    assert answer_of(put(world, OFF)) == {"AppInstanceRetentionSettings": OFF}
    assert get(world) == {"AppInstanceRetentionSettings": OFF}


@pytest.mark.parametrize("wrong", [days(0), days(-1), days(5476)], ids=str)
def test_wrong_settings_are_refused(world, wrong):
    before = get(world)
    with refusal("BadRequest"):
        put(world, wrong, checked=False)
    assert get(world) == before


def test_messages_within_their_days_stay(world, alice):
    put(world, days(1))
    channel = world.channel(alice)
    sent = world.send(channel, alice, "hello")
    listed = world.messaging.list_channel_messages(ChannelArn=channel, ChimeBearer=alice)["ChannelMessages"]
    assert [message["Content"] for message in listed] == ["hello"]
    assert sent


def test_an_app_instance_that_is_not_there_has_no_settings(world):
    with refusal("Forbidden"):
        put(world, days(1), app_instance=world.arn[:-1] + ("0" if world.arn[-1] != "0" else "1"))
