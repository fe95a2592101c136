"""Quotas that the operator sets, and request rates as the service has them."""

import json

import pytest

from support import clients
from support.clients import refusal
from support.http import Connection, build, exchange, label, serialise
from support.server import run
from support.sigv4 import sign
from support.sockets import Closed, open_socket
from support.world import World

BURST = 60


def burst(server, method, target, bearer=None):
    """How many requests in a row are answered before one is throttled, and that answer."""
    for count in range(BURST):
        answer = exchange(server, sign(build(server, method, target, bearer=bearer), server.key))
        if answer.status == 429:
            return count, answer
        assert answer.status == 200, answer
    return BURST, None


@pytest.mark.any_engine
@pytest.mark.parametrize("place", ["flag", "variable", "file"])
def test_a_quota_is_set_by_its_name(start, tmp_path, place):
    arguments, environment = [], {}
    if place == "flag":
        arguments = ["--quota", "channels=1", "--quota", "memberships=2"]
    elif place == "variable":
        environment = {"CAMPANILE_QUOTA": "channels=1,memberships=2"}
    else:
        config = tmp_path / "campanile.toml"
        config.write_text("[quota]\nchannels = 1\nmemberships = 2\n", encoding="utf-8")
        arguments = ["--config", config]
    world = World(start(*arguments, environment=environment))
    alice, bob, carol = world.users("alice", "bob", "carol")
    room = world.channel(alice, bob)
    with refusal("ResourceLimitExceeded", "The limit of 2 memberships in the channel was exceeded"):
        world.join(room, alice, carol)
    with refusal("ResourceLimitExceeded", "The limit of 1 channels in the app instance was exceeded"):
        world.channel(bob)
    world.leave(room, alice, bob)
    world.join(room, alice, carol)


def test_quotas_are_printed_as_they_are_set():
    done = run("quotas", "--quota", "channels=7")
    assert (done.returncode, done.stderr) == (0, "")
    pairs = dict(line.split()[0].split("=") for line in done.stdout.splitlines())
    assert pairs["channels"] == "7"
    assert pairs["app-instances"] == "100" and pairs["user-memberships"] == "20000"
    for name in pairs:
        assert run("quotas", "--quota", f"{name}=3").stdout != done.stdout
        assert name in done.stdout


@pytest.mark.parametrize("value", ["rooms=1", "channels", "channels=", "channels=x", "channels=-1", "=1", ""])
def test_a_quota_that_makes_no_sense_is_refused(tmp_path, value):
    done = run("serve", "--quota", value, cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done
    assert "--quota" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.any_engine
@pytest.mark.two_nodes
def test_connections_of_a_user_are_a_quota(start_world):
    world = start_world("--quota", "connections=2", data_dir=":memory:")
    alice = world.user("alice")
    first, second = world.connect(alice), world.connect(alice)
    third = world.connect(alice)
    assert first.closed() == Closed(4003, "Forbidden")
    world.channel(alice, world.user("bob"))
    for socket in (second, third):
        assert socket.next().type == "CREATE_CHANNEL_MEMBERSHIP"


def test_connections_in_all_are_bounded(start):
    """One over the bound waits until another ends."""
    server = start("--max-connections", "1", data_dir=":memory:")
    request = sign(build(server, "GET", "/app-instances"), server.key)
    first, second = Connection(server.host, server.port), Connection(server.host, server.port)
    assert first.send(request).status == 200
    second.write(serialise(request))
    assert first.send(request).status == 200
    assert not second.has_data(), "the second was served beside the first"
    first.close()
    assert second.read_answer().status == 200
    second.close()


def test_rates_are_not_limited_by_default(start):
    server = start(data_dir=":memory:")
    assert burst(server, "GET", "/app-instances") == (BURST, None)


def test_rates_are_those_of_the_service_when_asked_for(start):
    server = start("--aws-quotas", data_dir=":memory:")
    world = World(server)
    alice, bob = world.users("alice", "bob")
    count, answer = burst(server, "GET", "/app-instances")
    # Ten at once; some more while the test was slower than the bucket filled.
    assert 10 <= count < BURST
    assert (answer.error, answer.json()) == (
        "ThrottledClientException", {"Code": "Throttled", "Message": "Rate exceeded"})
    assert answer.header("retry-after") == "1" and answer.header("x-amz-retry-after") == "1000"
    channels = f"/channels?app-instance-arn={label(world.arn)}"
    count, _ = burst(server, "GET", channels, bearer=alice)
    assert 10 <= count < BURST
    # Alice has used up her own bucket; Bob has all of his.
    for _ in range(5):
        moderated = "/channels?scope=app-instance-user-memberships"
        assert exchange(server, sign(build(server, "GET", moderated, bearer=bob), server.key)).status != 429


def test_a_throttled_send_leaves_no_message_and_its_token_stays_free(start):
    server = start("--aws-quotas", data_dir=":memory:")
    world = World(server)
    alice = world.user("alice")
    room = world.channel(alice)
    sent, refusals = [], []
    for number in range(BURST):
        body = {"Content": str(number), "Type": "STANDARD", "Persistence": "PERSISTENT",
                "ClientRequestToken": f"token-{number}"}
        request = build(server, "POST", f"/channels/{label(room)}/messages", body, bearer=alice)
        answer = exchange(server, sign(request, server.key))
        (sent if answer.status == 201 else refusals).append((number, answer))
    assert refusals and {answer.status for _, answer in refusals} == {429}
    listing = None
    while listing is None or listing.status == 429:
        request = build(server, "GET", f"/channels/{label(room)}/messages?max-results=50", bearer=alice)
        listing = exchange(server, sign(request, server.key))
    contents = [message["Content"] for message in json.loads(listing.body)["ChannelMessages"]]
    assert contents == [str(number) for number, _ in reversed(sent)][:50]


def test_a_user_connects_once_a_second(start):
    server = start("--aws-quotas", data_dir=":memory:")
    world = World(server)
    alice = world.user("alice")
    outcomes = []
    while Closed(1013, "Rate exceeded") not in outcomes:
        assert len(outcomes) < BURST
        try:
            open_socket(server, alice).close()
            outcomes.append("open")
        except Closed as end:
            outcomes.append(end)
    assert outcomes[0] == "open"
    bob = world.user("bob")
    open_socket(server, bob).close()


def test_a_switch_is_given_with_or_without_a_value():
    for arguments in (["--aws-quotas"], ["--aws-quotas=true"], ["--aws-quotas=false"]):
        assert run("quotas", *arguments).returncode == 0
    done = run("quotas", "--aws-quotas=on")
    assert done.returncode == 2 and "neither true nor false" in done.stderr
