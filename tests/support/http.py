"""HTTP/1.1 over a bare socket: exactly the given bytes go out, and the answer is read without interpretation."""

import json
import select
import socket
from dataclasses import dataclass
from urllib.parse import quote

from support.sigv4 import Request, sign

TIMEOUT_S = 15


@dataclass(frozen=True)
class Answer:
    """A response: `headers` keeps the names as they were written, in order."""

    status: int
    headers: tuple
    body: bytes

    def header(self, name):
        """The value of a header by any case, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.header("x-amzn-ErrorType")


class Connection:
    """One connection to a server; it may carry several requests one after the other.

    `receive_bytes` bounds what the system takes for a client that does not read. `tls` is the context of a client
    that speaks TLS.
    """

    def __init__(self, host, port, *, receive_bytes=None, tls=None):
        self._socket = socket.socket()
        self._socket.settimeout(TIMEOUT_S)
        if receive_bytes is not None:
            # Before the connection is made, because it decides what the server may send ahead.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.connect((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    @property
    def port(self):
        """The client's own port, by which the server's end is found."""
        return self._socket.getsockname()[1]

    def fileno(self):
        """For selectors."""
        return self._socket.fileno()

    def write(self, data):
        self._socket.sendall(data)

    def wait_for_ever(self):
        """Takes the time limit off reads; whoever waits has one of his own."""
        self._socket.settimeout(None)

    def cut(self):
        """Ends the connection at once, under a reader in another thread too."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def half_close(self):
        self._socket.shutdown(socket.SHUT_WR)

    def has_data(self):
        """Whether something has arrived that was not read yet."""
        return bool(self._buffer or select.select([self._socket], [], [], 0)[0])

    def read_some(self):
        """More bytes, or b"" at the end."""
        return self._socket.recv(65536)

    def _more(self):
        data = self.read_some()
        if not data:
            raise ConnectionError(f"the server closed the connection after {self._buffer!r}")
        self._buffer += data

    def _take(self, count):
        while len(self._buffer) < count:
            self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _take_line(self):
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode("latin-1")

    def read_head(self):
        """Status and headers of the next answer."""
        status = int(self._take_line().split(" ", 2)[1])
        headers = []
        while line := self._take_line():
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        return status, tuple(headers)

    def read_answer(self, method="GET"):
        status, headers = self.read_head()
        named = {name.lower(): value for name, value in headers}
        if method == "HEAD" or status in (204, 304) or status < 200:
            body = b""
        elif "content-length" in named:
            body = self._take(int(named["content-length"]))
        else:
            body = self._read_chunked()
        return Answer(status, headers, body)

    def _read_chunked(self):
        body = b""
        while size := int(self._take_line().split(";")[0], 16):
            body += self._take(size)
            self._take(2)
        self._take_line()
        return body

    def send(self, request):
        """Writes a request as it is (Content-Length is added when a body has none) and reads the answer."""
        self.write(serialise(request))
        return self.read_answer(request.method)

    def left_over(self):
        """Bytes that were read but belong to what follows the answer (the first WebSocket frames)."""
        taken, self._buffer = self._buffer, b""
        return taken


def serialise(request):
    """The bytes of a request."""
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    framed = request.header("content-length") is not None or request.header("transfer-encoding") is not None
    if request.body and not framed:
        lines.append(f"Content-Length: {len(request.body)}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + request.body


def label(arn):
    """An ARN as a path label, the way every SDK writes it."""
    return quote(arn, safe="")


def build(server, method, target, body=None, *, bearer=None, headers=(), host=None):
    """An unsigned request to `server`; a body that is not bytes is written as JSON."""
    if body is None:
        content = b""
    else:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fixed = [("Host", host or server.authority)]
    if bearer is not None:
        fixed.append(("x-amz-chime-bearer", bearer))
    return Request(method, target, (*fixed, *headers), content)


def exchange(server, request):
    """Sends one finished request on a connection of its own."""
    with Connection(server.host, server.port) as connection:
        return connection.send(request)


def call(server, method, target, body=None, *, bearer=None, headers=(), key=None, **signing):
    """Signs and sends a request, and returns the answer."""
    request = build(server, method, target, body, bearer=bearer, headers=headers)
    return exchange(server, sign(request, key or server.key, **signing))


def get_plain(host, port, path):
    """An unsigned GET, for the admin listener."""
    with Connection(host, port) as connection:
        return connection.send(Request("GET", path, (("Host", f"{host}:{port}"),)))
