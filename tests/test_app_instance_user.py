"""App instance users: create, describe, list, delete; admins of an app instance."""

import uuid

import pytest

from support import clients
from support.clients import answer_of, everything, refusal, status_of
from support.sigv4 import now

pytestmark = pytest.mark.any_engine


def create(world, user_id, **extra):
    extra.setdefault("ClientRequestToken", str(uuid.uuid4()))
    return world.identity.create_app_instance_user(
        AppInstanceArn=world.arn, AppInstanceUserId=user_id, Name=extra.pop("Name", "Somebody"), **extra)


def test_create_answers_201_with_the_arn_of_the_chosen_id(world):
    answer = create(world, "alice")
    assert status_of(answer) == 201
    assert answer_of(answer) == {"AppInstanceUserArn": f"{world.arn}/user/alice"}


@pytest.mark.parametrize("user_id", [
    "a", "A1", "x" * 64, "alice@example.org", "us-east-1:0f6b3c1e-9c1a-4f0e-8b5a-000000000000", "a:b-c_d.e@f",
])
def test_legal_ids_are_kept_as_they_are(world, user_id):
    arn = create(world, user_id)["AppInstanceUserArn"]
    assert arn == f"{world.arn}/user/{user_id}"
    assert world.identity.describe_app_instance_user(AppInstanceUserArn=arn)["AppInstanceUser"][
        "AppInstanceUserArn"] == arn


def test_ids_that_differ_in_case_are_two_users(world):
    assert create(world, "alice")["AppInstanceUserArn"] != create(world, "Alice")["AppInstanceUserArn"]


@pytest.mark.parametrize("user_id", [
    "", "x" * 65, "-a", "a-", "a b", "a/b", "ä", ".a", "a\n", "a#b",
])
def test_illegal_ids_are_refused(world, user_id):
    with refusal("BadRequest"):
        clients.identity(world.server, checked=False).create_app_instance_user(
            AppInstanceArn=world.arn, AppInstanceUserId=user_id, Name="x", ClientRequestToken="token")
    assert everything(world.identity.list_app_instance_users, "AppInstanceUsers", AppInstanceArn=world.arn) == []


@pytest.mark.parametrize("name", ["Ada 👋 Lovelace", "名前", "x" * 100, "😀" * 100, " padded "])
def test_names_hold_any_printable_text_of_100_characters(world, name):
    arn = create(world, "named", Name=name)["AppInstanceUserArn"]
    assert world.identity.describe_app_instance_user(AppInstanceUserArn=arn)["AppInstanceUser"]["Name"] == name


@pytest.mark.parametrize("name", ["", " ", "\t\n", "x" * 101])
def test_blank_and_long_names_are_refused(world, name):
    with refusal("BadRequest"):
        clients.identity(world.server, checked=False).create_app_instance_user(
            AppInstanceArn=world.arn, AppInstanceUserId="a", Name=name, ClientRequestToken="token")


def test_describe_shows_what_was_created(world):
    before = now(-1)
    arn = create(world, "alice", Name="Alice", Metadata="line one\nline two")["AppInstanceUserArn"]
    found = world.identity.describe_app_instance_user(AppInstanceUserArn=arn)
    assert status_of(found) == 200
    user = found["AppInstanceUser"]
    created = user.pop("CreatedTimestamp")
    assert before < created < now(1)
    assert user.pop("LastUpdatedTimestamp") == created
    assert user == {"AppInstanceUserArn": arn, "Name": "Alice", "Metadata": "line one\nline two"}


def test_metadata_is_at_most_1024_bytes_of_utf8(world):
    create(world, "fits", Metadata="é" * 512)
    with refusal("BadRequest"):
        create(world, "over", Metadata="é" * 513)


def test_list_shows_summaries_of_this_app_instance_only(world, server):
    create(world, "alice", Name="Alice", Metadata="m")
    create(world, "bob", Name="Bob")
    answer = world.identity.list_app_instance_users(AppInstanceArn=world.arn)
    assert status_of(answer) == 200
    assert answer_of(answer) == {
        "AppInstanceArn": world.arn,
        "AppInstanceUsers": [
            {"AppInstanceUserArn": f"{world.arn}/user/alice", "Name": "Alice", "Metadata": "m"},
            {"AppInstanceUserArn": f"{world.arn}/user/bob", "Name": "Bob"},
        ],
    }


def test_an_id_that_is_taken_is_a_conflict(world, alice):
    with refusal("Conflict"):
        create(world, "alice")
    assert world.identity.describe_app_instance_user(AppInstanceUserArn=alice)["AppInstanceUser"]["Name"] == "Alice"


def test_a_user_of_a_missing_app_instance_is_forbidden(world):
    with refusal("Forbidden"):
        world.identity.create_app_instance_user(
            AppInstanceArn=world.arn[:-1] + ("0" if world.arn[-1] != "0" else "1"),
            AppInstanceUserId="alice", Name="Alice", ClientRequestToken="token")


def test_delete_answers_204_and_the_user_is_gone_at_once(world, alice, bob):
    channel = world.channel(alice, bob)
    answer = world.identity.delete_app_instance_user(AppInstanceUserArn=bob)
    assert status_of(answer) == 204
    assert answer_of(answer) == {}
    with refusal("Forbidden"):
        world.identity.describe_app_instance_user(AppInstanceUserArn=bob)
    with refusal("Unauthorized", clients.BAD_BEARER):
        world.messaging.list_channel_messages(ChannelArn=channel, ChimeBearer=bob)
    assert world.members(channel, alice) == ["alice"]
    with refusal("NotFound"):
        world.messaging.describe_channel_membership(ChannelArn=channel, MemberArn=bob, ChimeBearer=alice)
    with refusal("Forbidden"):
        world.identity.delete_app_instance_user(AppInstanceUserArn=bob)


def test_messages_of_a_deleted_user_stay_with_his_name(world, alice, bob):
    channel = world.channel(alice, bob)
    world.send(channel, bob, "from bob")
    world.identity.delete_app_instance_user(AppInstanceUserArn=bob)
    [message] = world.messages(channel, alice)
    assert message["Sender"] == {"Arn": bob, "Name": "Bob"}


def test_a_missing_user_is_forbidden(world):
    missing = f"{world.arn}/user/nobody"
    with refusal("Forbidden"):
        world.identity.describe_app_instance_user(AppInstanceUserArn=missing)
    with refusal("Forbidden"):
        world.identity.delete_app_instance_user(AppInstanceUserArn=missing)


def test_create_admin_answers_the_identity_and_the_app_instance(world, alice):
    answer = world.identity.create_app_instance_admin(AppInstanceArn=world.arn, AppInstanceAdminArn=alice)
    assert status_of(answer) == 201
    assert answer_of(answer) == {
        "AppInstanceAdmin": {"Arn": alice, "Name": "Alice"}, "AppInstanceArn": world.arn}


def test_an_admin_twice_is_a_conflict(world, alice):
    world.make_admin(alice)
    with refusal("Conflict"):
        world.make_admin(alice)


def test_only_a_live_user_of_the_same_app_instance_becomes_admin(world, another_world):
    for stranger in (f"{world.arn}/user/nobody", another_world.user("zoe"), world.arn):
        with refusal("Forbidden", clients.BAD_MEMBER):
            world.make_admin(stranger)


def test_the_101st_admin_is_refused_and_a_deleted_user_frees_the_place(world):
    for number in range(100):
        world.make_admin(world.user(f"admin-{number}"))
    last = world.user("one-too-many")
    with refusal("ResourceLimitExceeded"):
        world.make_admin(last)
    world.identity.delete_app_instance_user(AppInstanceUserArn=f"{world.arn}/user/admin-7")
    world.make_admin(last)


def test_update_replaces_name_and_metadata(world):
    arn = create(world, "alice", Name="Alice", Metadata="kept?")["AppInstanceUserArn"]
    created = world.identity.describe_app_instance_user(AppInstanceUserArn=arn)["AppInstanceUser"]["CreatedTimestamp"]
    answer = world.identity.update_app_instance_user(AppInstanceUserArn=arn, Name="Алиса", Metadata="m")
    assert status_of(answer) == 200
    assert answer_of(answer) == {"AppInstanceUserArn": arn}
    user = world.identity.describe_app_instance_user(AppInstanceUserArn=arn)["AppInstanceUser"]
    assert user.pop("LastUpdatedTimestamp") > created
    assert user == {"AppInstanceUserArn": arn, "Name": "Алиса", "Metadata": "m", "CreatedTimestamp": created}
    world.identity.update_app_instance_user(AppInstanceUserArn=arn, Name="Алиса", Metadata="")
    assert "Metadata" not in world.identity.describe_app_instance_user(AppInstanceUserArn=arn)["AppInstanceUser"]


def test_a_new_name_stands_in_lists_and_new_messages_and_not_in_old_ones(world, alice, bob):
    channel = world.channel(alice, bob)
    world.send(channel, bob, "before")
    world.identity.update_app_instance_user(AppInstanceUserArn=bob, Name="Robert", Metadata="")
    world.send(channel, bob, "after")
    assert [message["Sender"]["Name"] for message in world.messages(channel, alice)] == ["Robert", "Bob"]
    listed = world.messaging.list_channel_memberships(ChannelArn=channel, ChimeBearer=alice)["ChannelMemberships"]
    assert {"Member": {"Arn": bob, "Name": "Robert"}} in listed
    found = world.messaging.describe_channel_membership(ChannelArn=channel, MemberArn=bob, ChimeBearer=alice)
    assert found["ChannelMembership"]["Member"]["Name"] == "Robert"


@pytest.mark.parametrize("arguments", [
    {"Name": "x"}, {"Metadata": "x"}, {"Name": " ", "Metadata": "x"}, {"Name": "x" * 101, "Metadata": "x"},
    {"Name": "x", "Metadata": "é" * 513},
])
def test_an_update_that_breaks_a_constraint_changes_nothing(world, alice, arguments):
    with refusal("BadRequest"):
        clients.identity(world.server, checked=False).update_app_instance_user(AppInstanceUserArn=alice, **arguments)
    found = world.identity.describe_app_instance_user(AppInstanceUserArn=alice)["AppInstanceUser"]
    assert (found["Name"], found.get("Metadata")) == ("Alice", None)


def test_an_update_of_a_missing_user_is_forbidden(world):
    with refusal("Forbidden"):
        world.identity.update_app_instance_user(
            AppInstanceUserArn=f"{world.arn}/user/nobody", Name="x", Metadata="x")
