"""A WebSocket client of few lines that shows what a server really writes: frames, flags, close codes.

Every server frame is checked on the way in: unmasked, no reserved bit, text in one piece, the envelope of
two string headers and a `Payload` that is a JSON string (or nothing). Pings are answered while reading.
"""

import base64
import hashlib
import json
import os
import uuid
from dataclasses import dataclass

from support.http import Connection, serialise
from support.sigv4 import Request, presign

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


@dataclass(frozen=True)
class Event:
    """One frame: its two header values, its payload, parsed (times stay strings), its id if it has one; all headers."""

    type: str
    message_type: str
    payload: dict | None
    text: str
    id: str | None = None

    @property
    def headers(self):
        return json.loads(self.text)["Headers"]


@dataclass(frozen=True)
class Closed(Exception):
    """The server closed the socket with this code and reason."""

    code: int
    reason: str


def parse(text):
    """Takes the envelope apart and checks its form."""
    frame = json.loads(text)
    assert set(frame) <= {"Headers", "Payload"}, frame
    headers = frame["Headers"]
    assert all(isinstance(value, str) for value in headers.values()), headers
    payload = frame.get("Payload")
    assert payload is None or isinstance(payload, str), "Payload is a JSON string, parsed a second time"
    return Event(
        headers["x-amz-chime-event-type"], headers["x-amz-chime-message-type"],
        None if payload is None else json.loads(payload), text, headers.get("x-campanile-event-id"),
    )


class Socket:
    """A connection to `/connect`. Made by `open_socket`, or raw by a test that wants a broken handshake."""

    def __init__(self, connection, handshake):
        self._connection = connection
        self._buffer = connection.left_over()
        self.handshake = handshake
        self.pongs = []

    @classmethod
    def upgrade(cls, server, target, headers=(), *, host=None, version="13", receive_bytes=None):
        """Writes the handshake and returns the socket, or the HTTP answer if there was no upgrade."""
        nonce = base64.b64encode(os.urandom(16)).decode()
        connection = Connection(server.host, server.port, receive_bytes=receive_bytes, tls=server.tls)
        connection.write(serialise(Request("GET", target, (
            ("Host", host or server.authority), ("Connection", "Upgrade"), ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", version), ("Sec-WebSocket-Key", nonce), *headers,
        ))))
        answer = connection.read_answer()
        if answer.status != 101:
            connection.close()
            return answer
        proof = base64.b64encode(hashlib.sha1((nonce + GUID).encode()).digest()).decode()
        assert answer.header("sec-websocket-accept") == proof
        return cls(connection, answer)

    @property
    def port(self):
        return self._connection.port

    def close(self):
        self._connection.close()

    def half_close(self):
        """Ends what is sent, while another thread may still read."""
        self._connection.half_close()

    def wait_for_ever(self):
        self._connection.wait_for_ever()

    def cut(self):
        """Is gone without a close."""
        self._connection.cut()

    def _take(self, count):
        while len(self._buffer) < count:
            data = self._connection.read_some()
            if not data:
                raise ConnectionError("the socket ended without a close frame")
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _read_frame(self):
        first, second = self._take(2)
        assert first & 0x70 == 0, "a reserved bit is set: an extension was used that nobody asked for"
        assert first & 0x80, "the server does not fragment"
        assert second & 0x80 == 0, "a server frame is never masked"
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
        return first & 0x0F, self._take(length)

    def write_frame(self, opcode, payload=b"", *, claimed_length=None):
        """A masked client frame; `claimed_length` announces more than is written."""
        length = len(payload) if claimed_length is None else claimed_length
        if length < 126:
            head = bytes([0x80 | opcode, 0x80 | length])
        elif length < 1 << 16:
            head = bytes([0x80 | opcode, 0x80 | 126]) + length.to_bytes(2, "big")
        else:
            head = bytes([0x80 | opcode, 0x80 | 127]) + length.to_bytes(8, "big")
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._connection.write(head + mask + masked)

    def write_raw(self, data):
        """Bytes that need not be a frame."""
        self._connection.write(data)

    def next(self):
        """The next event; raises `Closed` when the server closes instead."""
        while True:
            opcode, data = self._read_frame()
            if opcode == TEXT:
                return parse(data.decode("utf-8"))
            if opcode == CLOSE:
                code = int.from_bytes(data[:2], "big") if data else 1005
                self.close()
                raise Closed(code, data[2:].decode("utf-8"))
            if opcode == PING:
                self.write_frame(PONG, data)
            elif opcode == PONG:
                self.pongs.append(data)
                return None
            else:
                raise AssertionError(f"unexpected opcode {opcode}")

    def closed(self):
        """Reads to the close frame and returns it; events before it are dropped."""
        try:
            while True:
                self.next()
        except Closed as end:
            return end

    def answered(self):
        """All events that come before the answer to a ping."""
        self.write_frame(PING, b"answered")
        return list(iter(self.next, None))

    def until(self, wanted):
        """All events up to and including the first for which `wanted` holds."""
        events = []
        while not events or not wanted(events[-1]):
            events.append(self.next())
        return events


def connect_target(server, user_arn, *, host=None, session_id=None, parameters=None, key=None, **signing):
    """The signed request target for a user's socket."""
    query = {"sessionId": session_id or str(uuid.uuid4()), "userArn": user_arn} | (parameters or {})
    return presign(host or server.authority, query, key or server.key, **signing)


def open_socket(server, user_arn, *, headers=(), receive_bytes=None, **options):
    """Connects, and returns the socket with SESSION_ESTABLISHED (asserted to be the first frame) read."""
    socket = Socket.upgrade(server, connect_target(server, user_arn, **options), headers, receive_bytes=receive_bytes)
    assert isinstance(socket, Socket), socket
    first = socket.next()
    assert (first.type, first.message_type, first.payload) == ("SESSION_ESTABLISHED", "SYSTEM", None), first
    return socket


def refused(server, target, **options):
    """The close frame of a connect that is expected to be refused: 101 first, no event, then the close."""
    socket = Socket.upgrade(server, target, **options)
    assert isinstance(socket, Socket), f"a refusal upgrades first, this was {socket}"
    try:
        event = socket.next()
    except Closed as end:
        return end
    raise AssertionError(f"accepted: {event}")
