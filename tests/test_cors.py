"""Browsers: preflight before everything else, and CORS headers on every answer, refusals included."""

import pytest

from support.http import build, call, exchange, label
from support.sigv4 import Request, now

ORIGIN = ("Origin", "https://app.example.org")
ASKED = "authorization,content-type,x-amz-chime-bearer,x-amz-date,x-amz-user-agent,x-something-new"
EXPOSED = {"date", "x-amzn-errortype", "x-amzn-requestid"}


def preflight(server, path, *headers):
    return exchange(server, Request("OPTIONS", path, (
        ("Host", server.authority), ORIGIN, ("Access-Control-Request-Method", "PUT"), *headers)))


def words(value):
    return {word.strip().lower() for word in value.split(",")}


@pytest.mark.parametrize("path", [
    "/channels", "/app-instances/arn%3Aaws%3Achime/x", "/no/such/path", "/connect", "/channels/%FF", "*",
])
def test_preflight_is_answered_on_any_path_without_a_signature(server, path):
    answer = preflight(server, path, ("Access-Control-Request-Headers", ASKED))
    assert answer.status in (200, 204)
    assert answer.header("access-control-allow-origin") in ("*", ORIGIN[1])
    assert words(answer.header("access-control-allow-headers")) >= words(ASKED)
    assert words(answer.header("access-control-allow-methods")) >= {"get", "post", "put", "delete"}
    assert answer.header("access-control-max-age") == "86400"
    assert answer.header("access-control-allow-private-network") is None


def test_preflight_without_wanted_headers_is_answered(server):
    assert preflight(server, "/channels").status in (200, 204)


def test_preflight_from_a_public_page_to_a_private_network_is_allowed_when_asked(server):
    answer = preflight(server, "/channels", ("Access-Control-Request-Private-Network", "true"))
    assert answer.header("access-control-allow-private-network") == "true"


def answers(server, world, alice):
    """One answer of each kind, by status."""
    channel = world.channel(alice)
    target = f"/channels/{label(channel)}"
    missing = f"/channels/{label(channel + '-not')}"
    nobody = f"{target}/memberships/{label(world.arn + '/user/nobody')}"
    return {
        200: call(server, "GET", target, bearer=alice, headers=(ORIGIN,)),
        201: call(server, "POST", f"{target}/messages", {
            "Content": "x", "Type": "STANDARD", "Persistence": "PERSISTENT", "ClientRequestToken": "token",
        }, bearer=alice, headers=(ORIGIN,)),
        400: call(server, "GET", f"{target}/messages?max-results=0", bearer=alice, headers=(ORIGIN,)),
        401: call(server, "GET", target, headers=(ORIGIN,)),
        403: call(server, "GET", missing, bearer=alice, headers=(ORIGIN,)),
        404: call(server, "GET", nobody, bearer=alice, headers=(ORIGIN,)),
        409: call(server, "POST", f"{target}/memberships", {"MemberArn": alice, "Type": "DEFAULT"},
                  bearer=alice, headers=(ORIGIN,)),
        413: call(server, "POST", target, b"x" * 300_000, bearer=alice, headers=(ORIGIN,)),
        204: call(server, "DELETE", target, bearer=alice, headers=(ORIGIN,)),
    }


def test_every_kind_of_answer_may_be_read_by_a_page_of_another_origin(server, world, alice):
    for status, answer in answers(server, world, alice).items():
        assert answer.status == status, answer
        assert answer.header("access-control-allow-origin") in ("*", ORIGIN[1]), answer
        assert words(answer.header("access-control-expose-headers")) >= EXPOSED, answer
        assert answer.header("date"), answer


@pytest.mark.parametrize("case", ["unsigned", "unknown path", "clock ten minutes slow"])
def test_front_errors_may_be_read_too(server, world, alice, case):
    target = f"/channels/{label(world.arn)}"
    answer = {
        "unsigned": lambda: exchange(server, build(server, "GET", target, headers=(ORIGIN,))),
        "unknown path": lambda: call(server, "GET", "/nowhere", headers=(ORIGIN,)),
        "clock ten minutes slow": lambda: call(
            server, "GET", target, bearer=alice, headers=(ORIGIN,), moment=now(-600)),
    }[case]()
    assert answer.status in (403, 404)
    assert answer.header("access-control-allow-origin") in ("*", ORIGIN[1])
    assert words(answer.header("access-control-expose-headers")) >= EXPOSED
    assert answer.header("date")
    assert set(answer.json()) == {"message"}
