"""A lean sender for the tests that need many messages: one connection, own signatures, no SDK in between."""

import uuid

from support.http import Connection, build, label
from support.sigv4 import sign


class Sender:
    """Sends messages of one user; the connection is made when needed and after each failure."""

    def __init__(self, server, channel, bearer):
        self._server = server
        self._target = f"/channels/{label(channel)}/messages"
        self._bearer = bearer
        self._connection = None

    def send(self, content, token=None, persistence="PERSISTENT"):
        """The answer to one SendChannelMessage; raises OSError when the server went away before it."""
        body = {"Content": content, "Type": "STANDARD", "Persistence": persistence,
                "ClientRequestToken": token or str(uuid.uuid4())}
        request = build(self._server, "POST", self._target, body, bearer=self._bearer)
        request = sign(request, self._server.key)
        try:
            if self._connection is None:
                self._connection = Connection(self._server.host, self._server.port)
            return self._connection.send(request)
        except (OSError, ValueError):
            self.close()
            raise

    def id_of(self, content, **options):
        """Sends, expects success, and returns the message's id."""
        answer = self.send(content, **options)
        assert answer.status == 201, answer
        return answer.json()["MessageId"]

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None
