"""Sending and getting one message: types, persistence, sizes, targets, what is kept."""

import re
import uuid

import pytest

from support import clients
from support.clients import NO_ACCESS, TOO_LONG, answer_of, refusal, status_of
from support.sigv4 import now
from support.world import Fence

pytestmark = pytest.mark.any_engine


def get(world, channel, message_id, bearer):
    return world.messaging.get_channel_message(
        ChannelArn=channel, MessageId=message_id, ChimeBearer=bearer)["ChannelMessage"]


def test_send_answers_201_with_a_status_and_an_id_of_64_hex_digits(world, alice):
    channel = world.channel(alice)
    answer = world.post(channel, alice)
    assert status_of(answer) == 201
    assert re.fullmatch("[0-9a-f]{64}", answer["MessageId"])
    assert answer_of(answer) == {
        "ChannelArn": channel, "MessageId": answer["MessageId"], "Status": {"Value": "SENT"}}


def test_ids_strictly_increase(world, alice):
    channel = world.channel(alice)
    ids = [world.send(channel, alice, str(number)) for number in range(20)]
    assert ids == sorted(set(ids))


def test_get_shows_the_whole_message(world, alice, bob):
    channel = world.channel(alice, bob)
    before = now(-1)
    message_id = world.send(
        channel, alice, "text with 👋\nand a newline", Metadata='{"k":"v"}', ContentType="text/plain",
        MessageAttributes={"mention": {"StringValues": ["bob", "carol"]}},
        PushNotification={"Title": "t", "Body": "b", "Type": "DEFAULT"})
    found = get(world, channel, message_id, bob)
    created = found.pop("CreatedTimestamp")
    assert before < created < now(1)
    assert created.microsecond % 1000 == 0
    assert found.pop("LastUpdatedTimestamp") == created
    assert found == {
        "ChannelArn": channel, "MessageId": message_id, "Content": "text with 👋\nand a newline",
        "Metadata": '{"k":"v"}', "ContentType": "text/plain", "Type": "STANDARD", "Persistence": "PERSISTENT",
        "Redacted": False, "Sender": {"Arn": alice, "Name": "Alice"}, "Status": {"Value": "SENT"},
        "MessageAttributes": {"mention": {"StringValues": ["bob", "carol"]}},
    }


def test_what_was_not_given_is_left_out(world, alice):
    channel = world.channel(alice)
    found = get(world, channel, world.send(channel, alice), alice)
    assert not {"Metadata", "ContentType", "MessageAttributes", "Target", "LastEditedTimestamp",
                "SubChannelId"} & set(found)


@pytest.mark.parametrize("content", [
    "x" * 4096, "é" * 2048, "😀" * 1024, "\x00\x01 controls", "  ", "\n", '{"json": "in a string"}', "\u2028\ufeff",
])
def test_content_of_any_text_up_to_4096_bytes_comes_back_unchanged(world, alice, content):
    channel = world.channel(alice)
    assert get(world, channel, world.send(channel, alice, content), alice)["Content"] == content


@pytest.mark.parametrize("content", ["x" * 4097, "é" * 2049, "😀" * 1024 + "!"])
def test_content_over_4096_bytes_is_refused_with_the_known_text(world, alice, content):
    channel = world.channel(alice)
    with refusal("BadRequest", TOO_LONG):
        world.send(channel, alice, content)
    assert world.messages(channel, alice) == []


@pytest.mark.parametrize("content", ["x" * 30, "é" * 15])
def test_control_content_of_30_bytes_is_kept(world, alice, content):
    channel = world.channel(alice)
    found = get(world, channel, world.send(channel, alice, content, kind="CONTROL"), alice)
    assert (found["Type"], found["Content"]) == ("CONTROL", content)


@pytest.mark.parametrize("content", ["x" * 31, "é" * 16])
def test_control_content_over_30_bytes_is_refused(world, alice, content):
    channel = world.channel(alice)
    with refusal("BadRequest", TOO_LONG):
        world.send(channel, alice, content, kind="CONTROL")


def test_control_messages_take_no_metadata(world, alice):
    channel = world.channel(alice)
    with refusal("BadRequest"):
        world.send(channel, alice, "typing", kind="CONTROL", Metadata="m")


def test_metadata_is_at_most_1024_bytes(world, alice):
    channel = world.channel(alice)
    world.send(channel, alice, Metadata="é" * 512)
    with refusal("BadRequest"):
        world.send(channel, alice, Metadata="é" * 513)


@pytest.mark.parametrize("wrong", [
    {"Content": ""}, {"Type": "SYSTEM"}, {"Persistence": "FOREVER"}, {"ContentType": "x" * 46},
    {"ClientRequestToken": "x"}, {"ClientRequestToken": "no spaces"}, {"Target": []},
    {"PushNotification": {"Title": "", "Body": "b", "Type": "DEFAULT"}},
    {"PushNotification": {"Title": "t", "Body": "x" * 151, "Type": "DEFAULT"}},
    {"PushNotification": {"Title": "t", "Body": "b", "Type": "LOUD"}},
    {"MessageAttributes": {"": {"StringValues": ["x"]}}},
    {"MessageAttributes": {"x" * 65: {"StringValues": ["x"]}}},
    {"MessageAttributes": {"a": {"StringValues": ["x" * 513]}}},
    {"MessageAttributes": {"a": {"StringValues": ["x" * 512, "y" * 512]}}},
], ids=lambda wrong: str(wrong)[:60])
def test_values_outside_the_model_are_refused(world, alice, wrong):
    channel = world.channel(alice)
    arguments = {
        "ChannelArn": channel, "Content": "hello", "Type": "STANDARD", "Persistence": "PERSISTENT",
        "ClientRequestToken": str(uuid.uuid4()), "ChimeBearer": alice,
    } | wrong
    with refusal("BadRequest"):
        clients.messaging(world.server, checked=False).send_channel_message(**arguments)
    assert world.messages(channel, alice) == []


def test_empty_message_attributes_are_accepted(world, alice):
    channel = world.channel(alice)
    get(world, channel, world.send(channel, alice, MessageAttributes={}), alice)


def test_non_persistent_messages_are_not_stored(world, alice):
    channel = world.channel(alice)
    kept = world.send(channel, alice, "kept")
    answer = world.post(channel, alice, "gone", persistence="NON_PERSISTENT")
    assert answer["Status"] == {"Value": "SENT"}
    assert answer["MessageId"] > kept
    assert world.contents(channel, alice) == ["kept"]
    with refusal("NotFound"):
        get(world, channel, answer["MessageId"], alice)


def test_an_unknown_message_is_not_found(world, alice):
    channel = world.channel(alice)
    for message_id in ("0" * 64, "x", "-", "f" * 128):
        with refusal("NotFound"):
            get(world, channel, message_id, alice)


def test_a_message_is_not_found_under_another_channel(world, alice):
    message_id = world.send(world.channel(alice), alice)
    with refusal("NotFound"):
        get(world, world.channel(alice), message_id, alice)


def test_a_targeted_message_is_seen_by_sender_and_target_only(world, alice, bob, carol):
    channel = world.channel(alice, bob, carol)
    admin = world.make_admin(world.user("admin"))
    message_id = world.send(channel, carol, "psst", Target=[{"MemberArn": bob}])
    for reader in (carol, bob):
        assert get(world, channel, message_id, reader)["Target"] == [{"MemberArn": bob}]
        assert world.messages(channel, reader)[0]["Target"] == [{"MemberArn": bob}]
    for stranger in (alice, admin):
        assert world.messages(channel, stranger) == []
        with refusal("NotFound"):
            get(world, channel, message_id, stranger)


@pytest.mark.two_nodes
def test_targeted_messages_reach_the_sockets_of_sender_and_target_only(world, alice, bob, carol):
    channel = world.channel(alice, bob, carol)
    fence = Fence(world, alice, bob, carol)
    sockets = [world.connect(user) for user in (alice, bob, carol)]
    world.send(channel, carol, "psst", Target=[{"MemberArn": bob}])
    # Nodes leave the place of what is not kept open.
    world.settle()
    world.send(channel, carol, "unheard", persistence="NON_PERSISTENT", Target=[{"MemberArn": bob}])
    seen = [[event.payload["Content"] for event in events] for events in fence.before(*sockets)]
    assert seen == [[], ["psst", "unheard"], ["psst", "unheard"]]


def test_a_message_may_target_its_own_sender(world, alice, bob):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, alice, "note to self", Target=[{"MemberArn": alice}])
    assert get(world, channel, message_id, alice)["Content"] == "note to self"
    assert world.messages(channel, bob) == []


def test_a_target_must_be_a_member(world, alice, bob):
    channel = world.channel(alice)
    with refusal("Forbidden"):
        world.send(channel, alice, Target=[{"MemberArn": bob}])
    assert world.messages(channel, alice) == []


def test_a_message_has_at_most_one_target(world, alice, bob, carol):
    channel = world.channel(alice, bob, carol)
    with refusal("BadRequest"):
        clients.messaging(world.server, checked=False).send_channel_message(
            ChannelArn=channel, Content="x", Type="STANDARD", Persistence="PERSISTENT", ChimeBearer=alice,
            ClientRequestToken="token", Target=[{"MemberArn": bob}, {"MemberArn": carol}])


def test_sub_channels_do_not_exist_in_an_ordinary_channel(world, alice):
    channel = world.channel(alice)
    with refusal("BadRequest"):
        world.send(channel, alice, SubChannelId="sub")


def test_a_role_refusal_has_the_known_text(world, alice, bob):
    channel = world.channel(alice)
    with refusal("Forbidden", NO_ACCESS):
        world.send(channel, bob)
