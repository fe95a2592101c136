"""amazon-chime-sdk-js, unmodified, over TLS: DefaultMessagingSession in Node and in Chromium, with both SDKs.

Chromium trusts the server's authority through its certificate store, as a user would make it, and its pages come from
another origin than the API. With --engine postgres there are two nodes: the sessions are on the first one, what is
beside them on the other one, and requests go to both in turn.
"""

import contextlib
import functools
import json
import random
import re
import socket

import pytest

from support import cluster
from support.certificate import made_certificate
from support.cluster import Spread, Watch
from support.js_session import Runtime, trusting_home
from support.server import ROOT, Server, TlsSide, eventually, run
from support.sigv4 import Key
from support.sockets import open_socket
from support.world import World

# The first test that needs a browser waits for its start.
pytestmark = [pytest.mark.any_engine, pytest.mark.timeout(180)]

PLACES = [(runtime, sdk) for runtime in ("node", "chromium") for sdk in ("v3", "v2")]
# Below the ports that systems give to outgoing connections, one of which could take it while the server is away.
PORTS = range(20_000, 30_000)
MINUTE_MS = 60_000
README_ENDPOINT = "https://127.0.0.1:8443"
# A client that closes without a code, as this one does, is answered without one.
NO_CODE, NORMAL = 1005, 1000
KICKED, UNAUTHORIZED = 4003, 4401


def port_to_keep():
    """A free port that a server can take again after its restart, so that clients find it where it was."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


def start(folder, *arguments, **options):
    """A server whose TLS listener takes the same port each time."""
    return Server(folder, "--tls-listen", f"127.0.0.1:{port_to_keep()}", *arguments, **options)


@pytest.fixture(scope="module")
def sides(request, tmp_path_factory, new_store):
    """The server, or both nodes, as the clients find them, before and after a restart."""
    folder = tmp_path_factory.mktemp("js-session")
    if request.config.getoption("engine") == "postgres":
        authority, cert, key = made_certificate(folder / "certificate")
        secured = functools.partial(start, None, "--tls-cert", cert, "--tls-key", key)
        servers = cluster.two_nodes(secured, new_store(), request.getfixturevalue("nats"))
    else:
        servers = [start(folder, "--tls-self-signed")]
        authority = folder / "tls-ca.pem"
    yield [TlsSide(server, authority) for server in servers]
    for server in servers:
        server.close()
    servers[0].check_store()


@pytest.fixture(scope="module")
def side(sides):
    """Where the sessions are."""
    return sides[0]


@pytest.fixture(scope="module")
def other_side(sides):
    """Where the others are."""
    return sides[-1]


@pytest.fixture(scope="module")
def server(side):
    return side.server


@pytest.fixture(scope="module")
def watch(sides):
    """Knows what two nodes have told; one tells it in order by itself."""
    if len(sides) == 1:
        yield None
        return
    watch = Watch([side.server for side in sides])
    yield watch
    watch.close()


@pytest.fixture
def world(sides, watch):
    world = Spread([side.server for side in sides], watch) if watch else World(sides[0].server)
    yield world
    world.close()


@pytest.fixture(scope="module")
def runtime(side, watch, tmp_path_factory):
    """Starts each of the programs, for a side, when it is first asked for."""
    with contextlib.ExitStack() as stack:
        running = {}

        def get(name, side=side):
            if (name, side) not in running:
                home = trusting_home(tmp_path_factory.mktemp(name), side.authorities)
                settle = [watch.settle] if watch else []
                running[name, side] = stack.enter_context(Runtime(name, side, home, *settle))
            return running[name, side]

        yield get


@pytest.fixture(scope="module")
def open_place(runtime):
    """A place of each runtime and SDK, with the right clock, for all tests together."""
    places = {}

    def get(name, sdk, *side):
        if (name, sdk, *side) not in places:
            places[name, sdk, *side] = runtime(name, *side).open(sdk)
        return places[name, sdk, *side]

    return get


@pytest.fixture(params=PLACES, ids="-".join)
def place(request, open_place):
    return open_place(*request.param)


@pytest.fixture
def room(world, alice, bob):
    return world.channel(alice, bob)


def key_for(server, user):
    """An access key that acts for one user."""
    done = run("credentials", "create", "--user", user, *server.store, environment=server.environment)
    return Key(*re.findall(r"export \w+=(\w+)", done.stdout))


def test_a_session_starts_with_one_connect_and_hears_that_it_is_established(place, bob):
    session = place.session(bob).started()
    message = session.wait("message")
    assert (message["type"], message["payload"]) == ("SESSION_ESTABLISHED", None)
    assert message["headers"]["x-amz-chime-message-type"] == "SYSTEM"
    assert session.wait("connecting")["reconnecting"] is False
    assert [session.count(told) for told in ("socket", "connecting", "started", "rejected")] == [1, 1, 1, 0]
    assert session.errors == []


def test_a_session_hears_what_others_send_exactly_as_it_was_written(place, world, room, alice, bob, other_side):
    session = place.session(bob).started()
    bare = open_socket(other_side, bob)
    metadata, attributes = json.dumps({"k": 1}), {"mention": {"StringValues": ["Bob"]}}
    sent = world.send(room, alice, "grüße \U0001f514\u2028 \"<&>", Metadata=metadata, MessageAttributes=attributes)
    [event] = session.events(1)
    frame = json.loads(bare.next().text)
    bare.close()
    assert event.payload == json.loads(frame["Payload"])
    assert (event.type, event.message_type) == ("CREATE_CHANNEL_MESSAGE", "STANDARD")
    payload = event.payload
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", payload.pop("CreatedTimestamp"))
    assert payload.pop("LastUpdatedTimestamp")
    assert payload == {
        "ChannelArn": room, "MessageId": sent, "Content": "grüße \U0001f514\u2028 \"<&>", "Metadata": metadata,
        "MessageAttributes": attributes, "Sender": {"Arn": alice, "Name": "Alice"}, "Type": "STANDARD",
        "Persistence": "PERSISTENT", "Redacted": False, "Status": {"Value": "SENT"},
    }


def test_a_session_hears_every_kind_of_event_in_the_order_of_the_channel(place, world, alice, bob, carol):
    messaging = world.messaging
    session = place.session(bob).started()
    room = world.channel(alice, bob)
    one = {"ChannelArn": room, "ChimeBearer": alice}
    first, second = world.send(room, alice, "first"), world.send(room, alice, "second")
    messaging.update_channel_message(MessageId=first, Content="edited", **one)
    messaging.redact_channel_message(MessageId=first, **one)
    messaging.delete_channel_message(MessageId=second, **one | {"ChimeBearer": world.make_admin(carol)})
    # Nodes leave the place of what is not kept open.
    world.settle()
    world.post(room, alice, "typing", kind="CONTROL", persistence="NON_PERSISTENT")
    world.settle()
    messaging.update_channel(Name="Renamed", **one)
    world.join(room, alice, carol)
    world.leave(room, alice, carol)
    messaging.delete_channel(**one)
    expected = [
        "CREATE_CHANNEL_MEMBERSHIP", "CREATE_CHANNEL_MESSAGE", "CREATE_CHANNEL_MESSAGE", "UPDATE_CHANNEL_MESSAGE",
        "REDACT_CHANNEL_MESSAGE", "DELETE_CHANNEL_MESSAGE", "CREATE_CHANNEL_MESSAGE", "UPDATE_CHANNEL",
        "CREATE_CHANNEL_MEMBERSHIP", "DELETE_CHANNEL_MEMBERSHIP", "DELETE_CHANNEL",
    ]
    events = session.events(len(expected))
    assert [event.type for event in events] == expected
    assert [event.message_type for event in events if event.message_type != "SYSTEM"] == ["STANDARD"] * 5 + ["CONTROL"]
    assert session.errors == []


def test_an_app_sends_and_hears_its_own_message(place, world, room, alice):
    """In a page the call crosses origins: it is preflighted, signed and readable."""
    session = place.session(alice).started()
    sent = place.call("SendChannelMessage", ChannelArn=room, ChimeBearer=alice, Content="from the app",
                      Type="STANDARD", Persistence="PERSISTENT", ClientRequestToken="token")
    [event] = session.events(1)
    assert (event.payload["MessageId"], event.payload["Content"]) == (sent["MessageId"], "from the app")


@pytest.mark.parametrize("sort, expected", [
    ("Unread", ["unread", "read", "quiet"]), ("LastMessageTimestamp", ["read", "unread", "quiet"]),
])
def test_prefetch_tells_of_the_channels_before_new_events(place, world, alice, bob, sort, expected):
    channels = {name: world.channel(alice, bob, name=name) for name in ("quiet", "unread", "read")}
    for name in ("unread", "read"):
        world.send(channels[name], alice, f"in {name}")
    world.messaging.update_channel_read_marker(ChannelArn=channels["read"], ChimeBearer=bob)
    session = place.session(bob, prefetch=sort).started()
    details = session.events(3)
    assert {(event.type, event.message_type) for event in details} == {("CHANNEL_DETAILS", "SYSTEM")}
    assert [event.payload["Channel"]["Name"] for event in details] == expected
    told = {event.payload["Channel"]["Name"]: event.payload for event in details}
    assert [message["Content"] for message in told["unread"]["ChannelMessages"]] == ["in unread"]
    assert [name for name in expected if "ReadMarkerTimestamp" in told[name]] == ["read"]
    sent = world.send(channels["quiet"], alice)
    assert session.events(4)[-1].payload["MessageId"] == sent


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_restart_is_survived_by_a_reconnect_of_the_client_itself(place, server, world, room, alice, bob, end):
    """1012 or no close at all: the client comes back within its ten seconds, with the same session id."""
    session = place.session(bob).started()
    getattr(server, end)()
    # If there is another node, it goes on.
    for other in world.sides():
        if other.server.running:
            other.send(room, alice, "while it is away")
    server.start()
    world.reconnect()
    session.wait("started", 2)
    assert session.wait("connecting", 2)["reconnecting"] is True
    world.settle()
    sent = world.send(room, alice, "after the restart")
    [event] = session.events(1)
    assert event.payload["MessageId"] == sent
    assert [session.count(told) for told in ("stopped", "rejected")] == [0, 0]
    # Every connect is counted under the id that it carried.
    assert session.count("socket") >= 2


def unknown_user(world, _):
    return {"user_arn": f"{world.arn}/user/nobody"}


def key_of_somebody_else(world, bob):
    """GetMessagingSessionEndpoint is answered for this key; a socket is opened for its own user alone."""
    return {"user_arn": bob, "key": key_for(world.nodes[0], world.user("mallory"))}


@pytest.mark.parametrize("case", [unknown_user, key_of_somebody_else], ids=lambda case: case.__name__)
def test_refused_credentials_are_one_attempt_and_a_clean_end(place, server, world, alice, bob, case):
    before = server.metric("sockets_refused_total")
    session = place.session(**case(world, bob))
    end = session.wait("rejected")
    assert (end["event"], end["code"], end["reason"], end["clean"]) == ("close", UNAUTHORIZED, "Unauthorized", True)
    # The place goes on, and what the refused session might still do had the time of a whole other one.
    other = place.session(alice).started()
    other.stop()
    other.wait("stopped")
    assert [session.count(told) for told in ("socket", "connecting", "started", "stopped")] == [1, 1, 0, 0]
    assert server.metric("sockets_refused_total") == before + 1


def test_a_users_own_key_is_enough(place, server, world, room, alice, bob):
    session = place.session(bob, key=key_for(server, bob)).started()
    sent = world.send(room, alice)
    assert session.events(1)[0].payload["MessageId"] == sent


def test_a_stopped_session_is_told_so_and_its_socket_is_gone(place, server, bob):
    eventually(lambda: server.metric("sockets_open") == 0, "no socket of earlier tests")
    session = place.session(bob).started()
    eventually(lambda: server.metric("sockets_open") == 1, "no socket but this one")
    session.stop()
    assert session.wait("stopped")["code"] in (NORMAL, NO_CODE)
    eventually(lambda: server.metric("sockets_open") == 0, "the end of the socket")
    assert [session.count(told) for told in ("socket", "stopped")] == [1, 1]


def test_every_session_of_a_user_hears_everything(place, open_place, other_side, world, room, alice, bob):
    """Two in one place and one elsewhere, as in two tabs and on a phone."""
    sessions = [each.session(bob).started() for each in (place, place, open_place("node", "v3", other_side))]
    sent = [world.send(room, alice, f"{number}") for number in range(20)]
    for session in sessions:
        assert [event.payload["MessageId"] for event in session.events(20)] == sent
    sessions[0].stop()
    sessions[0].wait("stopped")
    last = world.send(room, alice, "last")
    for session in sessions[1:]:
        assert session.events(21)[-1].payload["MessageId"] == last
    assert len(sessions[0].events(20)) == 20


def test_a_session_whose_id_is_used_again_ends_with_4003_and_stays_away(place, other_side, bob):
    session = place.session(bob).started()
    newer = open_socket(other_side, bob, session_id=session.id)
    assert session.wait("stopped")["code"] == KICKED
    assert [session.count(told) for told in ("socket", "connecting")] == [1, 1]
    newer.close()


def test_the_session_of_a_deleted_user_ends_with_4003_and_stays_away(place, world, bob):
    session = place.session(bob).started()
    _, there = world.sides()
    there.identity.delete_app_instance_user(AppInstanceUserArn=bob)
    assert session.wait("stopped")["code"] == KICKED
    assert [session.count(told) for told in ("socket", "connecting")] == [1, 1]


@pytest.mark.parametrize("sdk", ["v3", "v2"])
def test_calls_of_a_browser_whose_clock_is_ten_minutes_slow_recover_by_themselves(runtime, sdk, world, room, alice):
    """The first signature is refused; the SDK reads the time from `Date`, which a page sees when it is exposed."""
    slow = runtime("chromium").open(sdk, clock_ms=-10 * MINUTE_MS)
    sent = slow.call("SendChannelMessage", ChannelArn=room, ChimeBearer=alice, Content="late", Type="STANDARD",
                     Persistence="PERSISTENT", ClientRequestToken="token")
    assert [message["MessageId"] for message in world.messages(room, alice)] == [sent["MessageId"]]
    # A session signs its connect with the wrong clock and is refused: it ends at once, as with wrong credentials.
    session = slow.session(alice)
    end = session.wait("rejected")
    assert (end["event"], end.get("code")) == ("close", UNAUTHORIZED)
    assert session.count("socket") == 1


@pytest.mark.parametrize("off_ms", [-4 * MINUTE_MS, 4 * MINUTE_MS], ids=["slow", "fast"])
def test_a_session_in_a_browser_whose_clock_is_a_little_off_starts(runtime, off_ms, world, room, alice, bob):
    session = runtime("chromium").open("v3", clock_ms=off_ms).session(bob).started()
    sent = world.send(room, alice)
    assert session.events(1)[0].payload["MessageId"] == sent


def test_the_snippet_of_the_readme_hears_a_message_in_a_browser(runtime, side, server, world, room, alice, bob):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## JavaScript in the browser: amazon-chime-sdk-js\n")[2].partition("\n## ")[0]
    [code] = re.findall(r"```js\n(.*?)```", section, re.DOTALL)
    assert code.count(README_ENDPOINT) == 1
    key = key_for(server, bob)
    page = runtime("chromium").open(script=code.replace(README_ENDPOINT, side.url), globals={
        "userArn": bob, "credentials": {"accessKeyId": key.id, "secretAccessKey": key.secret}})
    [established] = page.console(1)
    world.send(room, alice, "Hello Bob")
    assert [established, page.console(2)[-1]] == ["SESSION_ESTABLISHED null", "CREATE_CHANNEL_MESSAGE Hello Bob"]
