"""Several nodes on one store, and what tests do with them."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from support import clients
from support.postgres import named
from support.server import eventually
from support.sockets import CLOSE, open_socket
from support.world import World

# What only ever takes long on a machine that is slow, busy or broken.
SLOW_S = 60
NAMES = ("left", "right")
NORMAL = (1000).to_bytes(2, "big")


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
    """Knows when the sockets of all nodes that run were told of everything that was answered before."""

    def __init__(self, servers):
        self._first = World(servers[0], "Watch")
        self._nodes = [self._first, *[beside(self._first, server) for server in servers[1:]]]
        self._watcher = self._first.user("watcher")
        self._channel = self._first.channel(self._watcher)

    def settle(self):
        nodes = [node for node in self._nodes if node.server.running]
        for node in nodes:
            node.reconnect()
        sockets = [open_socket(node.server, self._watcher) for node in nodes]
        # What a node has said before a mark has arrived with it, and is told once nothing is held any more.
        self._mark(nodes, sockets)
        for node in nodes:
            eventually(lambda: node.server.metric("bus_held_commits") == 0, "all that is held", SLOW_S)
        self._mark(nodes, sockets)
        # They are of no figure that a test looks at.
        for socket in sockets:
            socket.write_frame(CLOSE, NORMAL)
            socket.closed()

    def _mark(self, nodes, sockets):
        for node in nodes:
            mark = node.send(self._channel, self._watcher)
            for socket in sockets:
                socket.until(lambda event: event.payload.get("MessageId") == mark)

    def close(self):
        self._first.close()


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
        self._servers = servers
        self._watch = watch
        super().__init__(None, name)

    @property
    def nodes(self):
        return self._servers

    def reconnect(self):
        """Goes on with the nodes that run now, at their present addresses."""
        running = [server for server in self._servers if server.running]
        self._several = itertools.cycle(running)
        self.identity = Turns([clients.identity(server) for server in running])
        self.messaging = Turns([clients.messaging(server) for server in running])

    @property
    def server(self):
        self.settle()
        return next(self._several)

    @server.setter
    def server(self, _):
        """None of them is the server."""

    def settle(self):
        self._watch.settle()

    def sides(self):
        return [Side(self, server) for server in self._servers]


class Side(World):
    """The app instance of a spread world as one of its nodes shows it."""

    def __init__(self, spread, server):
        self._spread = spread
        self.server = server
        self.arn = spread.arn
        self._sockets = spread._sockets
        self.reconnect()

    def settle(self):
        self._spread.settle()

    def connect(self, user_arn, **options):
        self.settle()
        return super().connect(user_arn, **options)


def two_nodes(start, url, nats, *arguments):
    """Starts two nodes of one store."""
    return [start("--nats-url", nats.url, *arguments, database=named(url, name)) for name in NAMES]


def survivor(here, there):
    """Where the clients of a node go that is gone: to the other one, or, if it was alone, to itself, started again."""
    if there is here:
        here.server.start()
        here.reconnect()
    return there
