"""Several nodes on one store, and what tests do with them."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from support import clients
from support.server import eventually
from support.sockets import open_socket
from support.world import World

# What only ever takes long on a machine that is slow, busy or broken.
SLOW_S = 60
# A socket that answers no ping for longer than twice 30 s is closed.
UNREAD_S_MAX = 20


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


class Watch:
    """Knows when the sockets of all nodes were told of everything that was answered before."""

    def __init__(self, servers):
        self._nodes = [World(servers[0], "Watch")]
        self._nodes += [beside(self._nodes[0], server) for server in servers[1:]]
        self._watcher = self._nodes[0].user("watcher")
        self._channel = self._nodes[0].channel(self._watcher)
        self._sockets = []
        self._read_at = -UNREAD_S_MAX

    def settle(self):
        if time.monotonic() - self._read_at >= UNREAD_S_MAX:
            self._open()
        # What a node has said before a mark has arrived with it, and is told once nothing is held any more.
        self._mark()
        for node in self._nodes:
            eventually(lambda: node.server.metric("bus_held_commits") == 0, "all that is held", SLOW_S)
        self._mark()
        self._read_at = time.monotonic()

    def _open(self):
        for socket in self._sockets:
            socket.close()
        self._sockets = [open_socket(node.server, self._watcher) for node in self._nodes]

    def _mark(self):
        for node in self._nodes:
            mark = node.send(self._channel, self._watcher)
            for socket in self._sockets:
                socket.until(lambda event: event.payload.get("MessageId") == mark)

    def close(self):
        for socket in self._sockets:
            socket.close()
        self._nodes[0].close()


class Turns:
    """Stands for several of the same kind: whatever is asked of it is asked of the next one."""

    def __init__(self, several):
        self._several = itertools.cycle(several)

    def __getattr__(self, name):
        return getattr(next(self._several), name)


class Spread(World):
    """An app instance on several nodes: every request and every socket goes to the next one of them.

    A socket is opened once all nodes have told what was done before, as it is on one node.
    """

    def __init__(self, servers, watch, name="Spread"):
        self._several = itertools.cycle(servers)
        self._watch = watch
        super().__init__(servers[0], name)
        self.identity = Turns([clients.identity(server) for server in servers])
        self.messaging = Turns([clients.messaging(server) for server in servers])

    @property
    def server(self):
        self.settle()
        return next(self._several)

    @server.setter
    def server(self, _):
        """The first one is no more than the others."""

    def settle(self):
        self._watch.settle()
