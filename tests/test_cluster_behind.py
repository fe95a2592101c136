"""A node that may be behind tells nothing that is far ahead of what may still come.

A session resumes from a few seconds before what it heard last, and must not pass over what is committed later.
"""

import contextlib
import threading
import time

import pytest

from support.cluster import SLOW_S, Watch, beside, two_nodes
from support.server import eventually
from support.sockets import Socket, connect_target
from support.world import World
from test_resume import milliseconds, resume

pytestmark = pytest.mark.postgres

# Nodes tell what is a second ahead of what is certain, and no more.
AHEAD_S = 1.0


@pytest.fixture
def pair(start, postgres, nats):
    """An app instance as two nodes show it."""
    url = postgres.new_store()
    servers = two_nodes(start, url, nats)
    left = World(servers[0])
    yield [left, beside(left, servers[1])]
    left.close()


@pytest.fixture
def stands_still(postgres, pair):
    """While it is entered, a transaction is open as that of a node which stopped between stamps and COMMIT."""
    schema = pair[0].server.database.partition("search_path%3D")[2].partition("&")[0]
    name = f"stands-still-{schema}"
    lock = f"LOCK TABLE {schema}.home IN ROW SHARE MODE"
    open_one = f"SET application_name = '{name}'; BEGIN; {lock}; SELECT pg_sleep(60)"
    end_it = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"

    @contextlib.contextmanager
    def enter():
        still = threading.Thread(target=postgres.sql_until_cut, args=(open_one,))
        still.start()
        try:
            for world in pair:
                eventually(lambda: world.server.metric("bus_certain_age_seconds") > 1.2 * AHEAD_S, "the gate is shut")
            yield
            assert still.is_alive()
        finally:
            postgres.sql(end_it)
            still.join(SLOW_S)

    return enter


def settle(pair):
    watch = Watch([world.server for world in pair])
    watch.settle()
    watch.close()


def ids(events):
    return [event.payload["MessageId"] for event in events if event.type == "CREATE_CHANNEL_MESSAGE"]


def test_nothing_is_told_that_is_far_ahead_of_a_commit_that_may_still_come(pair, stands_still):
    alice = pair[0].user("alice")
    channel = pair[0].channel(alice)
    settle(pair)
    sockets = [world.connect(alice) for world in pair]
    with stands_still():
        held = [world.send(channel, alice) for world in pair * 5]
        assert [socket.answered() for socket in sockets] == [[], []]
    for socket in sockets:
        assert ids(socket.until(lambda event: event.payload["MessageId"] == held[-1])) == held


def test_a_session_that_begins_meanwhile_goes_on_from_what_was_certain(pair, stands_still):
    alice = pair[0].user("alice")
    channel = pair[0].channel(alice)
    settle(pair)
    begun_ms = time.time() * 1000
    with stands_still():
        sent = [world.send(channel, alice) for world in pair]
        for world in pair:
            socket = Socket.upgrade(world.server, connect_target(world.server, alice))
            certain_ms = time.time() * 1000 - world.server.metric("bus_certain_age_seconds") * 1000
            event_id = socket.next().id
            assert begun_ms - AHEAD_S * 1000 < milliseconds(event_id) < certain_ms + AHEAD_S * 1000 + 50
            socket.close()
    socket, missed, _ = resume(pair[1].server, alice, event_id)
    socket.close()
    assert set(sent) <= set(ids(missed))


def test_a_session_that_resumes_meanwhile_is_told_when_the_rest_is_certain(pair, stands_still):
    alice = pair[0].user("alice")
    channel = pair[0].channel(alice)
    settle(pair)
    first = pair[0].connect(alice)
    begin = pair[0].send(channel, alice)
    [*_, told] = first.until(lambda event: event.payload["MessageId"] == begin)
    first.close()
    with stands_still():
        sent = [world.send(channel, alice) for world in pair]
        socket = pair[0].connect(alice, parameters={"resume-after": told.id})
        assert socket.answered() == []
    events = socket.until(lambda event: event.type == "RESUME_COMPLETE")
    events += socket.answered()
    assert [one for one in ids(events) if one != begin] == sent
