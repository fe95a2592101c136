"""Two nodes under load while everything that can fail does, at random.

CAMPANILE_FAULT_SECONDS makes it longer, CAMPANILE_FAULT_SEED makes other choices.
"""

import os
import random
import signal
import time

import pytest

from support.cluster import SLOW_S, beside
from support.listener import Listener
from support.load import Load
from support.nats import Nats
from support.postgres import Postgres, named
from support.world import World

SECONDS = int(os.environ.get("CAMPANILE_FAULT_SECONDS", "30"))
# Beside the faults: what is sent has to arrive, and every fault lets some of the load through first.
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(2 * SECONDS + 300)]
SEED = int(os.environ.get("CAMPANILE_FAULT_SEED", "164343258"))
# How long a node stands still: well beyond a lease.
STOPPED_S = 20
AWAY_S = 3
SENDERS = 8
CHANNELS = 3
# Fast enough that something is always under way, and no more in an outage than a session may resume over.
REST_S = 0.03
# What nodes may say while the database is away, or while they find that they stood still.
EXPECTED = [
    "the database (cannot be (reached|read|written)|does not answer)",
    "the connection was lost while committing",
    "the (committer|outcome)",
]


class Trouble:
    """What the faults are done to."""

    def __init__(self, servers, postgres, nats, load):
        self.servers, self.postgres, self.nats, self.load = servers, postgres, nats, load

    def kill_a_node(self, server):
        server.kill()
        time.sleep(1)
        server.start()

    def stop_a_node_for_a_while(self, server):
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_S)
        server.process.send_signal(signal.SIGCONT)

    def stop_the_database(self, _):
        self.postgres.halt()
        time.sleep(AWAY_S)
        self.postgres.start()

    def pause_nats(self, _):
        self.nats.pause()
        time.sleep(AWAY_S)
        self.nats.go_on()

    def kill_nats(self, _):
        self.nats.halt()
        time.sleep(AWAY_S)
        self.nats.start()

    def restart_everything(self, _):
        for server in self.servers:
            server.kill()
        self.nats.halt()
        self.postgres.halt()
        self.postgres.start()
        for server in self.servers:
            server.start()
        # The bus comes last: nodes do not need it to start.
        self.nats.start()

    @property
    def faults(self):
        return [self.kill_a_node, self.stop_a_node_for_a_while, self.stop_the_database, self.pause_nats,
                self.kill_nats, self.restart_everything]


@pytest.fixture
def own():
    """A database and a NATS that the test may stop; they go last."""
    postgres, nats = Postgres(), Nats()
    yield postgres, nats
    nats.stop()
    postgres.stop()


def test_nothing_acknowledged_is_lost_and_no_socket_misses_anything_whatever_fails(own, start):
    postgres, nats = own
    choice = random.Random(SEED)
    print(f"CAMPANILE_FAULT_SEED={SEED}")
    url = postgres.new_store()
    servers = [start("--nats-url", nats.url, database=named(url, name)) for name in ("left", "right")]
    for server in servers:
        server.expected_errors += EXPECTED
    left = World(servers[0])
    users = left.users(*[f"sender-{number}" for number in range(SENDERS)])
    channels = [left.channel(users[0], *users[1:]) for _ in range(CHANNELS)]
    listeners = [Listener(servers, users[number], first=number) for number in range(4)]
    for listener in listeners:
        assert listener.established.wait(SLOW_S)
    with Load(servers, channels, users, REST_S) as load:
        trouble = Trouble(servers, postgres, nats, load)
        to_come = choice.sample(trouble.faults, len(trouble.faults))
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or to_come:
            # All of them in turn, in an order of their own each time; each comes once at least.
            if not to_come:
                to_come = choice.sample(trouble.faults, len(trouble.faults))
            fault = to_come.pop()
            print(f"{time.monotonic():.1f} {fault.__name__}")
            fault(choice.choice(servers))
            load.wait_for(20)
    left.reconnect()
    right = beside(left, servers[1])
    marks = []
    for world in (left, right):
        for number, channel in enumerate(channels):
            content = f"mark of {world.server.port} in {number}"
            marks.append([(content, world.send(channel, users[0], content))])
    for listener in listeners:
        for [(content, _)] in marks:
            listener.wait_for(content, SLOW_S)
        listener.stop()
    for world in (left, right):
        load.check(world, users[0], *marked(marks))
    for listener in listeners:
        listener.check_order()
        for number, channel in enumerate(channels):
            sent = {message for sender in range(number, SENDERS, CHANNELS)
                    for _, message in load.acknowledged[sender]}
            missing = sent - listener.heard(channel)
            assert not missing, f"{len(missing)} of {len(sent)} were never heard; closes: {listener.closes}"


def marked(marks):
    """What was sent beside the load, one list for each channel: both nodes sent into each."""
    return [[pair for mark in marks[number::CHANNELS] for pair in mark] for number in range(CHANNELS)]
