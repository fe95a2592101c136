"""`/connect`: what is accepted, and how each refusal looks (101 first, then a close with 4401)."""

from datetime import timedelta

import pytest

from support.http import Connection, build, exchange, serialise
from support.sigv4 import Key, Request, canonical_query, now
from support.sockets import Closed, Socket, connect_target, open_socket, refused

pytestmark = pytest.mark.any_engine
# What the store decides, and not the signature alone.
two_nodes = pytest.mark.two_nodes

UNAUTHORIZED = Closed(4401, "Unauthorized")
HOUR = 3600


def accepted(server, target, headers=(), **options):
    """Whether a signed target leads to a session."""
    socket = Socket.upgrade(server, target, headers, **options)
    try:
        return socket.next().type == "SESSION_ESTABLISHED"
    finally:
        socket.close()


def test_session_established_is_the_first_frame_and_has_no_payload(server, alice):
    socket = Socket.upgrade(server, connect_target(server, alice))
    assert socket.handshake.header("sec-websocket-protocol") is None
    event = socket.next()
    assert len(event.id) == 24
    assert event.text.replace(" ", "").replace(f',"x-campanile-event-id":"{event.id}"', "") in (
        '{"Headers":{"x-amz-chime-event-type":"SESSION_ESTABLISHED","x-amz-chime-message-type":"SYSTEM"},'
        '"Payload":null}',
        '{"Headers":{"x-amz-chime-event-type":"SESSION_ESTABLISHED","x-amz-chime-message-type":"SYSTEM"}}',
    )
    socket.close()


def test_a_missing_signature_is_refused(server, alice):
    query = canonical_query([("sessionId", "s"), ("userArn", alice)])
    assert refused(server, f"/connect?{query}") == UNAUTHORIZED
    assert refused(server, "/connect") == UNAUTHORIZED


@pytest.mark.parametrize("parameter", [
    "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
])
def test_each_parameter_of_the_signature_is_needed(server, alice, parameter):
    assert refused(server, connect_target(server, alice, parameters={parameter: None})) == UNAUTHORIZED


@pytest.mark.parametrize("parameters", [
    {"X-Amz-Algorithm": "AWS4-HMAC-SHA1"}, {"X-Amz-Credential": "nonsense"}, {"X-Amz-Date": "yesterday"},
    {"X-Amz-Expires": "0"}, {"X-Amz-Expires": "-1"}, {"X-Amz-Expires": "604801"}, {"X-Amz-Expires": "ten"},
    {"X-Amz-SignedHeaders": ""}, {"X-Amz-Security-Token": "a token for a permanent key"},
    {"sessionId": None}, {"sessionId": ""}, {"sessionId": "x" * 129}, {"userArn": None}, {"userArn": ""},
], ids=str)
def test_parameters_that_make_no_sense_are_refused(server, alice, parameters):
    assert refused(server, connect_target(server, alice, parameters=parameters)) == UNAUTHORIZED


@pytest.mark.parametrize("signing", [
    {"key": Key("AKIDTESTROOT", "another/secret")}, {"key": Key("AKIDNOBODY", "a/secret")},
    {"region": "eu-central-1"}, {"service": "execute-api"}, {"host": "elsewhere.example.org"},
    {"method": "POST"},
], ids=str)
def test_a_signature_for_something_else_is_refused(server, alice, signing):
    assert refused(server, connect_target(server, alice, **signing)) == UNAUTHORIZED


def test_a_changed_parameter_breaks_the_signature(server, alice, bob):
    target = connect_target(server, alice)
    assert refused(server, target.replace("alice", "bob")) == UNAUTHORIZED
    assert refused(server, target + "&extra=1") == UNAUTHORIZED
    end = "0" if target[-1] != "0" else "1"
    assert refused(server, target[:-1] + end) == UNAUTHORIZED


@pytest.mark.parametrize("user", [
    "{app}", "{app}/user/nobody", "{app}/channel/alice", "alice", "arn:aws:chime:us-east-1:0:x",
    "arn:aws:chime:us-east-1:000000000000:app-instance/00000000-0000-4000-8000-000000000000/user/alice",
    "{app}/user/alice/user/alice", "{app}/bot/alice",
])
@two_nodes
def test_only_a_live_user_connects(world, alice, user):
    arn = user.format(app=world.arn)
    for node in world.nodes:
        assert refused(node, connect_target(node, arn)) == UNAUTHORIZED


@two_nodes
def test_a_new_user_connects_at_once(world):
    for number in range(10):
        arn = world.user(f"user-{number}")
        assert all(accepted(node, connect_target(node, arn)) for node in world.nodes)


@two_nodes
def test_a_deleted_user_is_refused(world):
    for number in range(10):
        arn = world.user(f"user-{number}")
        world.identity.delete_app_instance_user(AppInstanceUserArn=arn)
        for node in world.nodes:
            assert refused(node, connect_target(node, arn)) == UNAUTHORIZED


@pytest.mark.parametrize("slow_s", [0, 15, 60, 290], ids=lambda seconds: f"{seconds} s slow")
def test_a_clock_that_is_up_to_five_minutes_slow_is_accepted(server, alice, slow_s):
    assert accepted(server, connect_target(server, alice, moment=now(-slow_s), expires=10))


def test_a_clock_that_is_up_to_five_minutes_fast_is_accepted(server, alice):
    assert accepted(server, connect_target(server, alice, moment=now(290)))


@pytest.mark.parametrize("offset_s, expires", [(-600, 10), (600, 10), (-HOUR, 60), (-320, 10)])
def test_a_signature_out_of_its_time_is_refused(server, alice, offset_s, expires):
    assert refused(server, connect_target(server, alice, moment=now(offset_s), expires=expires)) == UNAUTHORIZED


def test_expires_holds_up_to_seven_days(server, alice):
    moment = now() - timedelta(days=6)
    assert accepted(server, connect_target(server, alice, moment=moment, expires=604800))


def test_a_day_in_the_scope_that_is_not_that_of_the_date_is_refused(server, alice):
    scope = f"{server.key.id}/19990101/us-east-1/chime/aws4_request"
    target = connect_target(server, alice, parameters={"X-Amz-Credential": scope})
    assert refused(server, target) == UNAUTHORIZED


@pytest.mark.parametrize("parameters", [
    {"X-Amz-Security-Token": ""},
    {"X-Amzn-User-Agent": "chrome-104", "X-Amzn-Version": "3.7.0"},
    {"prefetch-on": "connect", "prefetch-sort-by": "unread"},
    {"unknown": "parameter with space, ä and +plus"},
    {"sessionId": "3056170243"}, {"sessionId": "x" * 128}, {"sessionId": "ä b/c"},
], ids=str)
def test_what_clients_add_is_accepted(server, alice, parameters):
    assert accepted(server, connect_target(server, alice, parameters=parameters))


def test_the_order_of_the_parameters_does_not_matter(server, alice):
    path, _, query = connect_target(server, alice).partition("?")
    assert accepted(server, f"{path}?{'&'.join(reversed(query.split('&')))}")


@pytest.mark.parametrize("bare", ["!", "'", "(", ")", "*"])
def test_characters_that_a_client_left_unencoded_are_accepted(server, alice, bare):
    """JavaScript's encodeURIComponent leaves these as they are; the signature is over the encoded form."""
    target = connect_target(server, alice, session_id=f"a{bare}b")
    assert accepted(server, target.replace(f"a%{ord(bare):02X}b", f"a{bare}b"))


def test_a_space_that_was_written_as_plus_is_accepted(server, alice):
    target = connect_target(server, alice, session_id="a b")
    assert accepted(server, target.replace("a%20b", "a+b"))


def test_a_host_without_its_port_is_accepted_when_it_was_signed_so(server, alice):
    target = connect_target(server, alice, host="campanile.example.org")
    assert accepted(server, target, host="campanile.example.org")


@pytest.mark.parametrize("headers", [
    (("Origin", "https://app.example.org"),),
    (("Sec-WebSocket-Protocol", "chat"),),
    (("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),),
    (("User-Agent", "anything"), ("Cookie", "a=b")),
], ids=lambda headers: headers[0][0])
def test_no_subprotocol_and_no_extension_is_ever_chosen(server, alice, headers):
    socket = Socket.upgrade(server, connect_target(server, alice), headers)
    assert socket.handshake.header("sec-websocket-protocol") is None
    assert socket.handshake.header("sec-websocket-extensions") is None
    assert socket.next().type == "SESSION_ESTABLISHED"
    socket.close()


@two_nodes
def test_a_signed_target_works_until_it_expires(world, alice):
    """The signature is not a one-time ticket: a client may connect again with it, as on the real service.

    It is for the name by which clients know all nodes.
    """
    target = connect_target(world.nodes[0], alice, host="chat.example.org")
    for node in [*world.nodes, *world.nodes]:
        assert accepted(node, target, host="chat.example.org")


def test_connect_without_an_upgrade_is_a_clean_error(server, alice):
    request = build(server, "GET", connect_target(server, alice))
    answer = exchange(server, request)
    assert (answer.status, answer.error) == (426, "ValidationException")
    assert set(answer.json()) == {"message"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_connect_is_only_a_get(server, alice, method):
    answer = exchange(server, build(server, method, connect_target(server, alice)))
    assert (answer.status, answer.error) == (404, "UnknownOperationException")


def test_frames_sent_with_the_handshake_are_not_lost(server, alice):
    """A client may write its first frame before it has read the 101."""
    nonce = "dGhlIHNhbXBsZSBub25jZQ=="
    request = Request("GET", connect_target(server, alice), (
        ("Host", server.authority), ("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", nonce)))
    with Connection(server.host, server.port) as connection:
        ping = bytes([0x89, 0x80, 0, 0, 0, 0])
        connection.write(serialise(request) + ping)
        socket = Socket(connection, connection.read_answer())
        assert socket.handshake.status == 101
        socket.until(lambda _: b"" in socket.pongs)


@two_nodes
def test_a_session_outlives_the_expiry_of_its_signature(world, alice):
    """Expires limits the handshake only: this one was in its last seconds of the allowed skew."""
    channel = world.channel(alice)
    socket = open_socket(world.server, alice, moment=now(-305), expires=10)
    world.send(channel, alice, "still connected")
    assert socket.next().payload["Content"] == "still connected"
    socket.close()
