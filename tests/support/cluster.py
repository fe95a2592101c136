"""Several nodes on one store, and what tests do with them."""

import threading
from concurrent.futures import ThreadPoolExecutor

from support.world import World

# What only ever takes long on a machine that is slow, busy or broken.
SLOW_S = 60


def beside(world, server):
    """The same app instance, as another node shows it."""
    other = World.__new__(World)
    other.__dict__ = dict(world.__dict__, server=server, _sockets=[])
    other.reconnect()
    return other


def together(calls):
    """Runs the calls at once and returns their answers."""
    with ThreadPoolExecutor(len(calls)) as pool:
        gate = threading.Barrier(len(calls))

        def run_one(call):
            gate.wait(SLOW_S)
            return call()

        return list(pool.map(run_one, calls))
