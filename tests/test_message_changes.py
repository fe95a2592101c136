"""Messages after they were sent: updated, redacted, deleted, and what their sender is told of them."""

import pytest

from support.clients import TOO_LONG, answer_of, refusal, status_of
from support.world import Fence, World

pytestmark = pytest.mark.any_engine


def get(world, channel, message_id, bearer):
    return world.messaging.get_channel_message(
        ChannelArn=channel, MessageId=message_id, ChimeBearer=bearer)["ChannelMessage"]


def update(world, channel, message_id, bearer, content="new", **extra):
    return world.messaging.update_channel_message(
        ChannelArn=channel, MessageId=message_id, Content=content, ChimeBearer=bearer, **extra)


def redact(world, channel, message_id, bearer):
    return world.messaging.redact_channel_message(
        ChannelArn=channel, MessageId=message_id, ChimeBearer=bearer)


def delete(world, channel, message_id, bearer):
    return world.messaging.delete_channel_message(
        ChannelArn=channel, MessageId=message_id, ChimeBearer=bearer)


def status(world, channel, message_id, bearer):
    return world.messaging.get_channel_message_status(
        ChannelArn=channel, MessageId=message_id, ChimeBearer=bearer)["Status"]


@pytest.fixture
def admin(world):
    return world.make_admin(world.user("admin"))


def test_an_update_replaces_the_content_and_keeps_the_rest(world, alice, bob):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, alice, "old", Metadata="{}", ContentType="text/plain",
                            MessageAttributes={"k": {"StringValues": ["v"]}})
    before = get(world, channel, message_id, bob)
    answer = update(world, channel, message_id, alice, "new 👋")
    assert status_of(answer) == 200
    assert answer_of(answer) == {"ChannelArn": channel, "MessageId": message_id, "Status": {"Value": "SENT"}}
    found = get(world, channel, message_id, bob)
    edited = found.pop("LastEditedTimestamp")
    assert found.pop("LastUpdatedTimestamp") == edited >= before.pop("LastUpdatedTimestamp")
    assert found == before | {"Content": "new 👋"}
    [listed] = world.messages(channel, bob)
    assert (listed["Content"], listed["LastEditedTimestamp"]) == ("new 👋", edited)


def test_metadata_and_content_type_are_replaced_when_given_and_an_empty_metadata_goes(world, alice):
    channel = world.channel(alice)
    message_id = world.send(channel, alice, Metadata="{}", ContentType="text/plain")
    update(world, channel, message_id, alice, Metadata='{"a":1}', ContentType="text/html")
    found = get(world, channel, message_id, alice)
    assert (found["Metadata"], found["ContentType"]) == ('{"a":1}', "text/html")
    update(world, channel, message_id, alice, Metadata="")
    assert "Metadata" not in get(world, channel, message_id, alice)


@pytest.mark.two_nodes
def test_an_update_is_told_to_the_members_with_its_times(world, alice, bob):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, alice, "old")
    socket = world.connect(bob)
    update(world, channel, message_id, alice)
    event = socket.next()
    assert (event.type, event.message_type) == ("UPDATE_CHANNEL_MESSAGE", "STANDARD")
    assert event.payload["MessageId"] == message_id
    assert event.payload["Content"] == "new"
    assert event.payload["Status"] == {"Value": "SENT"}
    found = get(world, channel, message_id, bob)
    for name in ("CreatedTimestamp", "LastEditedTimestamp", "LastUpdatedTimestamp"):
        assert event.payload[name] == found[name].strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def test_only_the_sender_updates_a_message(world, alice, bob, carol, admin):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, bob, "old")
    for other in (alice, carol, admin):
        with refusal("Forbidden"):
            update(world, channel, message_id, other)
    world.leave(channel, bob, bob)
    with refusal("Forbidden"):
        update(world, channel, message_id, bob)
    assert world.contents(channel, alice) == ["old"]


def test_an_update_has_the_limits_of_a_send(world, alice):
    channel = world.channel(alice)
    message_id = world.send(channel, alice, "old")
    update(world, channel, message_id, alice, "é" * 2048)
    with refusal("BadRequest", TOO_LONG):
        update(world, channel, message_id, alice, "é" * 2048 + "x")
    control = world.send(channel, alice, "typing", kind="CONTROL")
    with refusal("BadRequest", TOO_LONG):
        update(world, channel, control, alice, "x" * 31)
    with refusal("BadRequest"):
        update(world, channel, control, alice, "x", Metadata="m")


@pytest.mark.parametrize("change", [update, redact, delete, status])
def test_a_message_that_is_not_there_is_forbidden(world, alice, change):
    world.make_admin(alice)
    channel = world.channel(alice)
    elsewhere = world.send(world.channel(alice), alice)
    gone = world.post(channel, alice, persistence="NON_PERSISTENT")["MessageId"]
    for message_id in ("0" * 64, "x", elsewhere, gone):
        with refusal("Forbidden"):
            change(world, channel, message_id, alice)


@pytest.mark.two_nodes
def test_a_redacted_message_has_no_text_any_more(world, alice, bob):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, bob, "secret", Metadata="secret")
    socket = world.connect(bob)
    answer = redact(world, channel, message_id, alice)
    assert status_of(answer) == 200
    assert answer_of(answer) == {"ChannelArn": channel, "MessageId": message_id}
    event = socket.next()
    assert (event.type, event.message_type) == ("REDACT_CHANNEL_MESSAGE", "STANDARD")
    [listed] = world.messages(channel, bob)
    for shown in (event.payload, listed, get(world, channel, message_id, alice)):
        assert shown["MessageId"] == message_id
        assert shown["Redacted"] is True
        assert not {"Content", "Metadata"} & set(shown)
    assert "secret" not in event.text
    assert status(world, channel, message_id, bob) == {"Value": "SENT"}


def test_a_redacted_message_is_neither_redacted_again_nor_updated(world, alice):
    channel = world.channel(alice)
    message_id = world.send(channel, alice, "secret")
    redact(world, channel, message_id, alice)
    with refusal("Conflict"):
        redact(world, channel, message_id, alice)
    with refusal("Conflict"):
        update(world, channel, message_id, alice)
    assert get(world, channel, message_id, alice)["Redacted"] is True


def test_members_redact_their_own_messages_and_moderators_and_admins_any(world, alice, bob, carol, admin):
    channel = world.channel(alice, bob, carol)
    first, second, third = [world.send(channel, bob, str(number)) for number in range(3)]
    with refusal("Forbidden"):
        redact(world, channel, first, carol)
    for message_id, bearer in ((first, bob), (second, alice), (third, admin)):
        redact(world, channel, message_id, bearer)
    assert [message["Redacted"] for message in world.messages(channel, carol)] == [True] * 3


@pytest.mark.two_nodes
def test_a_deleted_message_is_gone_and_the_members_are_told(world, alice, bob, admin):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, bob, "gone", Metadata="gone")
    kept = world.send(channel, bob, "kept")
    socket = world.connect(alice)
    for other in (alice, bob):
        with refusal("Forbidden"):
            delete(world, channel, message_id, other)
    assert status_of(delete(world, channel, message_id, admin)) == 204
    event = socket.next()
    assert (event.type, event.message_type) == ("DELETE_CHANNEL_MESSAGE", "STANDARD")
    assert event.payload["MessageId"] == message_id
    assert event.payload["Sender"] == {"Arn": bob, "Name": "Bob"}
    assert "gone" not in event.text
    assert [message["MessageId"] for message in world.messages(channel, alice)] == [kept]
    with refusal("NotFound"):
        get(world, channel, message_id, bob)
    with refusal("Forbidden"):
        delete(world, channel, message_id, admin)


@pytest.mark.two_nodes
def test_changes_of_a_targeted_message_reach_sender_and_target_only(world, alice, bob, carol, admin):
    channel = world.channel(alice, bob, carol)
    fence = Fence(world, alice, bob, carol)
    message_id = world.send(channel, carol, "psst", Target=[{"MemberArn": bob}])
    sockets = [world.connect(user) for user in (alice, bob, carol)]
    update(world, channel, message_id, carol, "hush")
    with refusal("Forbidden"):
        redact(world, channel, message_id, alice)
    redact(world, channel, message_id, carol)
    delete(world, channel, message_id, admin)
    seen = [[event.type for event in events] for events in fence.before(*sockets)]
    told = ["UPDATE_CHANNEL_MESSAGE", "REDACT_CHANNEL_MESSAGE", "DELETE_CHANNEL_MESSAGE"]
    assert seen == [[], told, told]


def test_the_status_is_told_to_the_sender_alone(world, alice, bob, admin):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, bob)
    assert status(world, channel, message_id, bob) == {"Value": "SENT"}
    for other in (alice, admin):
        with refusal("Forbidden"):
            status(world, channel, message_id, other)


def test_a_new_user_under_an_old_id_has_no_hold_on_the_old_ones_messages(world, alice, bob):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, bob, "old")
    world.identity.delete_app_instance_user(AppInstanceUserArn=bob)
    assert world.user("bob") == bob
    world.join(channel, alice, bob)
    for change in (update, redact, status):
        with refusal("Forbidden"):
            change(world, channel, message_id, bob)
    assert world.contents(channel, bob) == ["old"]


def test_changes_survive_a_restart(start):
    world = World(start())
    alice = world.make_admin(world.user("alice"))
    channel = world.channel(alice)
    updated, redacted, deleted = [world.send(channel, alice, "old") for _ in range(3)]
    update(world, channel, updated, alice)
    redact(world, channel, redacted, alice)
    delete(world, channel, deleted, alice)
    before = world.messages(channel, alice)
    world.server.restart()
    world.reconnect()
    assert world.messages(channel, alice) == before
    assert [message.get("Content") for message in before] == [None, "new"]
