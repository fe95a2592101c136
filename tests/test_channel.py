"""Channels: create, describe, list, delete. Who may do so stands in test_roles.py."""

import re
import uuid

import pytest

from support import clients
from support.clients import BAD_MEMBER, answer_of, everything, refusal, status_of
from support.sigv4 import now

pytestmark = pytest.mark.any_engine

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def create(world, bearer, checked=True, **extra):
    extra.setdefault("ClientRequestToken", str(uuid.uuid4()))
    extra.setdefault("Name", "Room")
    return clients.messaging(world.server, checked=checked).create_channel(
        AppInstanceArn=world.arn, ChimeBearer=bearer, **extra)


def describe(world, channel, bearer):
    return world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bearer)["Channel"]


def test_create_answers_201_with_an_arn_under_a_made_uuid(world, alice):
    answer = create(world, alice)
    assert status_of(answer) == 201
    assert list(answer_of(answer)) == ["ChannelArn"]
    parent, _, channel_id = answer["ChannelArn"].rpartition("/channel/")
    assert parent == world.arn
    assert UUID.fullmatch(channel_id)


@pytest.mark.parametrize("channel_id", ["c", "general", "a:b-c_d.e@f", "x" * 64, "0" * 64])
def test_a_chosen_channel_id_is_kept(world, alice, channel_id):
    assert create(world, alice, ChannelId=channel_id)["ChannelArn"] == f"{world.arn}/channel/{channel_id}"


@pytest.mark.parametrize("channel_id", ["", "x" * 65, "-c", "c-", "a b", "a/b", "ü"])
def test_an_illegal_channel_id_is_refused(world, alice, channel_id):
    with refusal("BadRequest"):
        create(world, alice, checked=False, ChannelId=channel_id)


def test_a_taken_channel_id_is_a_conflict_and_the_first_channel_stays(world, alice, bob):
    channel = create(world, alice, ChannelId="general", Name="First")["ChannelArn"]
    with refusal("Conflict"):
        create(world, bob, ChannelId="general", Name="Second")
    assert describe(world, channel, alice)["Name"] == "First"


def test_describe_shows_what_was_created(world, alice):
    before = now(-1)
    channel = create(world, alice, Name="Größe 🎉", Metadata='{"a":\n1}', Mode="UNRESTRICTED", Privacy="PUBLIC")
    answer = world.messaging.describe_channel(ChannelArn=channel["ChannelArn"], ChimeBearer=alice)
    assert status_of(answer) == 200
    found = answer["Channel"]
    created = found.pop("CreatedTimestamp")
    assert before < created < now(1)
    assert found.pop("LastUpdatedTimestamp") == created
    assert found == {
        "ChannelArn": channel["ChannelArn"], "Name": "Größe 🎉", "Metadata": '{"a":\n1}',
        "Mode": "UNRESTRICTED", "Privacy": "PUBLIC", "CreatedBy": {"Arn": alice, "Name": "Alice"},
    }


def test_a_channel_is_restricted_and_private_unless_told_otherwise(world, alice):
    found = describe(world, create(world, alice)["ChannelArn"], alice)
    assert (found["Mode"], found["Privacy"]) == ("RESTRICTED", "PRIVATE")
    assert "Metadata" not in found
    assert "LastMessageTimestamp" not in found


def test_the_creator_is_member_and_moderator(world, alice, bob):
    channel = create(world, alice)["ChannelArn"]
    assert world.members(channel, alice) == ["alice"]
    world.join(channel, alice, bob)  # a right of moderators in a RESTRICTED channel


def test_member_arns_become_members_invited_by_the_creator(world, alice, bob, carol):
    channel = create(world, alice, MemberArns=[bob, carol])["ChannelArn"]
    assert world.members(channel, alice) == ["alice", "bob", "carol"]
    membership = world.messaging.describe_channel_membership(
        ChannelArn=channel, MemberArn=bob, ChimeBearer=alice)["ChannelMembership"]
    assert membership["InvitedBy"] == {"Arn": alice, "Name": "Alice"}
    assert membership["Type"] == "DEFAULT"


def test_moderator_arns_become_moderators_and_members(world, alice, bob, carol):
    channel = create(world, alice, ModeratorArns=[bob])["ChannelArn"]
    assert world.members(channel, alice) == ["alice", "bob"]
    world.join(channel, bob, carol)


def test_the_creator_among_the_named_members_and_moderators_is_one_member(world, alice, bob):
    channel = create(world, alice, MemberArns=[alice, bob], ModeratorArns=[alice])["ChannelArn"]
    assert world.members(channel, alice) == ["alice", "bob"]


@pytest.mark.parametrize("list_name", ["MemberArns", "ModeratorArns"])
def test_an_unknown_member_refuses_the_whole_channel(world, alice, bob, list_name):
    with refusal("Forbidden", BAD_MEMBER):
        create(world, alice, ChannelId="half", **{list_name: [bob, f"{world.arn}/user/nobody"]})
    with refusal("Forbidden"):
        describe(world, f"{world.arn}/channel/half", alice)


@pytest.mark.parametrize("list_name", ["MemberArns", "ModeratorArns"])
def test_at_most_ten_members_and_ten_moderators_are_named(world, alice, list_name):
    users = [world.user(f"user-{number}") for number in range(11)]
    create(world, alice, **{list_name: users[:10]})
    with refusal("BadRequest"):
        create(world, alice, checked=False, **{list_name: users})
    with refusal("BadRequest"):
        create(world, alice, checked=False, **{list_name: []})


@pytest.mark.parametrize("wrong", [
    {"Mode": "OPEN"}, {"Privacy": "SECRET"}, {"Name": ""}, {"Name": "x" * 257}, {"Name": "bell\x07"},
    {"Metadata": "é" * 513}, {"ClientRequestToken": "x"}, {"ClientRequestToken": "x" * 65},
    {"ClientRequestToken": "spaces are wrong"}, {"Tags": []}, {"MemberArns": ["not an arn"]},
], ids=str)
def test_values_outside_the_model_are_refused(world, alice, wrong):
    with refusal("BadRequest"):
        create(world, alice, checked=False, **wrong)


def test_values_at_the_limits_of_the_model_are_accepted(world, alice):
    create(world, alice, Name="x" * 256, Metadata="é" * 512, ClientRequestToken="x" * 64)
    create(world, alice, Name="😀" * 256, Metadata="", ClientRequestToken="xy",
           Tags=[{"Key": "team", "Value": "one"}])


def test_a_bearer_of_another_app_instance_is_forbidden(world, another_world):
    with refusal("Forbidden"):
        create(world, another_world.user("zoe"))


def test_list_shows_public_channels_as_summaries_in_order(world, alice):
    create(world, alice, ChannelId="b", Name="Bee", Privacy="PUBLIC", Metadata="m")
    create(world, alice, ChannelId="a", Name="Ay", Privacy="PUBLIC")
    create(world, alice, ChannelId="hidden", Privacy="PRIVATE")
    answer = world.messaging.list_channels(AppInstanceArn=world.arn, ChimeBearer=alice)
    assert status_of(answer) == 200
    assert answer_of(answer) == {"Channels": [
        {"ChannelArn": f"{world.arn}/channel/a", "Name": "Ay", "Mode": "RESTRICTED", "Privacy": "PUBLIC"},
        {"ChannelArn": f"{world.arn}/channel/b", "Name": "Bee", "Mode": "RESTRICTED", "Privacy": "PUBLIC",
         "Metadata": "m"},
    ]}


def test_private_channels_are_listed_for_admins_only(world, alice, bob):
    private = create(world, alice, Privacy="PRIVATE")["ChannelArn"]
    create(world, alice, Privacy="PUBLIC")
    with refusal("Forbidden"):
        world.messaging.list_channels(AppInstanceArn=world.arn, Privacy="PRIVATE", ChimeBearer=alice)
    listed = everything(world.messaging.list_channels, "Channels", AppInstanceArn=world.arn,
                        Privacy="PRIVATE", ChimeBearer=world.make_admin(bob))
    assert [channel["ChannelArn"] for channel in listed] == [private]


def test_the_last_message_timestamp_is_that_of_the_last_persistent_message(world, alice):
    channel = world.channel(alice, Privacy="PUBLIC")
    world.send(channel, alice, "one")
    world.send(channel, alice, "two")
    world.send(channel, alice, "gone", persistence="NON_PERSISTENT")
    newest = world.messages(channel, alice)[0]
    assert newest["Content"] == "two"
    found = describe(world, channel, alice)
    assert found["LastMessageTimestamp"] == newest["CreatedTimestamp"]
    assert found["LastUpdatedTimestamp"] == found["CreatedTimestamp"]
    [listed] = world.messaging.list_channels(AppInstanceArn=world.arn, ChimeBearer=alice)["Channels"]
    assert listed["LastMessageTimestamp"] == newest["CreatedTimestamp"]


def test_delete_answers_204_and_the_channel_is_gone_at_once(world, alice, bob):
    channel = world.channel(alice, bob, Privacy="PUBLIC")
    message_id = world.send(channel, alice)
    answer = world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
    assert status_of(answer) == 204
    assert answer_of(answer) == {}
    for call in (
        lambda: describe(world, channel, alice),
        lambda: world.messages(channel, bob),
        lambda: world.messaging.get_channel_message(ChannelArn=channel, MessageId=message_id, ChimeBearer=bob),
        lambda: world.send(channel, bob),
        lambda: world.members(channel, alice),
        lambda: world.join(channel, alice, bob),
        lambda: world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice),
    ):
        with refusal("Forbidden"):
            call()
    listed = world.messaging.list_channels(AppInstanceArn=world.arn, ChimeBearer=alice)["Channels"]
    assert listed == []


def test_a_missing_channel_is_forbidden(world, alice):
    missing = f"{world.arn}/channel/nowhere"
    with refusal("Forbidden"):
        describe(world, missing, alice)
    with refusal("Forbidden"):
        world.messaging.delete_channel(ChannelArn=missing, ChimeBearer=alice)


def test_a_channel_of_another_app_instance_is_forbidden(world, another_world, alice):
    zoe = another_world.user("zoe")
    channel = another_world.channel(zoe, Privacy="PUBLIC")
    with refusal("Forbidden"):
        describe(world, channel, alice)
    with refusal("Forbidden"):
        world.messaging.list_channels(AppInstanceArn=another_world.arn, ChimeBearer=alice)
