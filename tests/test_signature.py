"""SigV4 of REST requests: every kind of wrong signature, its exact answer, and that it changes nothing."""

import re
from dataclasses import replace

import pytest

from support.http import build, call, exchange
from support.sigv4 import EMPTY_HASH, Key, now, presign, sign, stamp

TARGET = "/app-instances"
BODY = {"Name": "Must not exist", "ClientRequestToken": "never-used"}

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method. Consult the service documentation for details.")
INVALID_TOKEN = "The security token included in the request is invalid."


def post(server, body=BODY, **extra):
    return build(server, "POST", TARGET, body, **extra)


def check(server, request, exception, message=None):
    answer = exchange(server, request)
    assert (answer.status, answer.error) == (403, exception), answer
    assert set(answer.json()) == {"message"}, "no Code: with one, old clients never renew their credentials"
    if message is not None:
        assert re.fullmatch(message, answer.json()["message"]), answer.json()


@pytest.fixture(autouse=True)
def nothing_is_written(server):
    yield
    listed = call(server, "GET", TARGET).json()["AppInstances"]
    assert "Must not exist" not in [instance["Name"] for instance in listed]


def test_a_right_signature_is_accepted_in_both_path_forms(server):
    for path_form in ("encoded", "received"):
        assert call(server, "GET", TARGET, path_form=path_form).status == 200


def test_repeated_and_unsorted_query_parameters_are_accepted(server):
    assert call(server, "GET", f"{TARGET}?max-results=5&b=2&b=1&a=%20&%C3%A4=x&empty=&lone").status == 200


def test_no_signature_is_a_missing_authentication_token(server):
    check(server, post(server), "MissingAuthenticationTokenException", "Missing Authentication Token")


@pytest.mark.parametrize("value", [
    "", "Basic dXNlcjpwYXNz", "Bearer token", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 nonsense",
    "AWS4-HMAC-SHA256 Credential=AKID/20240101/us-east-1/chime/aws4_request",
    "AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature=",
    "AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
    "AWS4-HMAC-SHA256 Credential=AKIDTESTROOT/20240101/us-east-1/chime/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=short",
    "AWS4-ECDSA-P256-SHA256 Credential=a/20240101/chime/aws4_request, SignedHeaders=host, Signature=00",
], ids=lambda value: value[:60])
def test_an_unreadable_authorization_is_refused(server, value):
    request = post(server).with_header("x-amz-date", stamp(now())).with_header("Authorization", value)
    answer = exchange(server, request)
    assert answer.status == 403
    assert answer.error in ("IncompleteSignatureException", "MissingAuthenticationTokenException",
                            "InvalidSignatureException"), answer
    assert set(answer.json()) == {"message"}


@pytest.mark.parametrize("part", ["Credential", "SignedHeaders", "Signature"])
def test_a_part_of_authorization_that_is_missing_makes_it_incomplete(server, part):
    request = sign(post(server), server.key)
    kept = [piece for piece in request.header("Authorization").split(" ", 1)[1].split(", ")
            if not piece.startswith(part + "=")]
    request = request.without_header("Authorization").with_header(
        "Authorization", "AWS4-HMAC-SHA256 " + ", ".join(kept))
    check(server, request, "IncompleteSignatureException")


def test_a_request_without_a_date_is_incomplete(server):
    request = sign(post(server), server.key).without_header("x-amz-date")
    check(server, request, "IncompleteSignatureException")


def test_an_unknown_key_is_an_unrecognized_client(server):
    check(server, sign(post(server), Key("AKIDNOBODY", "some/secret")), "UnrecognizedClientException",
          re.escape(INVALID_TOKEN))


def test_a_token_with_a_permanent_key_is_an_unrecognized_client(server):
    check(server, sign(post(server), replace(server.key, token="some-token")), "UnrecognizedClientException",
          re.escape(INVALID_TOKEN))


def test_a_wrong_secret_is_an_invalid_signature(server):
    check(server, sign(post(server), Key(server.key.id, "another/secret")), "InvalidSignatureException",
          re.escape(MISMATCH))


@pytest.mark.parametrize("change", [
    lambda request: replace(request, body=request.body.replace(b"Must", b"must")),
    lambda request: replace(request, body=request.body + b" "),
    lambda request: replace(request, body=b""),
    lambda request: replace(request, target=request.target + "?max-results=1"),
    lambda request: replace(request, method="GET", body=b""),
    lambda request: request.without_header("Host").with_header("Host", "elsewhere.example.org"),
    lambda request: request.without_header("x-amz-chime-bearer").with_header("x-amz-chime-bearer", "other"),
    lambda request: request.without_header("x-amz-chime-bearer"),
    lambda request: request.without_header("x-amz-date").with_header("x-amz-date", stamp(now(-1))),
], ids=["body", "longer body", "no body", "query", "method", "host", "bearer", "bearer left out", "date"])
def test_anything_that_was_changed_after_signing_breaks_the_signature(server, change):
    request = sign(post(server, bearer="somebody"), server.key)
    check(server, change(request), "InvalidSignatureException")


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-chime-bearer"])
def test_headers_that_matter_must_be_signed(server, name):
    request = sign(post(server, bearer="somebody"), server.key, unsigned=(name,))
    check(server, request, "InvalidSignatureException")


def test_the_end_of_a_signature_matters(server):
    request = sign(post(server), server.key)
    value = request.header("Authorization")
    end = "0" if value[-1] != "0" else "1"
    check(server, request.without_header("Authorization").with_header("Authorization", value[:-1] + end),
          "InvalidSignatureException", re.escape(MISMATCH))


def test_a_signature_for_another_region_names_what_is_wrong(server):
    check(server, sign(post(server), server.key, region="eu-central-1"), "InvalidSignatureException",
          re.escape("Credential should be scoped to a valid region."))


@pytest.mark.parametrize("service", ["execute-api", "chime-sdk-messaging", "Chime"])
def test_a_signature_for_another_service_names_what_is_wrong(server, service):
    check(server, sign(post(server), server.key, service=service), "InvalidSignatureException",
          re.escape("Credential should be scoped to correct service: 'chime'."))


def test_a_scope_of_another_day_is_refused(server):
    request = sign(post(server), server.key)
    day = stamp(now())[:8]
    value = request.header("Authorization").replace(f"/{day}/", "/19990101/")
    check(server, request.without_header("Authorization").with_header("Authorization", value),
          "InvalidSignatureException")


def test_a_replay_past_the_skew_is_expired(server):
    check(server, sign(post(server), server.key, moment=now(-600)), "InvalidSignatureException",
          r"Signature expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z \(\d{8}T\d{6}Z - 5 min\.\)")


def test_a_date_ahead_of_the_skew_is_not_yet_current(server):
    check(server, sign(post(server), server.key, moment=now(600)), "InvalidSignatureException",
          r"Signature not yet current: \d{8}T\d{6}Z is still later than \d{8}T\d{6}Z \(\d{8}T\d{6}Z \+ 5 min\.\)")


@pytest.mark.parametrize("value", ["yesterday", "20240101", "20241301T000000Z", "2024-01-01T00:00:00Z", ""])
def test_a_date_that_is_none_is_refused(server, value):
    request = sign(post(server).with_header("x-amz-date", value), server.key)
    answer = exchange(server, request)
    assert answer.status == 403
    assert answer.error in ("IncompleteSignatureException", "InvalidSignatureException")


@pytest.mark.parametrize("digest", ["0" * 64, EMPTY_HASH, "UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""])
def test_a_body_hash_that_is_not_that_of_the_body_is_refused(server, digest):
    """Signed in or not: otherwise anybody on the way could change the body."""
    for signed in (True, False):
        request = post(server)
        if signed:
            request = sign(request.with_header("x-amz-content-sha256", digest), server.key, payload_hash=digest)
        else:
            request = sign(request, server.key).with_header("x-amz-content-sha256", digest)
        check(server, request, "InvalidSignatureException")


def test_a_body_hash_that_is_right_is_accepted(server):
    request = build(server, "GET", TARGET).with_header("x-amz-content-sha256", EMPTY_HASH)
    assert exchange(server, sign(request, server.key)).status == 200


def presigned(server, **signing):
    return build(server, "GET", presign(server.authority, {"max-results": "1"}, server.key, path=TARGET, **signing))


def test_a_presigned_query_signs_any_request(server):
    answer = exchange(server, presigned(server))
    assert answer.status == 200
    assert "AppInstances" in answer.json()


def test_a_presigned_query_that_was_changed_is_refused(server):
    request = presigned(server)
    for target in (request.target.replace("max-results=1", "max-results=2"), request.target + "&next-token=AAAA"):
        check(server, replace(request, target=target), "InvalidSignatureException", re.escape(MISMATCH))


@pytest.mark.parametrize("moment_s, expires", [(-600, 300), (-3600, 10)])
def test_a_presigned_query_that_is_out_of_its_time_is_refused(server, moment_s, expires):
    check(server, presigned(server, moment=now(moment_s), expires=expires), "InvalidSignatureException")


def test_a_presigned_query_does_not_let_in_a_bearer_that_it_did_not_sign(server):
    """Who holds the URL must not choose whom it speaks for."""
    check(server, presigned(server).with_header("x-amz-chime-bearer", "somebody"), "InvalidSignatureException")
