"""A client that stays for as long as a test runs: it listens on one socket, and comes back where that is closed.

Like a client of the service it takes a code that means "come back" for what it says, and any other for the end. With
the id of the last event that it heard it asks for what it has missed.
"""

import json
import threading
import time

from support.sockets import Closed, Socket, connect_target

EVENT_ID = "x-campanile-event-id"
RETRYABLE = {1001, 1006, 1011, 1012, 1013, 1014}
PAUSE_S = 0.2


class Listener:
    """`servers` are the nodes, the first one that answers is taken, from `first` on in turns."""

    def __init__(self, servers, user, first=0):
        self._servers = servers
        self._user = user
        self._first = first
        self._socket = None
        self._stop = False
        self._changed = threading.Condition()
        self._last_event_id = None
        # Ids of messages, by channel, in the order in which they came, of each connection by itself.
        self.connections = []
        self.established = threading.Event()
        self.contents = set()
        self.closes = []
        self.failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop = True
        if self._socket is not None:
            # The server ends what the client has ended, and with it the reading.
            self._socket.half_close()
        self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def wait_for(self, content, within_s):
        with self._changed:
            done = self._changed.wait_for(lambda: content in self.contents or self.failure, within_s)
        assert not self.failure, self.failure
        assert done, f"{content} was not heard; closes: {self.closes}"

    def heard(self, channel):
        """All messages of a channel that were heard on any connection."""
        return {message for heard in self.connections for message in heard.get(channel, [])}

    def check_order(self):
        for heard in self.connections:
            for channel, ids in heard.items():
                assert ids == sorted(set(ids)), f"{channel}: not in order, or twice on one connection"

    def _run(self):
        turn = self._first
        while not self._stop:
            server = self._servers[turn % len(self._servers)]
            turn += 1
            try:
                self._listen(server)
            except Closed as end:
                self.closes.append(end.code)
                if end.code not in RETRYABLE:
                    self._fail(f"closed with {end}")
                    return
            except (OSError, ValueError, IndexError):
                self.closes.append(None)
            except AssertionError as failure:
                self._fail(failure)
                return
            time.sleep(PAUSE_S)

    def _fail(self, why):
        with self._changed:
            self.failure = why
            self._changed.notify_all()

    def _listen(self, server):
        missed = {"resume-after": self._last_event_id} if self._last_event_id else {}
        target = connect_target(server, self._user, parameters=missed)
        self._socket = socket = Socket.upgrade(server, target)
        if not isinstance(socket, Socket):
            raise OSError(f"no upgrade: {socket}")
        heard = {}
        self.connections.append(heard)
        while not self._stop:
            event = socket.next()
            if event.type == "SESSION_ESTABLISHED":
                self.established.set()
            assert event.type != "RESUME_TOO_OLD", event.payload
            with self._changed:
                self._last_event_id = json.loads(event.text)["Headers"].get(EVENT_ID, self._last_event_id)
                if event.type == "CREATE_CHANNEL_MESSAGE":
                    heard.setdefault(event.payload["ChannelArn"], []).append(event.payload["MessageId"])
                    self.contents.add(event.payload["Content"])
                    self._changed.notify_all()
