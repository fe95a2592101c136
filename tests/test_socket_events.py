"""What arrives on a socket: the envelope of each event, and who hears it.

`Fence.before` gives all events that came before a fresh message in a shared channel, so "hears nothing"
is proven by order and not by waiting.
"""

import json
import re

import pytest

from support import clients
from support.clients import everything
from support.world import Fence

pytestmark = [pytest.mark.any_engine, pytest.mark.two_nodes]

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def named(events):
    return [event.type for event in events]


def test_a_message_event_is_the_message_in_the_exact_envelope(world, alice, bob):
    channel = world.channel(alice, bob)
    socket = world.connect(bob)
    message_id = world.send(channel, alice, "hi 👋", Metadata='{"k":1}', ContentType="text/plain",
                            MessageAttributes={"mention": {"StringValues": ["bob"]}})
    event = socket.next()
    created = world.messages(channel, bob)[0]["CreatedTimestamp"]
    expected = {
        "ChannelArn": channel, "MessageId": message_id, "Content": "hi 👋", "Metadata": '{"k":1}',
        "ContentType": "text/plain", "Type": "STANDARD", "Persistence": "PERSISTENT", "Redacted": False,
        "CreatedTimestamp": iso(created), "LastUpdatedTimestamp": iso(created),
        "Sender": {"Arn": alice, "Name": "Alice"}, "Status": {"Value": "SENT"},
        "MessageAttributes": {"mention": {"StringValues": ["bob"]}},
    }
    assert event.payload == expected
    frame = json.loads(event.text)
    assert len(frame["Headers"].pop("x-campanile-event-id")) == 24
    assert frame["Headers"] == {
        "x-amz-chime-event-type": "CREATE_CHANNEL_MESSAGE", "x-amz-chime-message-type": "STANDARD"}
    assert json.loads(frame["Payload"]) == expected


def test_what_a_message_does_not_have_is_absent_and_never_null(world, alice):
    socket = world.connect(alice)
    channel = world.channel(alice)
    world.send(channel, alice, "plain")
    event = socket.until(lambda event: event.type == "CREATE_CHANNEL_MESSAGE")[-1]
    assert set(event.payload) == {
        "ChannelArn", "MessageId", "Content", "Type", "Persistence", "Redacted", "CreatedTimestamp",
        "LastUpdatedTimestamp", "Sender", "Status"}
    assert ISO.fullmatch(event.payload["CreatedTimestamp"])


@pytest.mark.parametrize("kind", ["STANDARD", "CONTROL"])
@pytest.mark.parametrize("persistence", ["PERSISTENT", "NON_PERSISTENT"])
def test_the_message_type_of_the_frame_is_that_of_the_message(world, alice, bob, kind, persistence):
    channel = world.channel(alice, bob)
    socket = world.connect(bob)
    message_id = world.send(channel, alice, "x", kind=kind, persistence=persistence)
    event = socket.next()
    assert (event.type, event.message_type) == ("CREATE_CHANNEL_MESSAGE", kind)
    payload = event.payload
    assert (payload["MessageId"], payload["Type"], payload["Persistence"]) == (message_id, kind, persistence)


def test_a_push_notification_is_not_shown(world, alice):
    channel = world.channel(alice)
    socket = world.connect(alice)
    world.send(channel, alice, PushNotification={"Title": "t", "Body": "b", "Type": "VOIP"})
    assert "PushNotification" not in socket.next().payload


def test_a_membership_event_is_the_membership(world, alice, bob):
    channel = world.channel(alice)
    socket = world.connect(alice)
    world.join(channel, alice, bob)
    event = socket.next()
    assert (event.type, event.message_type) == ("CREATE_CHANNEL_MEMBERSHIP", "SYSTEM")
    created = world.messaging.describe_channel_membership(
        ChannelArn=channel, MemberArn=bob, ChimeBearer=alice)["ChannelMembership"]["CreatedTimestamp"]
    membership = {
        "ChannelArn": channel, "Type": "DEFAULT", "Member": {"Arn": bob, "Name": "Bob"},
        "InvitedBy": {"Arn": alice, "Name": "Alice"}, "CreatedTimestamp": iso(created),
        "LastUpdatedTimestamp": iso(created),
    }
    assert event.payload == membership
    world.leave(channel, alice, bob)
    event = socket.next()
    assert (event.type, event.message_type) == ("DELETE_CHANNEL_MEMBERSHIP", "SYSTEM")
    assert event.payload == membership


def test_deleting_a_channel_tells_all_members_with_the_whole_channel(world, alice, bob):
    channel = world.channel(alice, bob, Metadata="m", Privacy="PUBLIC", Mode="UNRESTRICTED")
    sockets = [world.connect(alice), world.connect(bob)]
    found = world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=alice)["Channel"]
    world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
    for socket in sockets:
        event = socket.next()
        assert (event.type, event.message_type) == ("DELETE_CHANNEL", "SYSTEM")
        assert event.payload == {
            "ChannelArn": channel, "Name": "Room", "Metadata": "m", "Mode": "UNRESTRICTED", "Privacy": "PUBLIC",
            "CreatedBy": {"Arn": alice, "Name": "Alice"}, "CreatedTimestamp": iso(found["CreatedTimestamp"]),
            "LastUpdatedTimestamp": iso(found["LastUpdatedTimestamp"]),
        }


def test_creating_a_channel_tells_each_member_by_a_membership_event(world, alice, bob, carol):
    fence = Fence(world, alice, bob, carol)
    sockets = [world.connect(user) for user in (alice, bob, carol)]
    channel = world.messaging.create_channel(
        AppInstanceArn=world.arn, Name="Room", ClientRequestToken="token", MemberArns=[bob],
        ChimeBearer=alice)["ChannelArn"]
    for_alice, for_bob, for_carol = fence.before(*sockets)
    for events, member in ((for_alice, alice), (for_bob, bob)):
        assert set(named(events)) == {"CREATE_CHANNEL_MEMBERSHIP"}
        assert {event.payload["ChannelArn"] for event in events} == {channel}
        assert member in [event.payload["Member"]["Arn"] for event in events]
    assert for_carol == []


def test_messages_reach_members_and_the_sender_and_nobody_else(world, alice, bob, carol):
    channel = world.channel(alice, bob, Privacy="PUBLIC")
    admin = world.make_admin(world.user("admin"))
    fence = Fence(world, alice, bob, carol, admin)
    sockets = [world.connect(user) for user in (alice, bob, carol, admin)]
    world.send(channel, alice, "for members")
    heard = [[event.payload["Content"] for event in events] for events in fence.before(*sockets)]
    assert heard == [["for members"], ["for members"], [], []]


def test_a_moderator_who_is_no_member_hears_nothing(world, alice, bob):
    channel = world.channel(alice, bob)
    world.leave(channel, alice, alice)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    world.send(channel, bob, "unheard by alice")
    for_alice, for_bob = fence.before(*sockets)
    assert (for_alice, named(for_bob)) == ([], ["CREATE_CHANNEL_MESSAGE"])


def test_all_sockets_of_a_user_hear_every_event(world, alice, bob):
    channel = world.channel(alice, bob)
    sockets = [world.connect(bob) for _ in range(3)]
    message_id = world.send(channel, alice)
    assert [socket.next().payload["MessageId"] for socket in sockets] == [message_id] * 3


def test_app_instances_do_not_hear_each_other(world, another_world, alice):
    stranger = another_world.user("alice")
    another = another_world.channel(stranger)
    channel = world.channel(alice)
    fence, other_fence = Fence(world, alice), Fence(another_world, stranger)
    socket, other_socket = world.connect(alice), another_world.connect(stranger)
    world.send(channel, alice, "here")
    another_world.send(another, stranger, "there")
    [here], [there] = fence.before(socket), other_fence.before(other_socket)
    assert [event.payload["Content"] for event in here + there] == ["here", "there"]


def test_refused_calls_tell_nobody(world, alice, bob):
    channel = world.channel(alice)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    for call in (
        lambda: world.send(channel, bob),
        lambda: world.join(channel, bob, bob),
        lambda: world.leave(channel, bob, alice),
        lambda: world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=bob),
    ):
        with clients.refusal("Forbidden"):
            call()
    assert fence.before(*sockets) == [[], []]


def test_reads_and_creates_of_users_tell_nobody(world, alice, bob):
    channel = world.channel(alice, bob)
    fence = Fence(world, alice)
    socket = world.connect(alice)
    world.user("newcomer")
    world.make_admin(bob)
    everything(world.messaging.list_channel_messages, "ChannelMessages", ChannelArn=channel, ChimeBearer=bob)
    world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bob)
    assert fence.before(socket) == [[]]


def test_settings_and_what_members_set_for_themselves_tell_nobody(world, alice, bob):
    """No event exists for these, nor for bans, moderators and read markers, which have tests beside theirs."""
    channel = world.channel(alice, bob)
    flow = world.flow()
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    world.messaging.put_channel_expiration_settings(ChannelArn=channel, ChimeBearer=alice, ExpirationSettings={
        "ExpirationDays": 1, "ExpirationCriterion": "CREATED_TIMESTAMP"})
    world.messaging.put_channel_membership_preferences(
        ChannelArn=channel, MemberArn=bob, ChimeBearer=bob,
        Preferences={"PushNotifications": {"AllowNotifications": "NONE"}})
    world.messaging.tag_resource(ResourceARN=channel, Tags=[{"Key": "k", "Value": "v"}])
    world.messaging.untag_resource(ResourceARN=channel, TagKeys=["k"])
    world.messaging.update_channel_flow(ChannelFlowArn=flow, Name="Renamed", Processors=[{
        "Name": "filter", "ExecutionOrder": 1, "FallbackAction": "CONTINUE", "Configuration": {"Lambda": {
            "ResourceArn": "arn:aws:lambda:us-east-1:000000000000:function:filter", "InvocationType": "ASYNC"}}}])
    world.identity.update_app_instance_user(AppInstanceUserArn=bob, Name="Robert", Metadata="m")
    world.identity.update_app_instance(AppInstanceArn=world.arn, Name="Renamed", Metadata="m")
    world.identity.put_app_instance_retention_settings(AppInstanceArn=world.arn, AppInstanceRetentionSettings={
        "ChannelRetentionSettings": {"RetentionDays": 1}})
    assert fence.before(*sockets) == [[], []]
