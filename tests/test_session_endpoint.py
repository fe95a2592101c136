"""GetMessagingSessionEndpoint: the bare host and port under which `/connect` is reached."""

import pytest

from support import clients
from support.clients import answer_of, status_of
from support.http import build, exchange
from support.sigv4 import sign
from support.sockets import open_socket
from support.world import World


def endpoint_for(server, host):
    request = sign(build(server, "GET", "/endpoints/messaging-session", host=host), server.key)
    return exchange(server, request).json()["Endpoint"]["Url"]


@pytest.mark.parametrize("arguments", [{}, {"NetworkType": "IPV4_ONLY"}, {"NetworkType": "DUAL_STACK"}], ids=str)
def test_the_answer_is_host_and_port_without_scheme_or_path(server, arguments):
    answer = clients.messaging(server).get_messaging_session_endpoint(**arguments)
    assert status_of(answer) == 200
    assert answer_of(answer) == {"Endpoint": {"Url": server.authority}}


def test_a_listener_of_one_address_hands_out_that_address(server):
    for host in (f"localhost:{server.port}", "elsewhere.example.org"):
        assert endpoint_for(server, host) == server.authority


def test_a_listener_of_all_addresses_hands_out_the_host_that_was_asked_and_never_a_wildcard(start):
    server = start(data_dir=":memory:", listen="0.0.0.0:0")
    assert endpoint_for(server, f"localhost:{server.port}") == f"localhost:{server.port}"
    assert endpoint_for(server, "localhost") == f"localhost:{server.port}"
    assert endpoint_for(server, f"0.0.0.0:{server.port}") == f"127.0.0.1:{server.port}"


def test_a_public_endpoint_that_was_configured_is_handed_out_to_all(start):
    server = start("--public-endpoint", "chat.example.org:8443", data_dir=":memory:")
    for host in (server.authority, "localhost", "elsewhere.example.org"):
        assert endpoint_for(server, host) == "chat.example.org:8443"


def test_a_socket_opens_under_the_endpoint_that_was_handed_out(start):
    server = start(data_dir=":memory:")
    world = World(server)
    alice = world.user("alice")
    url = clients.messaging(server).get_messaging_session_endpoint()["Endpoint"]["Url"]
    open_socket(server, alice, host=url).close()
