"""What real clients do on the wire beside the letter of the protocol, each habit with its answer."""

import json
import uuid
from dataclasses import replace

import pytest

from support import clients
from support.clients import BAD_BEARER
from support.http import Connection, build, call, exchange, label, serialise
from support.sigv4 import Key, now, sign

BEARER = "x-amz-chime-bearer"


def message(content="hello", **extra):
    return {"Content": content, "Type": "STANDARD", "Persistence": "PERSISTENT",
            "ClientRequestToken": str(uuid.uuid4())} | extra


@pytest.fixture
def channel(world, alice):
    return world.channel(alice)


@pytest.fixture
def messages(channel):
    return f"/channels/{label(channel)}/messages"


# Bodies and their types.


@pytest.mark.parametrize("content_type", [
    None, "application/json", "application/x-amz-json-1.0", "application/x-amz-json-1.1", "text/plain",
    "application/octet-stream", "application/json; charset=utf-8",
], ids=str)
def test_the_content_type_is_ignored(server, messages, alice, content_type):
    headers = () if content_type is None else (("Content-Type", content_type),)
    assert call(server, "POST", messages, message(), bearer=alice, headers=headers).status == 201
    assert call(server, "GET", messages, bearer=alice, headers=headers).status == 200


@pytest.mark.parametrize("body", [b"", b"{}", b" {} ", b'{"Unknown": [1, {"a": null}]}'], ids=str)
def test_an_empty_object_is_accepted_where_no_body_is_expected(server, world, channel, alice, body):
    for method, target in (
        ("GET", f"/channels/{label(channel)}"),
        ("GET", f"/channels/{label(channel)}/memberships"),
        ("DELETE", f"/channels/{label(channel)}/memberships/{label(alice)}"),
    ):
        answer = call(server, method, target, body, bearer=alice)
        assert answer.status in (200, 204), answer


def test_unknown_and_null_members_are_ignored(server, messages, alice):
    body = message(Unknown={"deep": [1]}, Metadata=None, PushNotification=None, Target=None, SubChannelId=None)
    assert call(server, "POST", messages, body, bearer=alice).status == 201


def test_unknown_query_parameters_are_ignored(server, messages, alice):
    target = f"{messages}?unknown=1&max-results=5&x-id=ListChannelMessages"
    assert call(server, "GET", target, bearer=alice).status == 200


def test_json_escapes_and_newlines_in_metadata_come_back_unchanged(server, messages, world, channel, alice):
    metadata = json.dumps({"lines": "one\ntwo", "quote": '"', "emoji": "🎉"}, indent=2)
    body = json.dumps(message(Metadata=metadata)).encode()
    assert b"\\ud83c" in body, "the emoji travels as a pair of surrogate escapes"
    assert call(server, "POST", messages, body, bearer=alice).status == 201
    assert world.messages(channel, alice)[0]["Metadata"] == metadata


def test_a_body_in_chunks_is_understood(server, messages, alice, world, channel):
    body = json.dumps(message("in chunks")).encode()
    request = sign(build(server, "POST", messages, body, bearer=alice), server.key)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    framed = request.with_header("Transfer-Encoding", "chunked")
    assert exchange(server, replace(framed, body=chunks)).status == 201
    assert world.contents(channel, alice) == ["in chunks"]


def test_emoji_in_names_come_back_unchanged(world):
    user = world.user("emoji", name="👩‍👩‍👧 Ünïcödé")
    channel = world.channel(user, name="🎪 channel")
    assert world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=user)["Channel"]["Name"] == "🎪 channel"
    socket = world.connect(user)
    world.send(channel, user)
    assert socket.next().payload["Sender"]["Name"] == "👩‍👩‍👧 Ünïcödé"


# Paths.


@pytest.mark.parametrize("encode", [
    label,
    lambda arn: arn.replace("/", "%2F"),
    lambda arn: arn.replace("/", "%2f").replace(":", "%3a"),
    lambda arn: "".join(f"%{byte:02X}" for byte in arn.encode()),
], ids=["as the SDKs do", "only the slashes", "lower-case hex", "every byte"])
def test_arns_in_the_path_may_be_encoded_in_part_or_in_full(server, channel, alice, encode):
    for path_form in ("encoded", "received"):
        answer = call(server, "GET", f"/channels/{encode(channel)}", bearer=alice, path_form=path_form)
        assert (answer.status, answer.json()["Channel"]["ChannelArn"]) == (200, channel)


def test_a_literal_slash_in_an_arn_is_another_path(server, channel, alice):
    for encode in (str, lambda arn: arn.replace(":", "%3A")):
        answer = call(server, "GET", f"/channels/{encode(channel)}", bearer=alice)
        assert (answer.status, answer.error) == (404, "UnknownOperationException")


def test_a_label_is_decoded_once_and_no_more(server, channel, alice):
    answer = call(server, "GET", f"/channels/{label(label(channel))}", bearer=alice)
    assert (answer.status, answer.error) == (400, "BadRequestException")


def test_an_at_sign_in_a_user_id_survives_every_encoding(server, world, alice):
    user = world.user("bob@example.org")
    for encoded in (label(user), label(user).replace("%40", "@")):
        answer = call(server, "GET", f"/app-instance-users/{encoded}")
        assert answer.json()["AppInstanceUser"]["AppInstanceUserArn"] == user


# Hosts and headers.


@pytest.mark.parametrize("host", [
    "localhost", "127.0.0.1", "messaging-chime.us-east-1.amazonaws.com", "messaging-chat.test:8080",
    "CHAT.Example.org:99",
])
def test_the_host_is_what_was_sent_and_signed(server, messages, alice, host):
    """Some clients leave the port out of Host; behind a proxy the name is another one."""
    request = build(server, "GET", messages, bearer=alice, host=host)
    assert exchange(server, sign(request, server.key)).status == 200


def test_an_unsigned_bearer_is_refused(server, messages, alice):
    request = sign(build(server, "GET", messages), server.key).with_header(BEARER, alice)
    answer = exchange(server, request)
    assert (answer.status, answer.error) == (403, "InvalidSignatureException")


def test_a_second_bearer_header_is_refused(server, messages, alice, bob):
    request = sign(build(server, "GET", messages, bearer=alice), server.key).with_header(BEARER, bob)
    answer = exchange(server, request)
    assert (answer.status, answer.error) == (403, "InvalidSignatureException")


@pytest.mark.parametrize("bearer", [
    None, "", "alice", "{app}", "{app}/user/nobody", "{app}/channel/alice", "{app}/user/", "{app}/user/alice/x",
    "arn:aws:chime:eu-central-1:000000000000:app-instance/00000000-0000-4000-8000-000000000000/user/alice",
    "x" * 2000,
], ids=lambda bearer: str(bearer)[:40])
def test_a_bearer_of_no_use_is_unauthorized_and_never_a_bad_request(server, world, messages, alice, bearer):
    sent = None if bearer is None else bearer.format(app=world.arn)
    answer = call(server, "GET", messages, bearer=sent)
    assert (answer.status, answer.error) == (401, "UnauthorizedClientException")
    assert answer.json() == {"Code": "Unauthorized", "Message": BAD_BEARER}


def test_identity_operations_ignore_a_bearer(server, world, alice):
    for bearer in (alice, "nonsense"):
        answer = call(server, "GET", f"/app-instance-users?app-instance-arn={label(world.arn)}", bearer=bearer)
        assert answer.status == 200


def test_headers_of_proxies_need_no_signature(server, messages, alice):
    request = sign(build(server, "GET", messages, bearer=alice), server.key)
    for name in ("x-amzn-trace-id", "x-amz-cf-id", "X-Forwarded-For", "Via"):
        request = request.with_header(name, "added on the way")
    assert exchange(server, request).status == 200


def test_a_proxy_may_have_folded_spaces_in_a_signed_header(server, messages, alice):
    request = build(server, "GET", messages, bearer=alice, headers=(("x-amz-user-agent", "  aws   sdk  "),))
    assert exchange(server, sign(request, server.key)).status == 200


def test_commas_without_spaces_in_authorization_are_accepted(server, messages, alice):
    assert call(server, "GET", messages, bearer=alice, separator=",").status == 200


def test_an_empty_security_token_is_none(server, messages, alice):
    key = Key(server.key.id, server.key.secret, token="")
    assert call(server, "GET", messages, bearer=alice, key=key).status == 200


@pytest.mark.parametrize("offset_s", [-290, -60, -15, 60, 290])
def test_a_clock_within_five_minutes_is_accepted(server, messages, alice, offset_s):
    assert call(server, "GET", messages, bearer=alice, moment=now(offset_s)).status == 200


def test_old_android_clients_read_the_exception_from_the_body(server, world, alice):
    target = f"/channels/{label(world.arn + '/channel/nowhere')}"
    agent = (("User-Agent", "aws-sdk-android/2.75.0 Linux/5.10 Dalvik"),)
    answer = call(server, "GET", target, bearer=alice, headers=agent)
    assert answer.json() == {"Code": "Forbidden", "Message": clients.NO_ACCESS, "__type": "ForbiddenException"}
    assert "__type" not in call(server, "GET", target, bearer=alice).json()
    unsigned = exchange(server, build(server, "GET", target, headers=agent)).json()
    assert unsigned["__type"] == "MissingAuthenticationTokenException"


def test_the_date_header_has_its_usual_case(server, messages, alice):
    """The Android SDK looks headers up by their exact case, to correct its clock."""
    assert "Date" in [name for name, _ in call(server, "GET", messages, bearer=alice).headers]


def test_every_answer_has_a_request_id_of_its_own(server, messages, alice):
    answers = [call(server, "GET", messages, bearer=alice), call(server, "GET", "/nowhere"),
               call(server, "POST", messages, message(), bearer=alice), exchange(server, build(server, "GET", "/"))]
    ids = [answer.header("x-amzn-RequestId") for answer in answers]
    assert all(ids) and len(set(ids)) == len(ids)


def test_one_connection_carries_many_requests(server, messages, alice):
    with Connection(server.host, server.port) as connection:
        for status, target in ((200, messages), (404, "/nowhere"), (200, messages), (401, messages)):
            bearer = alice if status != 401 else None
            request = sign(build(server, "GET", target, bearer=bearer), server.key)
            assert connection.send(request).status == status


def test_requests_may_be_pipelined(server, messages, alice):
    requests = [sign(build(server, "POST", messages, message(str(number)), bearer=alice), server.key)
                for number in range(5)]
    with Connection(server.host, server.port) as connection:
        connection.write(b"".join(map(serialise, requests)))
        assert [connection.read_answer().status for _ in requests] == [201] * 5


def test_a_client_that_expects_continue_gets_it(server, messages, alice):
    request = sign(build(server, "POST", messages, message(), bearer=alice), server.key)
    head, _, body = serialise(request.with_header("Expect", "100-continue")).partition(b"\r\n\r\n")
    with Connection(server.host, server.port) as connection:
        connection.write(head + b"\r\n\r\n")
        assert connection.read_answer().status == 100
        connection.write(body)
        assert connection.read_answer().status == 201
