"""Who joins or leaves while connected hears, or stops hearing, at once; hidden members; deleted users."""

import pytest

from support.world import Fence

pytestmark = [pytest.mark.any_engine, pytest.mark.two_nodes]


def contents(events):
    return [event.payload.get("Content", event.type) for event in events]


def test_who_is_added_hears_from_his_own_membership_event_on(world, alice, bob):
    channel = world.channel(alice)
    fence = Fence(world, bob)
    socket = world.connect(bob)
    world.send(channel, alice, "before")
    world.join(channel, alice, bob)
    world.send(channel, alice, "after")
    [events] = fence.before(socket)
    assert contents(events) == ["CREATE_CHANNEL_MEMBERSHIP", "after"]
    assert events[0].payload["Member"] == {"Arn": bob, "Name": "Bob"}


def test_who_is_removed_hears_up_to_his_own_membership_event(world, alice, bob):
    channel = world.channel(alice, bob)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    world.send(channel, alice, "before")
    world.leave(channel, alice, bob)
    world.send(channel, alice, "after")
    for_alice, for_bob = fence.before(*sockets)
    assert contents(for_alice) == ["before", "DELETE_CHANNEL_MEMBERSHIP", "after"]
    assert contents(for_bob) == ["before", "DELETE_CHANNEL_MEMBERSHIP"]
    assert for_bob[1].payload["Member"] == {"Arn": bob, "Name": "Bob"}


def test_who_leaves_by_himself_hears_no_more(world, alice, bob):
    channel = world.channel(alice, bob)
    fence = Fence(world, bob)
    socket = world.connect(bob)
    world.leave(channel, bob, bob)
    world.send(channel, alice, "after")
    assert contents(fence.before(socket)[0]) == ["DELETE_CHANNEL_MEMBERSHIP"]


def test_a_public_channel_is_heard_from_joining_on(world, alice, bob):
    channel = world.channel(alice, Privacy="PUBLIC")
    fence = Fence(world, bob)
    socket = world.connect(bob)
    world.send(channel, alice, "before")
    world.join(channel, bob, bob)
    world.send(channel, alice, "after")
    assert contents(fence.before(socket)[0]) == ["CREATE_CHANNEL_MEMBERSHIP", "after"]


def test_joining_and_leaving_many_times_in_a_row_keeps_every_boundary(world, alice, bob):
    channel = world.channel(alice)
    fence = Fence(world, bob)
    socket = world.connect(bob)
    expected = []
    for number in range(10):
        world.send(channel, alice, f"outside {number}")
        world.join(channel, alice, bob)
        world.send(channel, alice, f"inside {number}")
        world.leave(channel, alice, bob)
        expected += ["CREATE_CHANNEL_MEMBERSHIP", f"inside {number}", "DELETE_CHANNEL_MEMBERSHIP"]
    assert contents(fence.before(socket)[0]) == expected


def test_all_sockets_of_a_user_join_and_leave_together(world, alice, bob):
    channel = world.channel(alice)
    fence = Fence(world, bob)
    sockets = [world.connect(bob), world.connect(bob)]
    world.join(channel, alice, bob)
    world.send(channel, alice, "inside")
    world.leave(channel, alice, bob)
    world.send(channel, alice, "outside")
    expected = ["CREATE_CHANNEL_MEMBERSHIP", "inside", "DELETE_CHANNEL_MEMBERSHIP"]
    assert [contents(events) for events in fence.before(*sockets)] == [expected, expected]


def test_a_socket_that_opens_later_hears_the_channels_of_its_user(world, alice, bob):
    channel = world.channel(alice, bob)
    world.send(channel, alice, "missed")
    socket = world.connect(bob)
    world.send(channel, alice, "heard")
    assert socket.next().payload["Content"] == "heard"


def test_hidden_members_hear_messages_and_channel_events(world, alice, bob):
    channel = world.channel(alice)
    world.join(channel, alice, bob, kind="HIDDEN")
    socket = world.connect(bob)
    world.send(channel, alice, "hello")
    world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
    assert [socket.next().type for _ in range(2)] == ["CREATE_CHANNEL_MESSAGE", "DELETE_CHANNEL"]


def test_the_joins_and_leaves_of_hidden_members_reach_moderators_and_the_member_only(world, alice, bob, carol):
    channel = world.channel(alice, bob)
    fence = Fence(world, alice, bob, carol)
    sockets = [world.connect(user) for user in (alice, bob, carol)]
    world.join(channel, alice, carol, kind="HIDDEN")
    world.leave(channel, alice, carol)
    for_alice, for_bob, for_carol = fence.before(*sockets)
    both = ["CREATE_CHANNEL_MEMBERSHIP", "DELETE_CHANNEL_MEMBERSHIP"]
    assert (contents(for_alice), contents(for_bob), contents(for_carol)) == (both, [], both)
    assert {event.payload["Type"] for event in for_alice + for_carol} == {"HIDDEN"}


def test_hidden_members_hear_of_ordinary_ones(world, alice, bob, carol):
    channel = world.channel(alice)
    world.join(channel, alice, bob, kind="HIDDEN")
    socket = world.connect(bob)
    world.join(channel, alice, carol)
    event = socket.next()
    assert (event.type, event.payload["Member"]["Arn"]) == ("CREATE_CHANNEL_MEMBERSHIP", carol)


def test_a_deleted_channel_is_heard_no_more_even_under_the_same_id(world, alice, bob):
    channel = world.channel(alice, bob, ChannelId="general")
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
    assert world.channel(alice, ChannelId="general") == channel
    world.send(channel, alice, "new room")
    for_alice, for_bob = fence.before(*sockets)
    assert contents(for_alice) == ["DELETE_CHANNEL", "CREATE_CHANNEL_MEMBERSHIP", "new room"]
    assert contents(for_bob) == ["DELETE_CHANNEL"]


def test_the_sockets_of_a_deleted_user_are_closed_with_4003(world, alice, bob):
    channel = world.channel(alice, bob)
    staying, going = world.connect(alice), [world.connect(bob) for _ in range(2)]
    world.identity.delete_app_instance_user(AppInstanceUserArn=bob)
    assert [socket.closed().code for socket in going] == [4003, 4003]
    world.send(channel, alice, "still here")
    assert staying.until(lambda event: event.type == "CREATE_CHANNEL_MESSAGE")


def test_the_sockets_of_a_deleted_app_instance_are_closed_with_4003(world, alice, bob):
    sockets = [world.connect(user) for user in (alice, bob, alice)]
    world.delete()
    assert [socket.closed().code for socket in sockets] == [4003] * 3
