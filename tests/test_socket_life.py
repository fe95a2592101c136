"""The life of a socket: limits, duplicates, pings, what a client sends, how it ends."""

import time

import pytest

from support.cluster import survivor
from support.sender import Sender
from support.server import eventually, holds_connection
from support.sockets import BINARY, CLOSE, PING, TEXT, Closed

pytestmark = [pytest.mark.any_engine, pytest.mark.two_nodes]

CONNECTIONS_MAX = 10
# More than the system takes for a client that does not read, and fewer bytes than a queue may hold.
STUCK_MESSAGES = 800
# Sooner than its silence alone would end it, and not so soon that a slow machine fails.
STUCK_S_MAX = 30
# More than a queue and the system take together.
SLOW_PARTS, SLOW_PART = 60, 100
SLOW_CONTENT = "x" * 4000


def alive(world, channel, sender, socket, text):
    """Whether a fresh message arrives; it must be the next event."""
    world.send(channel, sender, text)
    return socket.next().payload["Content"] == text


def test_the_eleventh_connection_closes_the_oldest_with_4003(world, alice):
    channel = world.channel(alice)
    sockets = [world.connect(alice) for _ in range(CONNECTIONS_MAX)]
    eleventh = world.connect(alice)
    assert sockets[0].closed().code == 4003
    twelfth = world.connect(alice)
    assert sockets[1].closed().code == 4003
    message_id = world.send(channel, alice)
    for socket in (*sockets[2:], eleventh, twelfth):
        assert socket.next().payload["MessageId"] == message_id


def test_a_connection_that_ended_frees_its_place(world, alice):
    channel = world.channel(alice)
    first = world.connect(alice)
    for _ in range(3 * CONNECTIONS_MAX):
        socket = world.connect(alice)
        socket.write_frame(CLOSE, (1000).to_bytes(2, "big"))
        assert socket.closed().code == 1000
    assert alive(world, channel, alice, first, "the first is still here")


def test_the_limit_is_one_of_each_user(world, alice, bob):
    channel = world.channel(alice, bob)
    sockets = [world.connect(user) for user in (alice, bob) for _ in range(CONNECTIONS_MAX)]
    message_id = world.send(channel, alice)
    assert {socket.next().payload["MessageId"] for socket in sockets} == {message_id}


def test_the_same_session_id_replaces_the_old_socket_with_4003(world, alice):
    channel = world.channel(alice)
    old = world.connect(alice, session_id="one-session")
    new = world.connect(alice, session_id="one-session")
    assert old.closed().code == 4003
    assert alive(world, channel, alice, new, "hello")


def test_the_same_session_id_of_another_user_is_another_session(world, alice, bob):
    channel = world.channel(alice, bob)
    sockets = [world.connect(user, session_id="one-session") for user in (alice, bob)]
    message_id = world.send(channel, alice)
    assert [socket.next().payload["MessageId"] for socket in sockets] == [message_id] * 2


@pytest.mark.parametrize("opcode, data", [
    (TEXT, b"hello"), (TEXT, b""), (TEXT, b'{"type":"subscribe"}'), (BINARY, b"\x00\xff"), (BINARY, b"x" * 1000),
], ids=["text", "empty text", "json", "binary", "longer binary"])
def test_what_a_client_sends_is_ignored(world, alice, opcode, data):
    channel = world.channel(alice)
    socket = world.connect(alice)
    for _ in range(3):
        socket.write_frame(opcode, data)
    assert alive(world, channel, alice, socket, "undisturbed")


def test_a_ping_is_answered_with_its_payload(world, alice):
    socket = world.connect(alice)
    for payload in (b"", b"are you there", b"x" * 125):
        socket.write_frame(PING, payload)
        assert socket.next() is None
        assert socket.pongs[-1] == payload


@pytest.mark.parametrize("claimed_length", [1 << 20, 1 << 40], ids=["1 MiB", "1 TiB"])
def test_a_frame_that_is_too_big_is_refused_with_1009(world, alice, claimed_length):
    socket = world.connect(alice)
    socket.write_frame(TEXT, b"x", claimed_length=claimed_length)
    assert socket.closed().code == 1009


def test_text_that_is_not_utf8_does_no_harm(world, alice, bob):
    channel = world.channel(alice, bob)
    bad, good = world.connect(alice), world.connect(bob)
    bad.write_frame(TEXT, b"\xff\xfe")
    assert alive(world, channel, alice, good, "others are not disturbed")


@pytest.mark.parametrize("data", [
    b"\xc1\x80\x00\x00\x00\x00", b"\x83\x80\x00\x00\x00\x00", b"\x81\x05hello", b"\x89\xfe\x00\x7e\x00\x00\x00\x00",
], ids=["reserved bit", "reserved opcode", "unmasked", "long ping"])
def test_a_frame_against_the_protocol_closes_with_1002(world, alice, data):
    socket = world.connect(alice)
    socket.write_raw(data)
    assert socket.closed().code == 1002


def test_a_clients_close_is_answered(world, alice):
    socket = world.connect(alice)
    socket.write_frame(CLOSE, (1000).to_bytes(2, "big") + b"done")
    assert socket.closed().code == 1000


def test_a_peer_that_vanishes_disturbs_nobody(world, alice, bob):
    channel = world.channel(alice, bob)
    gone, staying = world.connect(alice), world.connect(bob)
    gone.close()
    for number in range(20):
        assert alive(world, channel, alice, staying, str(number))


def test_a_consumer_that_does_not_read_is_closed_and_slows_nobody(start_world):
    """Its queue is bounded; the others hear every message in order meanwhile."""
    world = start_world(data_dir=":memory:")
    here, there = world.sides()
    alice, slow, quick = world.users("alice", "slow", "quick")
    channel = world.channel(alice, slow, quick)
    lazy, reader = here.connect(slow), here.connect(quick)
    sender = Sender(there.server, channel, alice)
    # In parts, so that the one who reads is never far behind, however slow the machine is.
    for _ in range(SLOW_PARTS):
        sent = [sender.id_of(SLOW_CONTENT, persistence="NON_PERSISTENT") for _ in range(SLOW_PART)]
        assert [reader.next().payload["MessageId"] for _ in sent] == sent
    sender.close()
    behind = 0
    with pytest.raises((Closed, ConnectionError)) as end:
        while True:
            lazy.next()
            behind += 1
    assert behind < SLOW_PARTS * SLOW_PART
    # A close frame may not fit behind what was not read; when it does, clients come back after it.
    assert getattr(end.value, "code", 1013) == 1013
    # It comes back, after a while.
    again = world.connect(slow)
    assert alive(world, channel, alice, again, "back again")


def test_a_consumer_that_does_not_read_is_gone_soon_after_its_user_was_deleted(start_world):
    """The close that it is owed waits behind frames that nobody takes; it must not wait for ever."""
    world = start_world(data_dir=":memory:")
    here, there = world.sides()
    server = here.server
    alice, slow = world.users("alice", "slow")
    channel = world.channel(alice, slow)
    lazy = here.connect(slow, receive_bytes=4096)
    sender = Sender(there.server, channel, alice)
    for _ in range(STUCK_MESSAGES):
        sender.id_of("x" * 4000, persistence="NON_PERSISTENT")
    sender.close()
    world.settle()
    eventually(lambda: server.metric("sockets_open") == 1, "no socket but this one, whose queue is below its bound")
    assert server.metric("slow_closes_total") == 0
    assert holds_connection(server, lazy.port)
    there.identity.delete_app_instance_user(AppInstanceUserArn=slow)
    eventually(lambda: server.metric("sockets_open") == 0, "the socket's end", STUCK_S_MAX)
    eventually(lambda: not holds_connection(server, lazy.port), "the connection's end", STUCK_S_MAX)
    begun = time.monotonic()
    with pytest.raises((Closed, ConnectionError)):
        while True:
            lazy.next()
    assert time.monotonic() - begun < STUCK_S_MAX


def test_a_shutdown_closes_every_socket_with_1012(start_world):
    """Its clients go to the other node, whose own ones hear nothing of it, or to the same one after its restart."""
    world = start_world()
    here, there = world.sides()
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob)
    sockets = [here.connect(user) for user in (alice, bob) for _ in range(2)]
    staying = [] if there is here else [there.connect(alice)]
    here.server.signal_termination()
    assert [socket.closed().code for socket in sockets] == [1012] * 4
    assert here.server.terminate() == 0
    now = survivor(here, there)
    assert alive(now, channel, alice, now.connect(bob), "there")
    assert [socket.next().payload["Content"] for socket in staying] == ["there"] * len(staying)


def test_a_user_connects_again_after_a_restart_and_hears_his_channels(start_world):
    world = start_world()
    here, _ = world.sides()
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob)
    socket = here.connect(bob)
    here.server.restart()
    with pytest.raises((Closed, ConnectionError)):
        while True:
            socket.next()
    here.reconnect()
    world.reconnect()
    for number in range(4):
        socket = world.connect(bob)
        assert alive(world, channel, alice, socket, f"back again {number}")
