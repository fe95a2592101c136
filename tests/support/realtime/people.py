"""Users with sockets, and callers with connections: what a play is played with."""

import contextlib
import socket
import threading
import time
import uuid

from support.http import Connection, build
from support.realtime.ledger import Session, Window
from support.server import DEADLINE_S
from support.sigv4 import sign
from support.sockets import CLOSE, Closed, open_socket

SOCKETS_MAX = 3
# How a call may end. Everything else is a fault of the server.
REFUSED = {400, 401, 403, 404, 409}
KICKED, NORMAL = 4003, 1000


class Caller:
    """Calls the servers by turns as the root key, on one connection to each; used by one thread."""

    def __init__(self, servers, rng):
        self._servers = servers
        self._rng = rng
        self._connections = {}

    def call(self, method, target, body=None, *, bearer=None):
        """The answer's body (None when refused) and the window of the call."""
        index = self._rng.randrange(len(self._servers))
        server = self._servers[index]
        if index not in self._connections:
            self._connections[index] = Connection(server.host, server.port)
        request = sign(build(server, method, target, body, bearer=bearer), server.key)
        start = time.monotonic()
        answer = self._connections[index].send(request)
        window = Window(start, time.monotonic())
        if 200 <= answer.status < 300:
            return (answer.json() if answer.body else {}), window
        assert answer.status in REFUSED, answer
        return None, window

    def close(self):
        for connection in self._connections.values():
            connection.close()


class Listener:
    """One socket, read by a thread to its end."""

    def __init__(self, server, user):
        start = time.monotonic()
        self._socket = open_socket(server, user)
        self.opened = Window(start, time.monotonic())
        # A quiet socket is no failure; what waits for it has a deadline.
        self._socket.wait_for_ever()
        self.user = user
        self.log = []
        self.closed = None
        self.end = None
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        end = None
        try:
            while True:
                event = self._socket.next()
                with self._changed:
                    self.log.append(event)
                    self._changed.notify_all()
        except Closed as closed:
            end = closed.code
        except (OSError, AssertionError) as failure:
            end = failure
        with self._changed:
            self.end = end
            self._changed.notify_all()

    def wait_until(self, holds, what):
        """Waits until `holds` is true of the log."""
        with self._changed:
            done = self._changed.wait_for(lambda: holds(self.log) or self.end is not None, DEADLINE_S)
            assert done and holds(self.log), f"{self.user} waits for {what}, end {self.end!r}"

    def wait_for_end(self):
        self._reader.join(DEADLINE_S)
        assert not self._reader.is_alive(), f"the socket of {self.user} stays open"
        return self.end

    def hang_up(self):
        """Closes in good order, and reads what is on its way."""
        start = time.monotonic()
        self._socket.write_frame(CLOSE, NORMAL.to_bytes(2, "big"))
        assert self.wait_for_end() == NORMAL, self.end
        self.closed = Window(start, time.monotonic())

    def vanish(self):
        """Is gone without a word."""
        start = time.monotonic()
        self._socket.cut()
        self.wait_for_end()
        self.closed = Window(start, time.monotonic())

    def session(self):
        with self._changed:
            return Session(self.user, self.opened, list(self.log), self.closed)


class Person:
    """A user and his sockets, the closed ones too."""

    def __init__(self, arn):
        self.arn = arn
        self.lock = threading.Lock()
        self.listeners = []
        self.is_going = False

    def open_listeners(self):
        return [listener for listener in self.listeners if listener.closed is None]

    def listen(self, server):
        """Opens one more socket, unless he is leaving for good or has as many as he may."""
        with self.lock:
            if not self.is_going and len(self.open_listeners()) < SOCKETS_MAX:
                self.listeners.append(Listener(server, self.arn))

    def stop_listening(self, rng):
        """Closes one of his sockets; the oldest stays, so that one has heard it all."""
        with self.lock:
            candidates = self.open_listeners()[1:]
            if candidates and not self.is_going:
                rng.choice([Listener.hang_up, Listener.vanish])(rng.choice(candidates))


def token():
    return str(uuid.uuid4())


@contextlib.contextmanager
def held(locks):
    """Takes all of the locks or none; yields whether it did."""
    taken = []
    try:
        yield all(lock.acquire(blocking=False) and not taken.append(lock) for lock in locks)
    finally:
        for lock in taken:
            lock.release()
