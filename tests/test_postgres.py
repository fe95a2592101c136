"""PostgreSQL as the shared store: what a start refuses, a database that goes away, several nodes on one store.

These nodes have no bus, so that each delivers the events of its own commits only; `test_cluster.py` listens across
nodes.
"""

import signal
import time
import uuid

import pytest

from support.clients import refusal
from support.cluster import SLOW_S, beside, together
from support.http import get_plain
from support.load import Load
from support.postgres import Postgres, named
from support.sender import Sender
from support.server import ROOT_KEY, monotonic_deadline, run
from support.world import World

pytestmark = pytest.mark.postgres

SENDERS = 8
CHANNELS = 4
KEY_VARIABLES = {"CAMPANILE_ACCESS_KEY_ID": ROOT_KEY.id, "CAMPANILE_SECRET_ACCESS_KEY": ROOT_KEY.secret}
PORTS = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
# What a node logs while the database is away: one line for each refusal, none that hides another trouble.
AWAY = "the database (cannot be (reached|read|written)|does not answer)|the connection was lost while committing"
# A refusal while nothing listens at the database's port. What waits behind a cut COMMIT waits half a second; the
# rest is room for a slow machine. A node that let it wait for the outcome would need 8 s.
REFUSAL_S_MAX = 6.0
# The promise to those whose own COMMIT was cut is 8 s.
CUT_S_MAX = 16.0
# The promise of docs/operations.md: from the stop of a node to the first send of another one into a channel that it
# held.
STOPPED_NODE_S_MAX = 6.0
HOLD_TRIES = 200
OUTAGES = 2
KILLS = 5
STOPS = 2


def refused_start(url, *arguments, environment=KEY_VARIABLES):
    """The one line of a start that fails."""
    done = run("serve", *PORTS, "--database-url", url, *arguments, environment=environment)
    assert (done.returncode, done.stdout) == (2, ""), done
    [line] = done.stderr.splitlines()
    return line


def node(start, url, name, **options):
    """A node whose sessions bear its name."""
    return start(database=named(url, name), **options)


def crowd(world, channel_count=CHANNELS):
    users = [world.user(f"sender-{number}") for number in range(SENDERS)]
    return users, [world.channel(users[0], *users[1:]) for _ in range(channel_count)]


# What a start refuses.


@pytest.mark.parametrize("missing", [*KEY_VARIABLES, "both"])
def test_a_start_without_the_root_key_pair_is_refused(postgres, tmp_path, missing):
    """A key that one node made would be refused by the others."""
    kept = {name: value for name, value in KEY_VARIABLES.items() if missing not in (name, "both")}
    line = refused_start(postgres.new_store(), environment=kept)
    assert "CAMPANILE_ACCESS_KEY_ID" in line and "CAMPANILE_SECRET_ACCESS_KEY" in line


def test_a_start_without_its_database_is_refused_and_shows_no_password():
    # Nothing listens on the discard port of loopback.
    line = refused_start("postgres://campanile:hidden-word@127.0.0.1:9/postgres")
    assert "the database cannot be reached" in line and "hidden-word" not in line


def test_a_start_with_a_wrong_password_is_refused(postgres):
    line = refused_start(postgres.url.replace("postgres://campanile:", "postgres://campanile:x"))
    assert "password authentication failed" in line


@pytest.mark.parametrize("setting", [("--region", "eu-central-1"), ("--account-id", "123456789012")])
def test_a_store_of_another_region_or_account_is_refused(start, postgres, setting):
    server = start(database=postgres.new_store())
    assert setting[1] in refused_start(server.database, *setting)
    server.terminate()
    assert setting[1] in refused_start(server.database, *setting)


def test_a_server_that_syncs_nothing_is_refused():
    """Commits are acknowledged after a sync, or not at all. Each session asks for it, whatever its role's default."""
    postgres = Postgres()
    try:
        url = postgres.new_store()
        postgres.sql("ALTER SYSTEM SET fsync = off")
        postgres.sql("SELECT pg_reload_conf()")
        deadline = monotonic_deadline(SLOW_S)
        while postgres.sql("SHOW fsync") != [["off"]]:
            deadline("the reload")
        assert "fsync" in refused_start(url)
    finally:
        postgres.stop()


# A database that goes away.


@pytest.fixture
def own_postgres():
    """A PostgreSQL that the test may stop. It goes last: the stores on it are checked before."""
    postgres = Postgres()
    yield postgres
    postgres.stop()


def test_a_database_that_stops_refuses_sends_at_once_and_is_used_again_without_a_restart(own_postgres, start):
    server = start(database=own_postgres.new_store())
    server.expected_errors.append(AWAY)
    process = server.process
    world = World(server)
    users, channels = crowd(world)
    quiet = world.channel(users[0])
    probe = Sender(server, quiet, users[0])
    with Load([server], channels, users) as load:
        for turn in range(OUTAGES):
            load.wait_for(200)
            own_postgres.halt()
            check_refusals(world, quiet, users[0], probe, f"turn-{turn}")
            own_postgres.start()
            deadline = monotonic_deadline(SLOW_S)
            while (answer := probe.send(f"turn-{turn}", f"turn-{turn}")).status != 201:
                assert answer.status == 503, answer
                deadline("a send after the database came back")
            load.wait_for(200)
    assert load.refused > 0, "the outages met no sender"
    assert load.lost == 0, "every request was answered"
    assert load.slowest_s < CUT_S_MAX
    assert server.metric("database_retries_total") + server.metric("database_lost_commits_total") > 0
    assert server.process is process and server.running
    assert world.contents(quiet, users[0], SortOrder="ASCENDING") == [f"turn-{turn}" for turn in range(OUTAGES)]
    load.check(world, users[0])


def check_refusals(world, channel, user, probe, content):
    """While the database is away: writes and reads are refused in the modelled way, at once; the node stays well."""
    for attempt in range(20):
        begun = time.monotonic()
        answer = probe.send(content, content)
        assert (answer.status, answer.error) == (503, "ServiceUnavailableException"), answer
        assert answer.json()["Code"] == "ServiceUnavailable"
        assert int(answer.header("retry-after")) > 0
        assert time.monotonic() - begun < REFUSAL_S_MAX, f"attempt {attempt}"
    with refusal("ServiceUnavailable"):
        world.messages(channel, user)
    healthz = get_plain(world.server.admin_host, world.server.admin_port, "/healthz")
    assert healthz.status == 200


# Several nodes on one store.


@pytest.fixture
def pair(start, postgres):
    """Two nodes on one store, an app instance as each of them shows it."""
    url = postgres.new_store()
    left, right = node(start, url, "left"), node(start, url, "right")
    world = World(left)
    return world, beside(world, right)


def test_what_one_node_answered_the_other_shows_at_once(pair):
    left, right = pair
    for number, (here, there) in enumerate([(left, right), (right, left)] * 10):
        alice, bob = here.user(f"alice-{number}"), there.user(f"bob-{number}")
        channel = here.channel(alice)
        there.join(channel, alice, bob)
        assert here.members(channel, bob) == [f"alice-{number}", f"bob-{number}"]
        sent = [node.send(channel, bob, str(count)) for count, node in enumerate([here, there, there, here, there])]
        for node in (here, there):
            assert [message["MessageId"] for message in node.messages(channel, alice, SortOrder="ASCENDING")] == sent
        assert sent == sorted(sent), "one order, whichever node a message came through"
        there.leave(channel, alice, bob)
        with refusal("Forbidden"):
            here.send(channel, bob, "no longer a member")
        here.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
        with refusal("Forbidden"):
            there.send(channel, alice, "no longer there")


def test_one_request_token_on_two_nodes_is_one_message(pair):
    left, right = pair
    alice = left.user("alice")
    channel = left.channel(alice)
    senders = [Sender(world.server, channel, alice) for world in pair]
    ids = []
    for number in range(40):
        token = str(uuid.uuid4())
        found = together([lambda sender=sender: sender.id_of(f"message {number}", token=token) for sender in senders])
        assert len(set(found)) == 1
        ids.append(found[0])
    for world in pair:
        assert [item["MessageId"] for item in world.messages(channel, alice, SortOrder="ASCENDING")] == ids
        with refusal("Conflict"):
            world.send(channel, alice, "something else", ClientRequestToken=token)


def test_one_creation_token_on_two_nodes_is_one_channel(pair):
    left, _ = pair
    alice = left.user("alice")
    for number in range(10):
        arguments = {"AppInstanceArn": left.arn, "Name": f"Room {number}", "ClientRequestToken": str(uuid.uuid4()),
                     "ChimeBearer": alice}
        found = together([lambda world=world: world.messaging.create_channel(**arguments)["ChannelArn"]
                          for world in pair])
        assert len(set(found)) == 1


def test_a_page_token_of_one_node_is_good_on_the_other(pair):
    left, right = pair
    alice = left.user("alice")
    channel = left.channel(alice)
    sent = [left.send(channel, alice, str(number)) for number in range(5)]
    listed, token = [], {}
    for world in (left, right, left):
        page = world.messaging.list_channel_messages(
            ChannelArn=channel, ChimeBearer=alice, MaxResults=2, SortOrder="ASCENDING", **token)
        listed += [message["MessageId"] for message in page["ChannelMessages"]]
        token = {"NextToken": page.get("NextToken")}
    assert listed == sent
    assert token["NextToken"] is None


def test_kill_9_of_one_node_loses_nothing_and_the_other_goes_on(pair):
    left, right = pair
    users, channels = crowd(left)
    ours, others = senders_of(0), senders_of(1)
    with Load([left.server, right.server], channels, users) as load:
        for _ in range(KILLS):
            load.wait_for(50, of=ours)
            left.server.process.kill()
            load.wait_for(50, of=others)
            left.server.kill()
            left.server.start()
            left.reconnect()
        load.wait_for(50, of=ours)
    assert load.lost >= KILLS, "no kill met an open request"
    for world in pair:
        load.check(world, users[0])


def test_a_node_that_stands_still_holds_up_nobody_for_long(pair, postgres):
    """It is stopped where it holds channels, between the two round trips of a commit."""
    left, right = pair
    for world in pair:
        world.server.expected_errors.append(AWAY)
    users, channels = crowd(left)
    probes = [Sender(right.server, channel, users[0]) for channel in channels]
    told = [[] for _ in channels]
    with Load([left.server], channels, users) as load:
        for turn in range(STOPS):
            load.wait_for(50)
            stop_while_it_holds(left.server, load, postgres)
            begun = time.monotonic()
            ids = together([lambda probe=probe: probe.id_of(f"turn {turn}") for probe in probes])
            assert time.monotonic() - begun < STOPPED_NODE_S_MAX
            for own, message_id in zip(told, ids):
                own.append((f"turn {turn}", message_id))
            left.server.process.send_signal(signal.SIGCONT)
            load.wait_for(50)
    assert load.lost == 0, "every request was answered"
    for world in pair:
        load.check(world, users[0], *told)


def stop_while_it_holds(server, load, postgres):
    """Stops a node again and again, until a transaction of it is found open."""
    for _ in range(HOLD_TRIES):
        server.process.send_signal(signal.SIGSTOP)
        # A transaction that has locked rows has an id.
        [[count]] = postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'left' "
                                 "AND state = 'idle in transaction' AND backend_xid IS NOT NULL")
        if int(count) > 0:
            return
        server.process.send_signal(signal.SIGCONT)
        load.wait_for(5)
    raise AssertionError("the node was never stopped inside of a transaction")


def senders_of(node):
    return range(node, SENDERS, 2)
