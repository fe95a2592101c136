"""Malformed requests: each of a long table gets its exact answer, nothing panics, nothing is written."""

import re
import uuid

import pytest

from support.bad_input import CASES, Place
from support.clients import everything
from support.http import Connection, call, exchange, get_plain, serialise
from support.world import World

# Bytes that are no HTTP request: the status with which the connection ends, or None where it just ends.
REQUEST = b"POST /channels HTTP/1.1\r\nHost: x\r\n"
HANDSHAKE = b"GET /connect HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
GARBAGE = {
    "nothing but a newline": (None, b"\r\n\r\n"),
    "random bytes": (400, bytes(range(256)) * 4),
    "a tls hello": (None, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x00" * 200),
    "half a request line": (None, b"GET /channels"),
    "no version": (400, b"GET /channels\r\n\r\n"),
    "http/9.9": (400, b"GET /channels HTTP/9.9\r\nHost: x\r\n\r\n"),
    "the preface of http/2": (None, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a header without a colon": (400, b"GET /channels HTTP/1.1\r\nHost x\r\n\r\n"),
    "a space in a header name": (400, b"GET /channels HTTP/1.1\r\nHo st: x\r\n\r\n"),
    "a folded header": (400, b"GET /channels HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"),
    "nul in a header": (400, b"GET /channels HTTP/1.1\r\nHost: x\x00y\r\n\r\n"),
    "a space in the path": (400, b"GET /chan nels HTTP/1.1\r\nHost: x\r\n\r\n"),
    "content-length is no number": (400, REQUEST + b"Content-Length: ten\r\n\r\n"),
    "content-length is negative": (400, REQUEST + b"Content-Length: -1\r\n\r\n"),
    "two content-lengths": (400, REQUEST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "an unknown transfer coding": (400, REQUEST + b"Transfer-Encoding: rot13\r\n\r\nab"),
    "a chunk size that is none": (400, REQUEST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "a chunk that is cut": (400, REQUEST + b"Transfer-Encoding: chunked\r\n\r\nff\r\nab"),
    "a body that is cut": (400, REQUEST + b"Content-Length: 100\r\n\r\n{"),
    "a thousand headers": (431, REQUEST + b"a: b\r\n" * 1000 + b"\r\n"),
    "a handshake without a key": (426, HANDSHAKE + b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"),
    "a handshake of another version": (426, HANDSHAKE + b"Upgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
                                                        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
    "an upgrade to something else": (426, HANDSHAKE + b"Upgrade: h2c\r\n\r\n"),
}
ERRORS_OF_GARBAGE = {
    400: "SerializationException",
    426: "ValidationException",
    431: "RequestHeaderFieldsTooLargeException",
}
# These go on until the server has had enough; whether its 431 is still read is up to the network.
ENDLESS = {
    "a head without end": b"GET /channels HTTP/1.1\r\n" + b"a: b\r\n" * 100_000,
    "a uri without end": b"GET /" + b"x" * 500_000,
}


@pytest.fixture(scope="module")
def place(server):
    """A channel that holds one message; whatever the module sends, it and its surroundings stay as they are."""
    world = World(server, "Bad input")
    user = world.user("alice")
    channel = world.channel(user)
    world.send(channel, user, "the only one")
    place = Place(server, world.arn, channel, user)
    before = snapshot(world, place)
    yield place
    assert snapshot(world, place) == before
    assert get_plain(server.admin_host, server.admin_port, "/healthz").status == 200
    assert not [line for line in server.log() if "panicked" in line]
    world.close()


def snapshot(world, place):
    """Everything that lists show."""
    return [
        everything(world.identity.list_app_instances, "AppInstances"),
        everything(world.identity.list_app_instance_users, "AppInstanceUsers", AppInstanceArn=world.arn),
        everything(world.messaging.list_channels, "Channels", AppInstanceArn=world.arn, ChimeBearer=place.user),
        world.members(place.channel, place.user),
        world.messages(place.channel, place.user),
    ]


def test_the_table_is_long_enough_and_has_no_case_twice():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_malformed_request_gets_its_exact_answer(place, case):
    answer = exchange(place.server, case.make(place))
    assert (answer.status, answer.error) == (case.status, case.error), answer
    assert answer.header("content-type") == "application/json"
    assert answer.header("x-amzn-RequestId")
    body = answer.json()
    if case.error == "BadRequestException":
        assert body.pop("Code") == "BadRequest"
        text = body.pop("Message")
    else:
        text = body.pop("message")
    assert body == {}, "no further members"
    if isinstance(case.message, re.Pattern):
        assert case.message.fullmatch(text), text
    else:
        assert text == case.message


def answer_to_bytes(place, data, *, ends):
    """The whole answer to raw bytes, or None when the connection ends without one."""
    with Connection(place.server.host, place.server.port) as connection:
        try:
            connection.write(data)
            if ends:
                connection.half_close()
            return connection.read_answer()
        except OSError:
            return None  # the server closed before it had read everything, or said nothing


@pytest.mark.parametrize("name", GARBAGE)
def test_bytes_that_are_no_request_end_the_connection_and_disturb_nobody(place, name):
    status, data = GARBAGE[name]
    answer = answer_to_bytes(place, data, ends=status is None or name.endswith("cut"))
    assert (answer and answer.status) == status
    if status is not None:
        check_dress(answer)
    assert call(place.server, "GET", place.messages, bearer=place.user).status == 200


def check_dress(answer):
    """Also what is refused before it is a request has all that clients read."""
    assert answer.error == ERRORS_OF_GARBAGE[answer.status], answer
    assert set(answer.json()) == {"message"} and answer.json()["message"], answer
    assert answer.header("content-type") == "application/json"
    assert uuid.UUID(answer.header("x-amzn-requestid"))
    assert answer.header("access-control-allow-origin") == "*"
    assert "x-amzn-errortype" in answer.header("access-control-expose-headers")
    assert answer.header("date")


@pytest.mark.parametrize("name", ENDLESS)
def test_a_head_without_end_is_cut_off(place, name):
    answer = answer_to_bytes(place, ENDLESS[name], ends=True)
    if answer is not None:
        assert answer.status == 431
        check_dress(answer)
    assert call(place.server, "GET", place.messages, bearer=place.user).status == 200


def test_many_bad_requests_on_one_connection_are_answered_one_by_one(place):
    cases = [case for case in CASES if case.status in (400, 404)]
    with Connection(place.server.host, place.server.port) as connection:
        for case in cases:
            connection.write(serialise(case.make(place)))
            answer = connection.read_answer()
            assert (answer.status, answer.error) == (case.status, case.error), case.name


def test_many_violations_are_all_counted_and_the_answer_stays_small(place):
    attributes = {f"name-{number}": {"StringValues": [""] * 10} for number in range(300)}
    body = {"MessageAttributes": attributes}
    answer = call(place.server, "POST", place.messages, body, bearer=place.user)
    assert (answer.status, answer.error) == (400, "BadRequestException")
    assert re.match(r"\d{4} validation errors detected: ", answer.json()["Message"])
    assert len(answer.body) < 16 * 1024


def test_texts_of_refusals_do_not_repeat_what_is_sensitive(place):
    secret = "confidential words"
    for body in (
        {"Content": secret * 300, "Metadata": secret * 100, "ClientRequestToken": secret, "ContentType": secret * 9},
        b'{"Content": "' + secret.encode() + b'"',
    ):
        answer = call(place.server, "POST", place.messages, body, bearer=place.user)
        assert answer.status == 400
        assert "confidential" not in answer.body.decode()
    assert "confidential" not in "\n".join(place.server.log())
