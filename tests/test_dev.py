"""`campanile dev`: a server for the tests of an app. Its clock can be advanced and its store emptied."""

import concurrent.futures
import json
import socket
import ssl
from datetime import datetime, timedelta

import pytest

from support import clients
from support.clients import everything
from support.http import Connection, get_plain
from support.server import Server, TlsSide, eventually, run
from support.sigv4 import Key, Request
from support.sockets import Closed, open_socket
from support.world import World

DEV_KEY = Key("test", "test")
ADDRESSES = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")


def start_dev(*arguments, **options):
    """Starts it with nothing but addresses; the key pair is known without being given."""
    server = Server(None, *arguments, key=None, cwd=options.pop("cwd", "/"), command="dev", **options)
    server.key = DEV_KEY
    return server


@pytest.fixture
def dev(tmp_path):
    server = start_dev("--tls-listen", "off", cwd=tmp_path)
    yield server
    server.close()


def send(server, method, path, body=b""):
    with Connection(server.admin_host, server.admin_port) as connection:
        host = f"{server.admin_host}:{server.admin_port}"
        return connection.send(Request(method, path, (("Host", host), ("Content-Length", str(len(body)))), body))


def post(server, path, **body):
    answer = send(server, "POST", path, json.dumps(body).encode() if body else b"")
    assert answer.status == 200, answer
    assert answer.header("content-type") == "application/json"
    return json.loads(answer.body)["now"]


def moment(now):
    return datetime.fromisoformat(now.replace("Z", "+00:00"))


def app_instances(server):
    return everything(clients.identity(server).list_app_instances, "AppInstances")


def created(world, channel, bearer):
    """When the newest message of a channel was made."""
    listed = world.messaging.list_channel_messages(ChannelArn=channel, ChimeBearer=bearer, MaxResults=1)
    return listed["ChannelMessages"][0]["CreatedTimestamp"]


def test_boto3_works_with_the_key_that_everybody_knows(dev, tmp_path):
    world = World(dev)
    alice = world.user("alice")
    channel = world.channel(alice)
    world.send(channel, alice, "hello")
    assert world.messaging.list_channel_messages(
        ChannelArn=channel, ChimeBearer=alice)["ChannelMessages"][0]["Content"] == "hello"
    assert list(tmp_path.iterdir()) == [], "nothing is kept"


def test_dev_says_ready_like_serve_and_answers_probes(dev):
    assert dev.tls_url is None
    for path in ("/healthz", "/readyz", "/metrics"):
        assert get_plain(dev.admin_host, dev.admin_port, path).status == 200
    assert send(dev, "POST", "/healthz").status == 405
    assert send(dev, "POST", "/nothing").status == 404
    assert dev.terminate() == 0
    assert dev.stdout.drain() == [dev.ready_line]


def test_timestamps_move_with_the_clock_and_signatures_do_not(dev):
    world = World(dev)
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob)
    heard = world.connect(bob)
    world.send(channel, alice, "before")
    before = created(world, channel, alice)
    first = post(dev, "/clock", advance="31d")
    # The client signs with the time that it is, on the API and for a socket.
    world.send(channel, alice, "after")
    moved = created(world, channel, alice) - before
    assert timedelta(days=31) <= moved < timedelta(days=31, minutes=5)
    late = world.connect(alice)
    post(dev, "/clock", advance="36h")
    second = post(dev, "/clock", advance="0s")
    assert moment(second) - moment(first) >= timedelta(hours=36)
    world.send(channel, alice, "later still")
    moved = created(world, channel, alice) - before
    assert timedelta(days=32, hours=12) <= moved < timedelta(days=32, hours=12, minutes=5)
    # Sockets stay open, and hear everything.
    assert [heard.next().payload["Content"] for _ in range(3)] == ["before", "after", "later still"]
    assert late.next().payload["Content"] == "later still"


def test_what_becomes_due_is_done_when_the_clock_is_answered(dev):
    world = World(dev)
    world.users("alice", "bob")
    steps = dev.metric("job_steps_total")
    post(dev, "/clock", advance="31d")
    assert dev.metric("job_steps_total") > steps, "the used request tokens are out of time"
    settled = dev.metric("job_steps_total")
    post(dev, "/clock", advance="0ms")
    assert dev.metric("job_steps_total") == settled


def test_a_clock_that_is_stopped_shows_one_time_until_it_runs_again(dev):
    world = World(dev)
    there = post(dev, "/clock", advance="1d", then="stop")
    assert post(dev, "/clock", advance="0s") == there
    made = world.identity.describe_app_instance_user(AppInstanceUserArn=world.user("alice"))["AppInstanceUser"]
    assert made["CreatedTimestamp"] == moment(there)
    assert moment(post(dev, "/clock", advance="1ms")) - moment(there) == timedelta(milliseconds=1)
    runs = moment(post(dev, "/clock", advance="0s", then="run"))
    eventually(lambda: moment(post(dev, "/clock", advance="0s")) > runs, "the clock goes on")


def test_a_purge_is_over_when_the_clock_is_answered(dev):
    world = World(dev)
    alice = world.user("alice")
    for number in range(30):
        world.send(world.channel(alice, name=str(number)), alice, "gone")
    world.identity.delete_app_instance(AppInstanceArn=world.arn)
    post(dev, "/clock", advance="1ms")
    text = get_plain(dev.admin_host, dev.admin_port, "/metrics").body.decode()
    assert "\ncampanile_jobs_due 0\n" in text
    assert "\ncampanile_job_lag_seconds 0.0\n" in text


@pytest.mark.parametrize("body", [
    b"", b"31d", b"[]", b"{}", b'{"advance": 31}', b'{"advance": "31"}', b'{"advance": "-1d"}', b'{"advance": "1.5h"}',
    b'{"advance": "1w"}', b'{"advance": "36501d"}', b'{"advance": "99999999999999999999d"}',
    b'{"advance": "1d", "now": "2030-01-01T00:00:00Z"}', b'{"advance": "1d", "then": "rest"}',
], ids=repr)
def test_a_wrong_change_of_the_clock_is_told_and_changes_nothing(dev, body):
    before = moment(post(dev, "/clock", advance="0s"))
    answer = send(dev, "POST", "/clock", body)
    assert answer.status == 400
    assert len(answer.body.decode().splitlines()) == 1
    assert moment(post(dev, "/clock", advance="0s")) - before < timedelta(minutes=5)


@pytest.mark.parametrize("path", ["/clock", "/reset"])
def test_changes_are_asked_for_with_post(dev, path):
    world = World(dev)
    answer = send(dev, "GET", path)
    assert (answer.status, answer.header("allow")) == (405, "POST")
    assert [one["AppInstanceArn"] for one in app_instances(dev)] == [world.arn]


def test_reset_starts_afresh_as_often_as_it_is_asked_for(dev):
    for _ in range(3):
        assert app_instances(dev) == []
        world = World(dev)
        alice = world.user("alice")
        socket = world.connect(alice)
        channel = world.channel(alice)
        post(dev, "/clock", advance="400d")
        world.send(channel, alice, "hello")
        before = created(world, channel, alice)
        assert dev.metric("sockets_open") == 1
        post(dev, "/reset")
        assert app_instances(dev) == []
        assert dev.metric("sockets_open") == 0
        with pytest.raises(Closed) as closed:
            while True:
                socket.next()
        assert closed.value.code == 1012
        with clients.refusal("Unauthorized"):
            world.messaging.list_channel_messages(ChannelArn=channel, ChimeBearer=alice)
        world = World(dev)
        alice = world.user("alice")
        channel = world.channel(alice)
        world.send(channel, alice, "hello again")
        assert created(world, channel, alice) < before - timedelta(days=399), "the clock is right again"
        post(dev, "/reset")


def test_a_socket_of_a_user_who_was_reset_away_is_refused(dev):
    alice = World(dev).user("alice")
    post(dev, "/reset")
    with pytest.raises(Closed) as closed:
        open_socket(dev, alice)
    assert closed.value.code == 4401


def test_no_request_is_torn_by_a_reset(dev):
    """Each call is answered by the store before or the store after; none fails because of the change."""
    identity = clients.identity(dev)

    def create(number):
        return identity.create_app_instance(
            Name=f"app {number}", ClientRequestToken=f"token-{number}")["ResponseMetadata"]["HTTPStatusCode"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(create, number) for number in range(90)]
        resets = [pool.submit(post, dev, "/reset") for _ in range(10)]
        assert {call.result() for call in calls} == {201}
        assert all(reset.result() for reset in resets)
    post(dev, "/reset")
    assert app_instances(dev) == []


def test_tls_is_on_and_its_authority_is_handed_out(tmp_path):
    dev = start_dev(cwd=tmp_path)
    try:
        path = tmp_path / "ca.pem"
        answer = get_plain(dev.admin_host, dev.admin_port, "/tls-ca.pem")
        assert answer.status == 200
        path.write_bytes(answer.body)
        side = TlsSide(dev, path)
        world = World(side)
        alice = world.user("alice")
        socket = world.connect(alice)
        channel = world.channel(alice)
        world.send(channel, alice, "over TLS")
        post(dev, "/reset")
        assert app_instances(side) == []
        with pytest.raises(Closed):
            while True:
                socket.next()
        with pytest.raises(ssl.SSLCertVerificationError):
            Connection(side.host, side.port, tls=ssl.create_default_context())
    finally:
        dev.close()


def test_two_run_side_by_side_although_both_want_the_same_tls_port(tmp_path):
    first, second = start_dev(cwd=tmp_path), start_dev(cwd=tmp_path)
    try:
        assert first.tls_url.startswith("https://127.0.0.1:")
        assert second.tls_url not in (None, first.tls_url)
        World(first)
        assert app_instances(second) == []
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize(("arguments", "word"), [
    (("--listen", "0.0.0.0:0"), "--listen"),
    (("--admin-listen", "0.0.0.0:0"), "--admin-listen"),
    (("--tls-listen", "0.0.0.0:0"), "--tls-listen"),
    (("--listen", "[::]:0"), "--listen"),
    (("--data-dir", "folder"), "--data-dir"),
    (("--database-url", "postgres://127.0.0.1/x"), "--database-url"),
], ids=" ".join)
def test_dev_refuses_to_be_reached_from_outside_or_to_keep_anything(tmp_path, arguments, word):
    flags = {flag: value for flag, value in zip(ADDRESSES[::2], ADDRESSES[1::2])}
    flags[arguments[0]] = arguments[1]
    done = run("dev", *(text for pair in flags.items() for text in pair), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert word in line
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_was_asked_for_and_is_taken_ends_the_start(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:{}".format(taken.getsockname()[1])
        done = run("dev", *ADDRESSES, "--tls-listen", address, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0].startswith(f"campanile: cannot listen on {address}")


@pytest.mark.parametrize(("method", "path"), [("POST", "/clock"), ("POST", "/reset"), ("GET", "/clock"),
                                              ("GET", "/tls-ca.pem")])
def test_serve_knows_nothing_of_it(server, method, path):
    assert send(server, method, path, b'{"advance": "1d"}').status == 404
