"""`kill -9` at random moments under load: nothing acknowledged is lost, doubled or out of order."""

import random
import time

import pytest

from support.load import Load
from support.server import monotonic_deadline
from support.world import World

pytestmark = pytest.mark.any_engine

KILLS = 60
SENDERS = 12
CHANNELS = 3
START_S_MAX = 5.0


def test_every_acknowledged_message_survives_kill_9_once_and_in_order(start):
    server = start()
    world = World(server)
    users = [world.user(f"sender-{number}") for number in range(SENDERS)]
    channels = [world.channel(users[0], *users[1:]) for _ in range(CHANNELS)]
    chance = random.Random(20210515)
    starts = []
    deadline = monotonic_deadline(100)
    with Load([server], channels, users) as load:
        for _ in range(KILLS):
            deadline("all kills")
            load.let_through()
            # A moment that only the load decides: after some answers, while others are on their way.
            load.wait_for(chance.randint(1, 100))
            server.process.kill()
            load.hold()
            server.kill()
            begun = time.monotonic()
            server.start()
            starts.append(time.monotonic() - begun)
        load.let_through()
        load.wait_for(SENDERS)
    world.reconnect()

    assert load.lost >= KILLS, "no kill met an open request"
    assert load.refused == 0, "a store that is there refuses nothing"
    assert max(starts) < START_S_MAX, f"a start that repairs something takes long: {starts}"
    assert not [line for line in server.log() if "repair" in line.lower() or "recover" in line.lower()]
    load.check(world, users[0])
