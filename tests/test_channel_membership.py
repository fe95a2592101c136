"""Channel memberships: create, describe, list, delete. Who may do so stands in test_roles.py."""

import pytest

from support import clients
from support.clients import BAD_MEMBER, answer_of, refusal, status_of
from support.sigv4 import now

pytestmark = pytest.mark.any_engine


def describe(world, channel, member, bearer):
    return world.messaging.describe_channel_membership(
        ChannelArn=channel, MemberArn=member, ChimeBearer=bearer)["ChannelMembership"]


def test_create_answers_201_with_the_channel_and_the_member(world, alice, bob):
    channel = world.channel(alice)
    answer = world.join(channel, alice, bob)
    assert status_of(answer) == 201
    assert answer_of(answer) == {"ChannelArn": channel, "Member": {"Arn": bob, "Name": "Bob"}}


def test_describe_shows_the_membership_and_who_invited(world, alice, bob):
    channel = world.channel(alice)
    before = now(-1)
    world.join(channel, alice, bob)
    found = describe(world, channel, bob, alice)
    created = found.pop("CreatedTimestamp")
    assert before < created < now(1)
    assert found.pop("LastUpdatedTimestamp") == created
    assert found == {
        "ChannelArn": channel, "Type": "DEFAULT", "Member": {"Arn": bob, "Name": "Bob"},
        "InvitedBy": {"Arn": alice, "Name": "Alice"},
    }


def test_the_creator_invited_himself(world, alice):
    assert describe(world, world.channel(alice), alice, alice)["InvitedBy"] == {"Arn": alice, "Name": "Alice"}


def test_list_shows_members_by_arn_and_name_only(world, alice, bob):
    channel = world.channel(alice, bob)
    answer = world.messaging.list_channel_memberships(ChannelArn=channel, ChimeBearer=bob)
    assert status_of(answer) == 200
    assert set(answer_of(answer)) == {"ChannelArn", "ChannelMemberships"}
    assert answer["ChannelArn"] == channel
    assert sorted(answer["ChannelMemberships"], key=str) == [
        {"Member": {"Arn": alice, "Name": "Alice"}}, {"Member": {"Arn": bob, "Name": "Bob"}}]


def test_hidden_members_are_listed_only_when_asked_for(world, alice, bob, carol):
    channel = world.channel(alice, bob)
    world.join(channel, alice, carol, kind="HIDDEN")
    assert world.members(channel, alice) == ["alice", "bob"]
    assert world.members(channel, alice, Type="DEFAULT") == ["alice", "bob"]
    assert world.members(channel, alice, Type="HIDDEN") == ["carol"]
    assert describe(world, channel, carol, alice)["Type"] == "HIDDEN"


def test_a_member_twice_is_a_conflict_whatever_the_type(world, alice, bob):
    channel = world.channel(alice, bob)
    for kind in ("DEFAULT", "HIDDEN"):
        with refusal("Conflict"):
            world.join(channel, alice, bob, kind=kind)
    assert describe(world, channel, bob, alice)["Type"] == "DEFAULT"


def test_an_unknown_member_is_refused_with_the_known_text(world, another_world, alice):
    channel = world.channel(alice)
    for stranger in (f"{world.arn}/user/nobody", another_world.user("zoe")):
        with refusal("Forbidden", BAD_MEMBER):
            world.join(channel, alice, stranger)
    assert world.members(channel, alice) == ["alice"]


@pytest.mark.parametrize("wrong", [{"Type": "SECRET"}, {"MemberArn": "nobody"}, {"MemberArn": ""}], ids=str)
def test_values_outside_the_model_are_refused(world, alice, bob, wrong):
    channel = world.channel(alice)
    arguments = {"ChannelArn": channel, "MemberArn": bob, "Type": "DEFAULT", "ChimeBearer": alice} | wrong
    with refusal("BadRequest"):
        clients.messaging(world.server, checked=False).create_channel_membership(**arguments)


def test_describing_who_is_not_a_member_is_not_found(world, alice, bob):
    channel = world.channel(alice)
    with refusal("NotFound"):
        describe(world, channel, bob, alice)
    with refusal("NotFound"):
        describe(world, channel, f"{world.arn}/user/nobody", alice)


def test_delete_answers_204_and_ends_the_membership(world, alice, bob):
    channel = world.channel(alice, bob)
    answer = world.messaging.delete_channel_membership(ChannelArn=channel, MemberArn=bob, ChimeBearer=alice)
    assert status_of(answer) == 204
    assert answer_of(answer) == {}
    with refusal("NotFound"):
        describe(world, channel, bob, alice)
    with refusal("Forbidden"):
        world.send(channel, bob)


def test_deleting_an_absent_membership_is_forbidden(world, alice, bob):
    channel = world.channel(alice)
    with refusal("Forbidden"):
        world.leave(channel, alice, bob)


def test_who_left_may_be_added_again(world, alice, bob):
    channel = world.channel(alice, bob)
    world.leave(channel, bob, bob)
    world.join(channel, alice, bob)
    assert world.members(channel, bob) == ["alice", "bob"]


def test_a_new_member_sees_the_whole_history(world, alice, bob):
    channel = world.channel(alice)
    world.send(channel, alice, "before bob came")
    world.join(channel, alice, bob)
    assert world.contents(channel, bob) == ["before bob came"]


def test_a_moderator_who_leaves_keeps_the_role_but_does_not_send(world, alice, bob, carol):
    channel = world.channel(alice, bob)
    world.leave(channel, alice, alice)
    world.join(channel, alice, carol)
    assert world.members(channel, alice) == ["bob", "carol"]
    with refusal("Forbidden"):
        world.send(channel, alice)
