"""A user or a channel that is deleted and created again under its old id is somebody else."""

import pytest

from support.clients import BAD_BEARER, BAD_MEMBER, everything, refusal
from support.sockets import Closed, connect_target, open_socket, refused
from support.world import Fence, World

pytestmark = pytest.mark.any_engine


def recreate_user(world, user_arn):
    user_id = user_arn.rpartition("/")[2]
    world.identity.delete_app_instance_user(AppInstanceUserArn=user_arn)
    assert world.user(user_id, name="Somebody else") == user_arn


def recreate_channel(world, channel, bearer, **extra):
    channel_id = channel.rpartition("/")[2]
    world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=bearer)
    assert world.channel(bearer, ChannelId=channel_id, **extra) == channel


def test_a_recreated_user_is_a_member_of_nothing(world, alice, bob):
    channel = world.channel(alice, bob)
    world.send(channel, alice, "secret")
    recreate_user(world, bob)
    assert world.members(channel, alice) == ["alice"]
    with refusal("NotFound"):
        world.messaging.describe_channel_membership(ChannelArn=channel, MemberArn=bob, ChimeBearer=alice)
    for call in (
        lambda: world.messages(channel, bob),
        lambda: world.send(channel, bob),
        lambda: world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bob),
        lambda: world.leave(channel, bob, bob),
    ):
        with refusal("Forbidden"):
            call()
    world.join(channel, alice, bob)
    assert world.members(channel, alice) == ["alice", "bob"]
    membership = world.messaging.describe_channel_membership(
        ChannelArn=channel, MemberArn=bob, ChimeBearer=bob)["ChannelMembership"]
    assert membership["Member"] == {"Arn": bob, "Name": "Somebody else"}


def test_a_recreated_user_has_no_role_of_the_old_one(world, alice, bob, carol):
    world.make_admin(alice)
    channel = world.channel(alice, bob, carol)
    recreate_user(world, alice)
    with refusal("Forbidden"):
        world.messaging.list_channels(AppInstanceArn=world.arn, Privacy="PRIVATE", ChimeBearer=alice)
    with refusal("Forbidden"):
        world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
    admin = world.make_admin(world.user("new-admin"))
    world.join(channel, admin, alice)
    with refusal("Forbidden"):
        world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
    with refusal("Forbidden"):
        world.leave(channel, alice, bob)
    world.make_admin(alice)  # not a conflict: the old one's role went with him


def test_a_recreated_user_does_not_own_the_old_ones_messages(world, alice, bob):
    channel = world.channel(alice, bob)
    whisper = world.send(channel, alice, "for the old bob", Target=[{"MemberArn": bob}])
    own = world.send(channel, bob, "from the old bob", Target=[{"MemberArn": alice}])
    recreate_user(world, bob)
    world.join(channel, alice, bob)
    assert world.messages(channel, bob) == []
    for message_id in (whisper, own):
        with refusal("NotFound"):
            world.messaging.get_channel_message(ChannelArn=channel, MessageId=message_id, ChimeBearer=bob)
    [second, first] = world.messages(channel, alice)
    assert (first["Content"], second["Content"]) == ("for the old bob", "from the old bob")
    assert second["Sender"] == {"Arn": bob, "Name": "Bob"}


def test_a_recreated_users_request_tokens_are_his_own(world, alice, bob):
    channel = world.channel(alice, bob)
    first = world.send(channel, bob, "hello", ClientRequestToken="token-1")
    recreate_user(world, bob)
    world.join(channel, alice, bob)
    second = world.send(channel, bob, "other words", ClientRequestToken="token-1")
    assert second > first
    assert world.contents(channel, alice) == ["other words", "hello"]


@pytest.mark.two_nodes
def test_a_recreated_user_hears_nothing_of_the_old_ones_channels(world, alice, bob):
    channel = world.channel(alice, bob)
    old_socket = world.connect(bob)
    recreate_user(world, bob)
    assert old_socket.closed().code == 4003
    fence = Fence(world, bob)
    socket = world.connect(bob)
    world.send(channel, alice, "not for the new bob")
    assert fence.before(socket) == [[]]


@pytest.mark.two_nodes
def test_a_signed_connect_of_a_deleted_user_is_refused_until_there_is_a_new_one(world, bob):
    targets = [(node, connect_target(node, bob)) for node in world.nodes]
    world.identity.delete_app_instance_user(AppInstanceUserArn=bob)
    for node, target in targets:
        assert refused(node, target) == Closed(4401, "Unauthorized")
    world.user("bob")
    for node in world.nodes:
        open_socket(node, bob).close()


def test_a_recreated_channel_has_no_members_messages_or_moderators_of_the_old_one(world, alice, bob, carol):
    channel = world.channel(alice, carol, ChannelId="general", ModeratorArns=[bob], Metadata="old", Privacy="PUBLIC")
    old = world.send(channel, alice, "old message")
    recreate_channel(world, channel, alice, name="New room")
    found = world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=alice)["Channel"]
    assert (found["Name"], found["Privacy"]) == ("New room", "PRIVATE")
    assert not {"Metadata", "LastMessageTimestamp"} & set(found)
    assert world.members(channel, alice) == ["alice"]
    assert world.messages(channel, alice) == []
    with refusal("NotFound"):
        world.messaging.get_channel_message(ChannelArn=channel, MessageId=old, ChimeBearer=alice)
    for stranger in (bob, carol):
        with refusal("Forbidden"):
            world.messages(channel, stranger)
        with refusal("Forbidden"):
            world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=stranger)


def test_a_recreated_channel_has_request_tokens_and_pages_of_its_own(world, alice):
    channel = world.channel(alice, ChannelId="general")
    for number in range(3):
        world.send(channel, alice, str(number), ClientRequestToken=f"token-{number}")
    page = world.messaging.list_channel_messages(ChannelArn=channel, ChimeBearer=alice, MaxResults=1)
    recreate_channel(world, channel, alice)
    with refusal("BadRequest"):
        world.messaging.list_channel_messages(
            ChannelArn=channel, ChimeBearer=alice, MaxResults=1, NextToken=page["NextToken"])
    world.send(channel, alice, "other words", ClientRequestToken="token-0")
    assert world.contents(channel, alice) == ["other words"]


def test_a_recreated_channel_is_listed_once(world, alice):
    channel = world.channel(alice, ChannelId="general", Privacy="PUBLIC")
    for number in range(3):
        recreate_channel(world, channel, alice, name=f"Room {number}", Privacy="PUBLIC")
    listed = everything(world.messaging.list_channels, "Channels", AppInstanceArn=world.arn, ChimeBearer=alice)
    assert [(item["ChannelArn"], item["Name"]) for item in listed] == [(channel, "Room 2")]


def test_the_creator_of_a_channel_stays_the_old_one_by_name(world, alice, bob):
    channel = world.channel(bob, alice, Privacy="PUBLIC")
    recreate_user(world, bob)
    found = world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=alice)["Channel"]
    assert found["CreatedBy"] == {"Arn": bob, "Name": "Bob"}
    membership = world.messaging.describe_channel_membership(
        ChannelArn=channel, MemberArn=alice, ChimeBearer=alice)["ChannelMembership"]
    assert membership["InvitedBy"] == {"Arn": bob, "Name": "Bob"}


def test_the_same_names_in_a_new_app_instance_are_unrelated(server):
    old = World(server)
    alice = old.user("alice")
    old.make_admin(alice)
    channel = old.channel(alice, ChannelId="general", Privacy="PUBLIC")
    old.send(channel, alice, "old")
    old.close()
    new = World(server)
    try:
        assert new.arn != old.arn
        new_alice = new.user("alice")
        with refusal("Unauthorized", BAD_BEARER):
            new.messaging.describe_channel(ChannelArn=channel, ChimeBearer=alice)
        with refusal("Forbidden"):
            new.messaging.describe_channel(ChannelArn=channel, ChimeBearer=new_alice)
        with refusal("Forbidden"):
            new.messaging.list_channels(AppInstanceArn=new.arn, Privacy="PRIVATE", ChimeBearer=new_alice)
        new_channel = new.channel(new_alice, ChannelId="general")
        assert new.messages(new_channel, new_alice) == []
        with refusal("Forbidden", BAD_MEMBER):
            new.join(new_channel, new_alice, alice)
    finally:
        new.close()


@pytest.mark.parametrize("restart", ["kill", "terminate"])
def test_nothing_comes_back_with_a_restart(start, restart):
    server = start()
    world = World(server)
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob, ChannelId="general")
    other = world.channel(alice, bob)
    world.send(channel, bob, "old")
    recreate_channel(world, channel, alice)
    recreate_user(world, bob)
    getattr(server, restart)()
    server.start()
    world.reconnect()
    assert world.members(channel, alice) == world.members(other, alice) == ["alice"]
    assert world.messages(channel, alice) == []
    with refusal("Forbidden"):
        world.messages(other, bob)
