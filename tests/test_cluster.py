"""Two nodes on one PostgreSQL and one NATS: every socket hears what is done through either, as on one node."""

import signal
import time

import pytest

from support.certificate import made_certificate
from support.cluster import SLOW_S, Watch, beside, together
from support.nats import Nats
from support.postgres import named
from support.sender import Sender
from support.server import ROOT_KEY, eventually, run
from support.sockets import open_socket
from support.world import Fence, World

pytestmark = pytest.mark.postgres

KEY_VARIABLES = {"CAMPANILE_ACCESS_KEY_ID": ROOT_KEY.id, "CAMPANILE_SECRET_ACCESS_KEY": ROOT_KEY.secret}
QUIET = ("serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
# The promise of docs/operations.md: how long a committed event may take to sockets of other nodes while NATS is away
# or the node that committed it is gone. The rest is room for a slow machine.
REPAIR_S_MAX = 15.0
SENDS_EACH = 120


class Pair:
    """Two nodes, an app instance as each of them shows it, and what they share."""

    def __init__(self, start, postgres, nats, *arguments):
        self.nats = nats
        self.url = postgres.new_store()
        self._start = start
        self._arguments = arguments
        self.left = World(self.node("left"))
        self.right = beside(self.left, self.node("right"))
        for world in self.worlds:
            world.settle = self.settle

    def node(self, name):
        return self._start("--nats-url", self.nats.url, *self._arguments, database=named(self.url, name))

    @property
    def worlds(self):
        return [self.left, self.right]

    def settle(self):
        watch = Watch([world.server for world in self.worlds])
        watch.settle()
        watch.close()

    def close(self):
        for world in reversed(self.worlds):
            for socket in world._sockets:
                socket.close()


@pytest.fixture
def pair(start, postgres, nats):
    pair = Pair(start, postgres, nats)
    yield pair
    pair.close()


@pytest.fixture
def own_nats():
    """A NATS that the test may stop."""
    nats = Nats()
    yield nats
    nats.stop()


@pytest.fixture
def fragile(start, postgres, own_nats):
    """Two nodes whose NATS the test may stop."""
    pair = Pair(start, postgres, own_nats)
    yield pair
    pair.close()


def texts(events):
    return [event.text for event in events]


def contents(events):
    return [event.payload["Content"] for event in events if event.type == "CREATE_CHANNEL_MESSAGE"]


def is_content(content):
    return lambda event: event.type == "CREATE_CHANNEL_MESSAGE" and event.payload.get("Content") == content


# Who hears what.


def everything_that_happens(here, there, alice, bob, carol):
    """Does what makes events of every kind, each through one of the nodes."""
    channel = here.channel(alice, name="Everything")
    there.join(channel, alice, bob)
    message = here.send(channel, bob, "one")
    there.messaging.update_channel_message(ChannelArn=channel, MessageId=message, Content="two", ChimeBearer=bob)
    here.messaging.redact_channel_message(ChannelArn=channel, MessageId=message, ChimeBearer=alice)
    there.messaging.delete_channel_message(ChannelArn=channel, MessageId=message, ChimeBearer=alice)
    # The place of what is not kept is open between nodes, unless everything before it was heard, and nothing after it
    # is done yet.
    here.settle()
    here.post(channel, bob, "passing", persistence="NON_PERSISTENT")
    here.settle()
    there.messaging.batch_create_channel_membership(ChannelArn=channel, MemberArns=[carol], ChimeBearer=alice)
    here.send(channel, carol, "to bob", Target=[{"MemberArn": bob}])
    there.messaging.update_channel(ChannelArn=channel, Name="Renamed", ChimeBearer=alice)
    here.messaging.create_channel_moderator(ChannelArn=channel, ChannelModeratorArn=bob, ChimeBearer=alice)
    there.messaging.create_channel_ban(ChannelArn=channel, MemberArn=carol, ChimeBearer=alice)
    here.messaging.delete_channel_ban(ChannelArn=channel, MemberArn=carol, ChimeBearer=alice)
    there.send(channel, bob, "without carol")
    here.leave(channel, bob, bob)
    there.send(channel, alice, "without bob")
    here.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)


def test_sockets_of_both_nodes_hear_the_same_of_everything(pair):
    alice, bob, carol = pair.left.users("alice", "bob", "carol")
    pair.left.make_admin(alice)
    fence = Fence(pair.left, alice, bob, carol)
    sockets = {user: [world.connect(user) for world in pair.worlds] for user in (alice, bob, carol)}
    everything_that_happens(pair.left, pair.right, alice, bob, carol)
    everything_that_happens(pair.right, pair.left, alice, bob, carol)
    ends = fence.before(*[socket for both in sockets.values() for socket in both])
    kinds = set()
    for user, (left, right) in zip(sockets, zip(ends[::2], ends[1::2])):
        assert texts(left) == texts(right), user
        kinds |= {event.type for event in left}
    assert kinds == {
        "CREATE_CHANNEL_MESSAGE", "UPDATE_CHANNEL_MESSAGE", "REDACT_CHANNEL_MESSAGE", "DELETE_CHANNEL_MESSAGE",
        "CREATE_CHANNEL_MEMBERSHIP", "DELETE_CHANNEL_MEMBERSHIP", "BATCH_CREATE_CHANNEL_MEMBERSHIP",
        "UPDATE_CHANNEL", "DELETE_CHANNEL",
    }
    heard = contents(ends[0])
    assert heard == ["one", "passing", "without carol", "without bob"] * 2 or "to bob" in heard


def test_a_member_hears_a_channel_from_his_joining_to_his_leaving_whichever_nodes_these_are(pair):
    alice, bob = pair.left.users("alice", "bob")
    fence = Fence(pair.left, bob)
    channel = pair.left.channel(alice)
    socket = pair.left.connect(bob)
    pair.right.send(channel, alice, "before")
    pair.right.join(channel, alice, bob)
    pair.left.send(channel, alice, "between")
    pair.right.send(channel, alice, "between too")
    pair.right.leave(channel, alice, bob)
    pair.left.send(channel, alice, "after")
    [events] = fence.before(socket)
    assert contents(events) == ["between", "between too"]
    assert [events[0].type, events[-1].type] == ["CREATE_CHANNEL_MEMBERSHIP", "DELETE_CHANNEL_MEMBERSHIP"]


def test_every_socket_hears_a_channel_in_the_order_of_its_messages(pair):
    users = pair.left.users(*[f"user-{number}" for number in range(4)])
    channels = [pair.left.channel(users[0], *users[1:]) for _ in range(2)]
    sockets = [world.connect(user) for world in pair.worlds for user in users[:2]]
    sent = [[] for _ in users]

    def send(number, user):
        world = pair.worlds[number % 2]
        sender = Sender(world.server, channels[number // 2], user)
        for count in range(SENDS_EACH):
            sent[number].append(sender.id_of(f"{number}:{count}"))
        sender.close()

    together([lambda number=number, user=user: send(number, user) for number, user in enumerate(users)])
    wanted = [sorted(sent[0] + sent[1]), sorted(sent[2] + sent[3])]
    for socket in sockets:
        heard = {channel: [] for channel in channels}
        while sum(map(len, heard.values())) < 4 * SENDS_EACH:
            event = socket.next()
            if event.type == "CREATE_CHANNEL_MESSAGE":
                heard[event.payload["ChannelArn"]].append(event.payload["MessageId"])
        assert list(heard.values()) == wanted


@pytest.mark.parametrize("end", ["user", "app instance"])
def test_the_end_of_a_user_closes_his_sockets_on_all_nodes(pair, end):
    alice = pair.left.user("alice")
    sockets = [world.connect(alice) for world in pair.worlds for _ in range(2)]
    if end == "user":
        pair.right.identity.delete_app_instance_user(AppInstanceUserArn=alice)
    else:
        pair.right.identity.delete_app_instance(AppInstanceArn=pair.right.arn)
    assert [socket.closed().code for socket in sockets] == [4003] * 4


def test_stores_that_share_a_nats_hear_nothing_of_each_other(pair, start, postgres):
    stranger = World(start("--nats-url", pair.nats.url, database=postgres.new_store()))
    alice = pair.left.user("alice")
    channel = pair.left.channel(alice)
    pair.right.connect(alice)
    pair.left.send(channel, alice)
    eventually(lambda: pair.right.server.metric("bus_messages_heard_total") > 0, "a message of the other node")
    stranger.user("alice")
    assert stranger.server.metric("bus_messages_heard_total") == 0
    assert pair.left.server.metric("bus_up") == 1


# Connections of a user.


def test_the_eleventh_connection_takes_the_place_of_the_oldest_on_any_node(pair):
    alice = pair.left.user("alice")
    channel = pair.left.channel(alice)
    sockets = [pair.worlds[number % 2].connect(alice) for number in range(10)]
    for first, world in [(0, pair.right), (1, pair.right)]:
        sockets.append(world.connect(alice))
        assert sockets[first].closed().code == 4003
    pair.left.send(channel, alice, "all ten")
    for socket in sockets[2:]:
        socket.until(is_content("all ten"))


def test_a_session_that_comes_back_on_another_node_replaces_its_old_socket(pair):
    alice = pair.left.user("alice")
    channel = pair.left.channel(alice)
    old, other = pair.left.connect(alice, session_id="mine"), pair.left.connect(alice)
    new = pair.right.connect(alice, session_id="mine")
    assert old.closed().code == 4003
    pair.left.send(channel, alice, "still here")
    for socket in (new, other):
        socket.until(is_content("still here"))


def test_connections_that_ended_take_no_place(pair):
    alice = pair.left.user("alice")
    first = pair.left.connect(alice)
    for number in range(15):
        world = pair.worlds[number % 2]
        open_socket(world.server, alice).close()
        eventually(lambda: world.server.metric("sockets_open") == (1 if world is pair.left else 0), "its end")
    channel = pair.left.channel(alice)
    pair.right.send(channel, alice, "not kicked")
    first.until(is_content("not kicked"))


# NATS that is away.


def check_heard_without_the_bus(pair, channel, alice, sockets, contents_sent):
    begun = time.monotonic()
    for number, content in enumerate(contents_sent):
        pair.worlds[number % 2].send(channel, alice, content)
    for socket in sockets:
        assert contents(socket.until(is_content(contents_sent[-1]))) == contents_sent
    assert time.monotonic() - begun < REPAIR_S_MAX


@pytest.mark.parametrize("fault", ["paused", "killed"])
def test_nothing_is_missing_on_any_socket_while_nats_is_away_and_after(fragile, fault):
    nats, worlds = fragile.nats, fragile.worlds
    alice, bob = fragile.left.users("alice", "bob")
    channel = fragile.left.channel(alice)
    sockets = [world.connect(alice) for world in worlds]
    late = fragile.left.connect(bob)
    for turn in range(2):
        nats.pause() if fault == "paused" else nats.halt()
        sent = [f"{turn}:{number}" for number in range(20)]
        check_heard_without_the_bus(fragile, channel, alice, sockets, sent)
        # One who was in no channel hears of the first one too.
        fragile.right.join(channel, alice, bob)
        fragile.right.send(channel, alice, f"{turn}:joined")
        assert contents(late.until(is_content(f"{turn}:joined"))) == [f"{turn}:joined"]
        for world in worlds:
            eventually(lambda: world.server.metric("gap_repaired_groups_total") > 0, "a repair")
            eventually(lambda: world.server.metric("bus_up") == 0, "the end of the bus")
        nats.go_on() if fault == "paused" else nats.start()
        for world in worlds:
            eventually(lambda: world.server.metric("bus_up") == 1, "the bus", SLOW_S)
        fragile.right.leave(channel, alice, bob)
        after = f"{turn}:after"
        fragile.right.send(channel, alice, after)
        for socket in sockets:
            assert contents(socket.until(is_content(after))) == [f"{turn}:joined", after]
    assert [world.server.metric("gap_losses_total") for world in worlds] == [0, 0]


def test_what_a_killed_node_had_committed_and_not_told_is_heard(fragile):
    """NATS stands still, so that nothing of the node leaves it; then the node is killed."""
    alice = fragile.left.user("alice")
    channel = fragile.left.channel(alice)
    socket = fragile.left.connect(alice)
    fragile.nats.pause()
    sender = Sender(fragile.right.server, channel, alice)
    sent = [str(number) for number in range(10)]
    for content in sent:
        sender.id_of(content)
    fragile.right.server.kill()
    fragile.nats.go_on()
    begun = time.monotonic()
    assert contents(socket.until(is_content(sent[-1]))) == sent
    assert time.monotonic() - begun < REPAIR_S_MAX


# A row of each lane stays; what the others of a node have said is not to be had any more.
FORGET = """
    DELETE FROM {schema}.commit_group AS gone USING {schema}.commit_group AS later
    WHERE substring(later.k FROM 1 FOR 17) = substring(gone.k FROM 1 FOR 17) AND later.k > gone.k"""


def test_a_node_that_was_cut_off_until_nobody_can_tell_what_it_missed_closes_its_sockets_which_resume(
        fragile, postgres):
    """As after more than a minute, when the rows of what NATS had taken are removed."""
    left, right = fragile.worlds
    alice = left.user("alice")
    channel = left.channel(alice)
    kept, cut = left.connect(alice), right.connect(alice)
    left.send(channel, alice, "before")
    last_id = [socket.until(is_content("before"))[-1].id for socket in (kept, cut)][1]
    right.server.process.send_signal(signal.SIGSTOP)
    fragile.nats.halt()
    sent = [str(number) for number in range(5)]
    for content in sent:
        left.send(channel, alice, content)
    postgres.sql(FORGET.format(schema=fragile.url.rpartition("%3D")[2]))
    fragile.nats.start()
    right.server.process.send_signal(signal.SIGCONT)
    assert cut.closed().code == 1012
    assert right.server.metric("gap_losses_total") == 1
    resumed = right.connect(alice, parameters={"resume-after": last_id})
    assert [content for content in contents(resumed.until(is_content(sent[-1]))) if content in sent] == sent
    assert contents(kept.until(is_content(sent[-1]))) == sent
    assert left.server.metric("gap_losses_total") == 0
    right.send(channel, alice, "after")
    for socket in (kept, resumed):
        socket.until(is_content("after"))


def test_sockets_of_a_killed_node_take_no_place(fragile):
    alice = fragile.left.user("alice")
    channel = fragile.left.channel(alice)
    kept = [fragile.left.connect(alice) for _ in range(3)]
    for _ in range(7):
        fragile.right.connect(alice)
    left = fragile.left.server
    eventually(lambda: left.metric("bus_nodes_live") == 2, "the lease of the other node", SLOW_S)
    fragile.right.server.kill()
    # Once the lease of the dead node is over, what it held is free.
    eventually(lambda: left.metric("bus_nodes_live") == 1, "the end of a lease", SLOW_S)
    kept += [fragile.left.connect(alice) for _ in range(7)]
    fragile.left.send(channel, alice, "all are here")
    for socket in kept:
        socket.until(is_content("all are here"))


# Starts.


def refused(*arguments, **options):
    done = run(*QUIET, *arguments, **options)
    assert (done.returncode, done.stdout) == (2, ""), done
    [line] = done.stderr.splitlines()
    return line


def test_a_bus_needs_the_shared_database(tmp_path):
    line = refused("--data-dir", tmp_path / "data", "--nats-url", "nats://127.0.0.1:4222")
    assert "--nats-url" in line and "--database-url" in line
    assert "--nats-url" in refused("--data-dir", tmp_path / "data", "--nats-ca", "x")
    assert not (tmp_path / "data").exists()


def test_wrong_credentials_of_nats_are_refused_and_never_shown(postgres, nats):
    url = nats.url.replace("campanile:", "campanile:hidden-word")
    line = refused("--database-url", postgres.new_store(), "--nats-url", url, environment=KEY_VARIABLES)
    assert "refuses the credentials" in line and "hidden-word" not in line
    for url in ("127.0.0.1:4222", "http://127.0.0.1", "nats://a:hidden-word@"):
        line = refused("--database-url", postgres.new_store(), "--nats-url", url, environment=KEY_VARIABLES)
        assert "URL" in line and "hidden-word" not in line


def test_user_and_password_may_stand_beside_the_url(start, postgres, nats):
    password = nats.url.partition("campanile:")[2].partition("@")[0]
    address = nats.url.partition("@")[2]
    server = start(database=postgres.new_store(), environment={
        "CAMPANILE_NATS_URL": f"nats://{address}", "CAMPANILE_NATS_USER": "campanile",
        "CAMPANILE_NATS_PASSWORD": password})
    eventually(lambda: server.metric("bus_up") == 1, "the bus")
    assert not any(password in line for line in server.whole_log())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return made_certificate(tmp_path_factory.mktemp("nats") / "certificate")


@pytest.fixture
def tls_nats(certificate):
    """A NATS that speaks TLS and asks for a certificate beside the password."""
    nats = Nats(certificate)
    yield nats
    nats.stop()


def certified(certificate):
    ca, cert, key = certificate
    return ("--nats-ca", ca, "--nats-client-cert", cert, "--nats-client-key", key)


@pytest.mark.parametrize("scheme", ["tls", "nats"])
def test_nodes_hear_each_other_over_tls_with_a_password_and_certificates(start, postgres, tls_nats, certificate, scheme):
    tls_nats.url = tls_nats.url.replace("nats://", f"{scheme}://")
    pair = Pair(start, postgres, tls_nats, *certified(certificate))
    alice = pair.left.user("alice")
    channel = pair.left.channel(alice)
    socket = pair.left.connect(alice)
    for world in pair.worlds:
        eventually(lambda: world.server.metric("bus_up") == 1, "the bus")
    pair.right.send(channel, alice, "secret")
    socket.until(is_content("secret"))
    assert pair.left.server.metric("bus_messages_heard_total") > 0
    pair.close()


def test_a_nats_with_another_authority_or_without_our_certificate_is_refused(postgres, tls_nats, certificate, tmp_path):
    url = tls_nats.url.replace("nats://", "tls://")
    store = ("--database-url", postgres.new_store(), "--nats-url", url)
    other_ca, *_ = made_certificate(tmp_path / "other")
    for arguments in (("--nats-ca", other_ca, *certified(certificate)[2:]), ()):
        line = refused(*store, *arguments, environment=KEY_VARIABLES)
        assert "TLS to the NATS server fails" in line and "hidden" not in line


def test_a_node_starts_without_nats_and_finds_it_later(fragile):
    fragile.nats.halt()
    third = beside(fragile.left, fragile.node("third"))
    alice = third.user("alice")
    channel = third.channel(alice)
    socket = fragile.left.connect(alice)
    third.send(channel, alice, "by the database")
    socket.until(is_content("by the database"))
    fragile.nats.start()
    eventually(lambda: third.server.metric("bus_up") == 1, "the bus", SLOW_S)
    third.send(channel, alice, "by the bus")
    socket.until(is_content("by the bus"))
