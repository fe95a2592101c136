"""More than the server takes on: what is over a bound is refused at once, and what is admitted is not disturbed."""

import contextlib
import re
import resource
import selectors
import statistics
import time
import uuid
from pathlib import Path

import pytest

from support.http import Connection, build, label, serialise
from support.sigv4 import sign
from support.world import World

pytestmark = pytest.mark.any_engine

CROWD = 24
ROUNDS_MAX = 50

# Ten times the load that is taken on and more, by callers who ask again as soon as they were refused.
PLACES = 1
PRESSING = 20
CALM_REQUESTS = 300
PRESSING_REQUESTS = 6000
# Whoever comes back before that is told so at his turn, and waits no longer.
RETRY_AFTER_S = 1
# For a machine that is busy otherwise.
SLACK_S = 1

BODY_BYTES = 256 * 1024
# What docs/operations.md states: bodies that are arriving, and each connection besides.
ARRIVING_KIB = 64 * 1024
CONNECTION_KIB = 96
SLOW_CONNECTIONS = 450
# How long the server waits for a body: on a machine that is slower than that, some end with 408.
BODY_S = 20


def send_request(server, channel, user, content):
    body = {"Content": content, "Type": "STANDARD", "Persistence": "PERSISTENT",
            "ClientRequestToken": str(uuid.uuid4())}
    request = build(server, "POST", f"/channels/{label(channel)}/messages", body, bearer=user)
    return serialise(sign(request, server.key))


def peak_kib(server):
    """The most memory that the process ever had, without pages of files."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def test_a_crowd_is_refused_in_the_modelled_way_and_whom_it_admits_is_served(start):
    server = start("--max-requests", "1")
    server.expected_errors.append("1 requests are being answered")
    world = World(server)
    alice = world.user("alice")
    channel = world.channel(alice)
    crowd = [Connection(server.host, server.port) for _ in range(CROWD)]
    admitted, refused = [], []
    for turn in range(ROUNDS_MAX):
        contents = [f"{turn}:{place}" for place in range(CROWD)]
        requests = [send_request(server, channel, alice, content) for content in contents]
        for connection, request in zip(crowd, requests, strict=True):
            connection.write(request)
        answers = [connection.read_answer() for connection in crowd]
        for content, answer in zip(contents, answers, strict=True):
            (admitted if answer.status == 201 else refused).append((content, answer))
        if admitted and refused:
            break
    assert admitted and refused, "a crowd that sends at once is too many for one place"
    for _, answer in refused:
        assert (answer.status, answer.error) == (503, "ServiceUnavailableException"), answer
        assert answer.json()["Code"] == "ServiceUnavailable"
        assert (answer.header("retry-after"), answer.header("x-amz-retry-after")) == ("1", "1000")
        assert answer.header("x-amzn-RequestId") and answer.header("access-control-allow-origin") == "*"
    # The same connections serve on, and what was refused has left no trace.
    for place, connection in enumerate(crowd):
        connection.write(send_request(server, channel, alice, f"after {place}"))
        assert connection.read_answer().status == 201
        connection.close()
    expected = {content for content, _ in admitted} | {f"after {place}" for place in range(CROWD)}
    assert set(world.contents(channel, alice)) == expected
    world.close()


def press(connections, requests):
    """Keeps a request on its way on each connection; returns pairs of status and seconds, per connection."""
    requests = iter(requests)
    told = [[] for _ in connections]
    begun = [0.0] * len(connections)

    def write(place):
        request = next(requests, None)
        begun[place] = time.monotonic()
        if request is not None:
            connections[place].write(request)
        return request is not None

    with selectors.DefaultSelector() as selector:
        for place, connection in enumerate(connections):
            selector.register(connection, selectors.EVENT_READ, place)
            write(place)
        while selector.get_map():
            for key, _ in selector.select():
                place = key.data
                answer = connections[place].read_answer()
                told[place].append((answer.status, time.monotonic() - begun[place]))
                if not write(place):
                    selector.unregister(key.fileobj)
    return told


def test_ten_times_the_load_is_refused_at_once_and_whom_it_admits_does_not_wait(start):
    server = start("--max-requests", str(PLACES))
    server.expected_errors.append(f"{PLACES} requests are being answered")
    world = World(server)
    alice = world.user("alice")
    channel = world.channel(alice)
    requests = [send_request(server, channel, alice, "hello") for _ in range(CALM_REQUESTS + PRESSING_REQUESTS)]
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(Connection(server.host, server.port)) for _ in range(PRESSING)]
        calm = press(crowd[:PLACES], requests[:CALM_REQUESTS])
        pressed = press(crowd, requests[CALM_REQUESTS:])
    everything = [pair for told in pressed for pair in told]
    assert {status for status, _ in everything} == {201, 503}
    # The first refusal of a connection is told at once, the others at their turns.
    first = [seconds for told in pressed for status, seconds in told[:1] if status == 503]
    usual = statistics.median(seconds for told in calm for _, seconds in told)
    served = [seconds for status, seconds in everything if status == 201]
    refused = [seconds for status, seconds in everything if status == 503]
    assert first and statistics.median(first) < SLACK_S / 4
    assert max(refused) < RETRY_AFTER_S + SLACK_S
    # A caller writes one request after the other, so ten times as many are ten times as long about it.
    assert statistics.median(served) < usual * PRESSING / PLACES + SLACK_S / 20, (usual, statistics.median(served))
    assert statistics.quantiles(served, n=100)[98] < RETRY_AFTER_S + SLACK_S
    world.close()


def test_sockets_and_admin_pages_need_no_place_among_the_requests(start):
    server = start("--max-requests", "1", data_dir=":memory:")
    world = World(server)
    alice = world.user("alice")
    sockets = [world.connect(alice) for _ in range(3)]
    channel = world.channel(alice)
    world.send(channel, alice, "hello")
    for socket in sockets:
        assert socket.until(lambda event: event.type == "CREATE_CHANNEL_MESSAGE")
    assert server.metric("sockets_open") == 3


def test_large_bodies_on_many_slow_connections_stay_within_the_stated_memory(start):
    """All of them stand at their last byte: what finds no room is dropped, and told so when it is complete."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * SLOW_CONNECTIONS)), hard))
    server = start(data_dir=":memory:")
    server.expected_errors.append("are still arriving")
    world = World(server)
    alice = world.user("alice")
    channel = world.channel(alice)
    before_kib = peak_kib(server)
    head = f"POST /channels HTTP/1.1\r\nHost: {server.authority}\r\nContent-Length: {BODY_BYTES}\r\n\r\n".encode()
    almost = head + b" " * (BODY_BYTES - 1)
    slow = [Connection(server.host, server.port) for _ in range(SLOW_CONNECTIONS)]
    begun = time.monotonic()
    for connection in slow:
        connection.write(almost)
    with Connection(server.host, server.port) as other:
        other.write(send_request(server, channel, alice, "meanwhile"))
        assert other.read_answer().status == 201, "a body that comes in one piece needs no room"
    statuses = []
    for connection in slow:
        # One that was ended has its answer all the same.
        with contextlib.suppress(ConnectionError):
            connection.write(b" ")
        statuses.append(connection.read_answer().status)
        connection.close()
    # Nobody signed them.
    assert set(statuses) <= {403, 408, 503}
    if time.monotonic() - begun < BODY_S:
        assert set(statuses) == {403, 503}
        assert statuses.count(403) >= ARRIVING_KIB * 1024 // BODY_BYTES
    grown_kib = peak_kib(server) - before_kib
    assert grown_kib < ARRIVING_KIB + SLOW_CONNECTIONS * CONNECTION_KIB, f"{grown_kib} KiB"
    assert SLOW_CONNECTIONS * BODY_BYTES // 1024 > ARRIVING_KIB + SLOW_CONNECTIONS * CONNECTION_KIB
    assert world.contents(channel, alice) == ["meanwhile"]
