"""Admins of an app instance: describe, list, demote. Their creation is in test_app_instance_user.py."""

import pytest

from support.clients import answer_of, everything, pages, refusal, status_of
from support.sigv4 import now

pytestmark = pytest.mark.any_engine


def describe(world, admin):
    return world.identity.describe_app_instance_admin(AppInstanceArn=world.arn, AppInstanceAdminArn=admin)


def demote(world, admin):
    return world.identity.delete_app_instance_admin(AppInstanceArn=world.arn, AppInstanceAdminArn=admin)


def listed(world, **arguments):
    return everything(world.identity.list_app_instance_admins, "AppInstanceAdmins",
                      AppInstanceArn=world.arn, **arguments)


def test_describe_shows_who_is_admin_of_what_since_when(world, alice):
    before = now(-1)
    world.make_admin(alice)
    found = describe(world, alice)
    assert status_of(found) == 200
    admin = found["AppInstanceAdmin"]
    assert before < admin.pop("CreatedTimestamp") < now(1)
    assert admin == {"Admin": {"Arn": alice, "Name": "Alice"}, "AppInstanceArn": world.arn}


def test_list_shows_users_and_bots_under_their_names_of_today(world, alice, bob):
    bot = world.bot("Helper")
    for admin in (bot, alice):
        world.make_admin(admin)
    world.identity.update_app_instance_user(AppInstanceUserArn=alice, Name="Alice II", Metadata="")
    answer = world.identity.list_app_instance_admins(AppInstanceArn=world.arn)
    assert status_of(answer) == 200
    assert sorted(answer_of(answer)) == ["AppInstanceAdmins", "AppInstanceArn"]
    assert answer["AppInstanceArn"] == world.arn
    expected = [{"Admin": {"Arn": alice, "Name": "Alice II"}}, {"Admin": {"Arn": bot, "Name": "Helper"}}]
    assert sorted(answer["AppInstanceAdmins"], key=lambda item: item["Admin"]["Name"]) == expected
    assert describe(world, alice)["AppInstanceAdmin"]["Admin"]["Name"] == "Alice II"


def test_lists_are_paged_and_a_token_is_for_its_list_alone(world, another_world):
    admins = [world.make_admin(world.user(f"admin-{number}")) for number in range(7)]
    for size in (1, 3, 7, 50):
        found = list(pages(world.identity.list_app_instance_admins, "AppInstanceAdmins",
                           AppInstanceArn=world.arn, MaxResults=size))
        assert all(len(page) <= size for page in found)
        assert [item["Admin"]["Arn"] for page in found for item in page] == admins, size
    token = world.identity.list_app_instance_admins(AppInstanceArn=world.arn, MaxResults=1)["NextToken"]
    with refusal("BadRequest"):
        world.identity.list_app_instance_admins(AppInstanceArn=another_world.arn, NextToken=token)


def test_a_demoted_admin_stays_a_user_without_the_role(world, alice, bob):
    channel = world.channel(alice)
    world.make_admin(bob)
    assert world.messages(channel, bob) == []
    answer = demote(world, bob)
    assert status_of(answer) == 204
    assert answer_of(answer) == {}
    with refusal("Forbidden"):
        world.messages(channel, bob)
    with refusal("Forbidden"):
        world.messaging.list_channels(AppInstanceArn=world.arn, Privacy="PRIVATE", ChimeBearer=bob)
    assert listed(world) == []
    assert world.identity.describe_app_instance_user(AppInstanceUserArn=bob)["AppInstanceUser"]["Name"] == "Bob"
    world.make_admin(bob)
    assert world.messages(channel, bob) == []


def test_who_is_no_admin_is_forbidden_to_describe_and_to_demote(world, another_world, alice):
    for stranger in (alice, f"{world.arn}/user/nobody", another_world.user("zoe"), world.arn):
        for call in (describe, demote):
            with refusal("Forbidden"):
                call(world, stranger)


def test_a_deleted_user_is_no_admin_and_neither_is_his_successor(world, alice):
    world.make_admin(alice)
    world.identity.delete_app_instance_user(AppInstanceUserArn=alice)
    assert listed(world) == []
    assert world.user("alice") == alice
    assert listed(world) == []
    with refusal("Forbidden"):
        describe(world, alice)


def test_a_demotion_frees_the_place_of_the_hundredth(world):
    for number in range(100):
        world.make_admin(world.user(f"admin-{number}"))
    last = world.user("one-too-many")
    with refusal("ResourceLimitExceeded"):
        world.make_admin(last)
    demote(world, f"{world.arn}/user/admin-3")
    world.make_admin(last)
    assert len(listed(world)) == 100
