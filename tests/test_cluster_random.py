"""Everything that decides who hears what, at random and all at once, with requests and sockets spread over two nodes.

The play and its rules are those of `test_realtime_random.py`, and so are the variables that choose it.
"""

import functools
import os
import random

import pytest

from support import cluster
from support.nats import Nats
from support.realtime import oracle
from support.realtime.play import Play
from support.server import Server
from support.world import World

OPERATIONS = int(os.environ.get("CAMPANILE_PLAY_OPERATIONS", "2000"))
SEED = int(os.environ.get("CAMPANILE_PLAY_SEED", random.SystemRandom().randrange(1 << 32)))

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120 + OPERATIONS // 5)]


@pytest.fixture(scope="module")
def nodes(postgres):
    """Two nodes of one store, with a NATS of their own."""
    nats = Nats()
    servers = cluster.two_nodes(functools.partial(Server, None), postgres.new_store(), nats)
    yield servers
    for server in servers:
        server.close()
    servers[0].check_store()
    nats.stop()


@pytest.fixture(scope="module")
def play(nodes):
    print(f"CAMPANILE_PLAY_SEED={SEED}")
    world = World(nodes[0])
    play = Play(world, nodes, SEED)
    play.run(OPERATIONS)
    yield play
    world.close()


@pytest.fixture(scope="module")
def rules(play):
    return oracle.Rules(play.ledger, play.observers(), one_node=False)


def test_the_observers_hear_all_that_was_done_through_either_node_once_and_in_order(rules):
    assert rules.complaints == [], SEED


def test_every_socket_hears_exactly_what_the_rules_say_whichever_nodes_these_are(play, rules):
    complaints = [complaint for session in play.sessions() for complaint in rules.check(session)]
    assert complaints == [], SEED


def test_every_socket_hears_the_messages_of_a_channel_in_the_order_of_its_ids(play):
    """An id is the time and the number of its commit in the channel."""
    for session in play.sessions():
        for log in oracle.by_channel(session.log).values():
            for life in oracle.lives(log):
                ids = [event.payload["MessageId"] for event in life if event.type == "CREATE_CHANNEL_MESSAGE"
                       and event.payload["Persistence"] == "PERSISTENT"]
                assert ids == sorted(set(ids)), (SEED, session.user)


def test_both_nodes_have_done_and_heard_much(play, nodes):
    """A play on one of them would show nothing."""
    assert play.done.keys() > {"send", "edit", "join", "leave", "ban", "replace_room"}, play.done
    assert sum(len(session.log) for session in play.sessions()) > 2 * OPERATIONS
    for node in nodes:
        assert node.metric("bus_messages_heard_total") > OPERATIONS // 10
        assert node.metric("gap_losses_total") == 0
