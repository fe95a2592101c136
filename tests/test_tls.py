"""TLS on a listener of its own: official JavaScript and mobile clients open `wss` and nothing else."""

import shutil
import signal
import ssl

import pytest

from support import clients
from support.certificate import made_certificate
from support.http import Connection
from support.server import TlsSide, run
from support.sockets import open_socket
from support.world import World

LISTEN = ("--tls-listen", "127.0.0.1:0")
AUTHORITY = "tls-ca.pem"
KEYS = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")


@pytest.fixture
def secured(start, tmp_path):
    """A server with a certificate of its own making, and the side of it that speaks TLS."""
    server = start(*LISTEN, "--tls-self-signed")
    return server, TlsSide(server, tmp_path / "data" / AUTHORITY)


def leaf(side):
    """The certificate that the listener shows, as bytes."""
    with Connection(side.host, side.port, tls=side.tls) as connection:
        return connection._socket.getpeercert(binary_form=True)


def test_a_message_goes_over_tls_from_boto3_to_a_socket(secured):
    _, side = secured
    world = World(side)
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob)
    endpoint = world.messaging.get_messaging_session_endpoint()["Endpoint"]["Url"]
    assert endpoint == side.authority
    socket = open_socket(side, bob)
    content = "grüße " * 400
    message = world.send(channel, alice, content)
    assert socket.next().payload["MessageId"] == message
    for number in range(200):
        world.send(channel, alice, f"message {number}")
    heard = [socket.next().payload["Content"] for _ in range(200)]
    assert heard == [f"message {number}" for number in range(200)]
    socket.close()
    world.identity.delete_app_instance(AppInstanceArn=world.arn)


def test_the_plain_listener_tells_clients_to_come_over_tls(secured):
    server, side = secured
    endpoint = clients.messaging(server).get_messaging_session_endpoint()["Endpoint"]["Url"]
    assert endpoint == side.authority


def test_a_client_that_does_not_trust_the_authority_is_not_served(secured):
    _, side = secured
    with pytest.raises(ssl.SSLCertVerificationError):
        Connection(side.host, side.port, tls=ssl.create_default_context())


def test_plain_http_on_the_tls_port_is_dropped_and_told_once(secured):
    server, side = secured
    for _ in range(3):
        with Connection(side.host, side.port) as connection:
            connection.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while connection.read_some():
                pass
    notices = [line for line in server.whole_log() if "made no handshake" in line]
    assert len(notices) == 1, notices


def test_http_2_is_never_agreed_on(secured):
    _, side = secured
    context = ssl.create_default_context(cafile=side.authorities)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Connection(side.host, side.port, tls=context) as connection:
        assert connection._socket.selected_alpn_protocol() == "http/1.1"


def test_the_authority_survives_a_restart(secured):
    server, side = secured
    first = leaf(side)
    server.restart()
    again = TlsSide(server, side.authorities)
    assert leaf(again) != first
    clients.messaging(again).get_messaging_session_endpoint()


def test_a_renewed_certificate_is_shown_after_sighup_and_open_sockets_stay(start, tmp_path):
    """Two certificates by two authorities stand for the old and the new one."""
    files = [made_certificate(tmp_path / name) for name in ("old", "new")]
    (old_ca, old_cert, old_key), (new_ca, new_cert, new_key) = files
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(old_cert, cert)
    shutil.copy(old_key, key)
    server = start(*LISTEN, "--tls-cert", cert, "--tls-key", key, data_dir=tmp_path / "data")
    side = TlsSide(server, old_ca)
    world = World(side)
    alice = world.user("alice")
    channel = world.channel(alice)
    socket = open_socket(side, alice)

    server.expected_errors.append("the certificate stays as it was")
    cert.write_text("broken", encoding="ascii")
    server.process.send_signal(signal.SIGHUP)
    assert server.stderr.find("the certificate stays as it was")
    leaf(side)

    shutil.copy(new_cert, cert)
    shutil.copy(new_key, key)
    server.process.send_signal(signal.SIGHUP)
    assert server.stderr.find("the certificate was read again")
    leaf(TlsSide(server, new_ca))
    with pytest.raises(ssl.SSLCertVerificationError):
        leaf(side)
    message = world.send(channel, alice)
    assert socket.next().payload["MessageId"] == message
    socket.close()


@pytest.mark.parametrize("arguments, wrong", [
    (LISTEN, "--tls-listen"),
    (("--tls-self-signed",), "--tls-listen"),
    ((*LISTEN, "--tls-cert", "x"), "--tls-key"),
    ((*LISTEN, "--tls-cert", "x", "--tls-key", "x", "--tls-self-signed"), "--tls-self-signed"),
    ((*LISTEN, "--tls-cert", "/nowhere/cert", "--tls-key", "/nowhere/key"), "/nowhere/cert"),
    (("--tls-listen", "x", "--tls-self-signed"), "--tls-listen"),
])
def test_half_a_tls_setting_is_refused_in_one_line(tmp_path, arguments, wrong):
    done = run("serve", *KEYS, "--data-dir", tmp_path / "data", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert wrong in line
