"""The table of malformed requests: what is sent, and the exact answer.

A case makes its request from the place it is sent to (a server, an app instance, a channel and a member of
it). `message` is the exact text of the answer, or a pattern where the text holds a time or a position.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from support.http import build, label
from support.sigv4 import Request, sign

UNREADABLE = re.compile(
    r"The body is not a JSON object of the operation's input: see line \d+, column \d+\.")
BAD_LABEL = "A part of the path is not percent-encoded UTF-8."
UNKNOWN = "There is no operation at this method and path."
ARN_PATTERN = (r"arn:[a-z0-9-\.]{1,63}:[a-z0-9-\.]{0,63}:[a-z0-9-\.]{0,63}:[a-z0-9-\.]{0,63}:[^/].{0,1023}")
TOKEN_PATTERN = "[-_a-zA-Z0-9]*"


@dataclass(frozen=True)
class Place:
    """Where a case is sent to."""

    server: object
    app: str
    channel: str
    user: str

    @property
    def messages(self):
        return f"/channels/{label(self.channel)}/messages"

    @property
    def memberships(self):
        return f"/channels/{label(self.channel)}/memberships"

    def signed(self, method, target, body=None, **extra):
        extra.setdefault("bearer", self.user)
        return sign(build(self.server, method, target, body, **extra), self.server.key)


@dataclass(frozen=True)
class Case:
    """One malformed request and its answer."""

    name: str
    make: Callable[[Place], Request]
    status: int
    error: str
    message: str | re.Pattern = field(repr=False)


def message(**change):
    """The body of a send; None leaves a member out."""
    body = {"Content": "bad input", "Type": "STANDARD", "Persistence": "PERSISTENT", "ClientRequestToken": "bad-1"}
    return {name: value for name, value in (body | change).items() if value is not None}


def constraint(*violations):
    errors = "error" if len(violations) == 1 else "errors"
    return f"{len(violations)} validation {errors} detected: " + "; ".join(violations)


def violation(value, member, demand):
    """A violation's text; a value that is sensitive (None) is left out."""
    shown = "" if value is None else f" {value}" if value == "null" else f" '{value}'"
    return f"Value{shown} at '{member}' failed to satisfy constraint: Member must {demand}"


def serialization(name, make, text=UNREADABLE):
    return Case(name, make, 400, "SerializationException", text)


def bad_request(name, make, *violations):
    return Case(name, make, 400, "BadRequestException", constraint(*violations))


def unknown(name, method, target):
    return Case(name, lambda place: place.signed(method, target(place)), 404, "UnknownOperationException", UNKNOWN)


def send(body):
    """A send with this body: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda place: place.signed("POST", place.messages, content)


def query(text):
    return lambda place: place.signed("GET", f"{place.messages}?{text}")


def chunked(request):
    """The same request in the framing that does not announce its length."""
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(request.body), request.body)
    return replace(request.with_header("Transfer-Encoding", "chunked"), body=body)


VALID = json.dumps(message())

# Bodies that are no JSON object, or hold values of another type than the model says.
BODIES = [
    serialization("truncated json", send(VALID[:-1].encode())),
    serialization("truncated in a string", send(VALID[:-5].encode())),
    serialization("not json", send(b"hello")),
    serialization("xml", send(b"<Content>hello</Content>")),
    serialization("form", send(b"Content=hello&Type=STANDARD")),
    serialization("an array", send([message()])),
    serialization("a string", send("text")),
    serialization("a number", send(5)),
    serialization("null", send(b"null")),
    serialization("two objects", send((VALID + VALID).encode())),
    serialization("trailing garbage", send((VALID + "x").encode())),
    serialization("trailing comma", send((VALID[:-1] + ",}").encode())),
    serialization("single quotes", send(VALID.replace('"', "'").encode())),
    serialization("a comment", send(("/* hi */" + VALID).encode())),
    serialization("a byte order mark", send(b"\xef\xbb\xbf" + VALID.encode())),
    serialization("not utf-8", send(VALID.replace("bad input", "bad \udcff").encode("utf-8", "surrogateescape")),
                  "The body is not UTF-8."),
    serialization("overlong utf-8", send(VALID.encode().replace(b"bad input", b"\xc0\xaf")), "The body is not UTF-8."),
    serialization("utf-16", send(VALID.encode("utf-16")), "The body is not UTF-8."),
    serialization("a surrogate as utf-8", send(VALID.encode().replace(b"bad input", b"\xed\xa0\x80")),
                  "The body is not UTF-8."),
    serialization("a lone surrogate escape", send(VALID.replace("bad input", "\\ud800").encode())),
    serialization("a raw control character", send(VALID.replace("bad input", "\x01").encode())),
    serialization("a wrong escape", send(VALID.replace("bad input", "\\x41").encode())),
    serialization("binary", send(bytes(range(256))), "The body is not UTF-8."),
    serialization("zeros", send(bytes(100))),
    serialization("deep arrays", send(b'{"Content":' + b"[" * 50_000 + b"]" * 50_000 + b"}")),
    serialization("deep objects", send(b'{"Content":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}")),
    serialization("deep and unclosed", send(b"[" * 200_000)),
    serialization("content is a number", send(message(Content=5))),
    serialization("content is an object", send(message(Content={"text": "x"}))),
    serialization("content is a list", send(message(Content=["x"]))),
    serialization("content is a boolean", send(message(Content=True))),
    serialization("type is a number", send(message(Type=1))),
    serialization("target is an object", send(message(Target={"MemberArn": "x"}))),
    serialization("target holds a string", send(message(Target=["arn"]))),
    serialization("target holds a list", send(message(Target=[[]]))),
    serialization("attributes is a list", send(message(MessageAttributes=[]))),
    serialization("attributes holds a string", send(message(MessageAttributes={"a": "x"}))),
    serialization("attribute values hold a number", send(message(MessageAttributes={"a": {"StringValues": [1]}}))),
    serialization("push is a string", send(message(PushNotification="ping"))),
    serialization("an unclosed unknown member", send(VALID.replace("{", '{"Unknown": [1, ', 1).encode())),
]

# Values of the right type that the model does not allow.
VALUES = [
    bad_request("an empty object", send({}),
                violation("null", "content", "not be null"), violation("null", "type", "not be null"),
                violation("null", "persistence", "not be null"),
                violation("null", "clientRequestToken", "not be null")),
    bad_request("no body", send(b""),
                violation("null", "content", "not be null"), violation("null", "type", "not be null"),
                violation("null", "persistence", "not be null"),
                violation("null", "clientRequestToken", "not be null")),
    bad_request("content is null", send(VALID.replace('"bad input"', "null").encode()),
                violation("null", "content", "not be null")),
    bad_request("content is empty", send(message(Content="")),
                violation(None, "content", "have length greater than or equal to 1")),
    Case("content is too long", send(message(Content="x" * 4097)), 400, "BadRequestException",
         "Channel Messages size limit exceeded"),
    bad_request("an unknown type", send(message(Type="standard")),
                violation("standard", "type", "satisfy enum value set: [CONTROL, STANDARD]")),
    bad_request("an unknown persistence", send(message(Persistence="")),
                violation("", "persistence", "satisfy enum value set: [NON_PERSISTENT, PERSISTENT]")),
    bad_request("metadata is too long", send(message(Metadata="ü" * 513)),
                violation(None, "metadata", "have length less than or equal to 1024")),
    bad_request("content type is too long", send(message(ContentType="x" * 46)),
                violation(None, "contentType", "have length less than or equal to 45")),
    bad_request("a token that is too short", send(message(ClientRequestToken="x")),
                violation(None, "clientRequestToken", "have length greater than or equal to 2")),
    bad_request("a token with a space", send(message(ClientRequestToken="a b")),
                violation(None, "clientRequestToken", f"satisfy regular expression pattern: {TOKEN_PATTERN}")),
    bad_request("three violations at once", send(message(Content="", Type="X", Metadata="x" * 1025)),
                violation(None, "content", "have length greater than or equal to 1"),
                violation("X", "type", "satisfy enum value set: [CONTROL, STANDARD]"),
                violation(None, "metadata", "have length less than or equal to 1024")),
    bad_request("an empty target", send(message(Target=[])),
                violation("[]", "target", "have length greater than or equal to 1")),
    bad_request("a target that is no arn", send(message(Target=[{"MemberArn": "bob"}])),
                violation("bob", "target.1.member.memberArn", "have length greater than or equal to 5"),
                violation("bob", "target.1.member.memberArn",
                          f"satisfy regular expression pattern: {ARN_PATTERN}")),
    bad_request("a push that is out of bounds",
                send(message(PushNotification={"Title": "", "Body": "x" * 151, "Type": "LOUD"})),
                violation(None, "pushNotification.title", "have length greater than or equal to 1"),
                violation(None, "pushNotification.body", "have length less than or equal to 150"),
                violation("LOUD", "pushNotification.type", "satisfy enum value set: [DEFAULT, VOIP]")),
    Case("a sub-channel", send(message(SubChannelId="sub")), 400, "BadRequestException",
         "The channel has no sub-channels"),
]

# Query parameters.
QUERIES = [
    bad_request("max-results is zero", query("max-results=0"),
                violation("0", "maxResults", "have value greater than or equal to 1")),
    bad_request("max-results is too large", query("max-results=51"),
                violation("51", "maxResults", "have value less than or equal to 50")),
    bad_request("max-results is negative", query("max-results=-1"),
                violation("-1", "maxResults", "have value greater than or equal to 1")),
    *[
        serialization(f"max-results is {value}", query(f"max-results={value}"),
                      "The parameter 'max-results' cannot be read.")
        for value in ("ten", "1.5", "99999999999999999999", "", "0x10", "%31%FF", "1%20", "NaN")
    ],
    *[
        serialization(f"not-before is {value}", query(f"not-before={value}"),
                      "The parameter 'not-before' cannot be read.")
        for value in ("yesterday", "2024-13-01T00:00:00Z", "2024-01-01", "", "2024-01-01T25:00:00Z", "%FF", "1e999")
    ],
    bad_request("a sort order in lower case", query("sort-order=ascending"),
                violation("ascending", "sortOrder", "satisfy enum value set: [ASCENDING, DESCENDING]")),
    bad_request("a token that is too long", query("next-token=" + "x" * 2049),
                violation(None, "nextToken", "have length less than or equal to 2048")),
    Case("a token that nobody gave out", query("next-token=AAAA"), 400, "BadRequestException",
         "The NextToken is not valid for this list"),
    Case("the last of repeated parameters counts", query("max-results=1&max-results=0"), 400, "BadRequestException",
         constraint(violation("0", "maxResults", "have value greater than or equal to 1"))),
]

# Paths and methods.
PATHS = [
    unknown("the root", "GET", lambda place: "/"),
    unknown("an unknown path", "GET", lambda place: "/no/such/path"),
    unknown("a path that is too long", "GET", lambda place: place.messages + "/x/y/z"),
    unknown("a trailing slash", "GET", lambda place: place.messages + "/"),
    unknown("a double slash", "GET", lambda place: place.messages.replace("/channels/", "/channels//")),
    unknown("a label that is empty", "GET", lambda place: "/channels//messages"),
    unknown("an arn with literal slashes", "GET", lambda place: f"/channels/{place.channel}/messages"),
    unknown("dot segments", "GET", lambda place: f"/channels/../channels/{label(place.channel)}/messages"),
    unknown("another case", "GET", lambda place: place.messages.replace("/channels/", "/Channels/")),
    unknown("an encoded literal", "GET", lambda place: place.messages.replace("/messages", "/%6Dessages")),
    unknown("a wrong method", "PATCH", lambda place: place.messages),
    unknown("a method of another resource", "PUT", lambda place: place.messages),
    unknown("a method in lower case", "get", lambda place: place.messages),
    unknown("a method that is none", "BREW", lambda place: place.messages),
    unknown("trace", "TRACE", lambda place: place.messages),
    unknown("an unknown operation", "POST", lambda place: f"/channels/{label(place.channel)}?operation=explode"),
    unknown("an unknown scope", "GET", lambda place: "/channels?scope=everything"),
    unknown("the admin endpoint", "GET", lambda place: "/healthz"),
    serialization("a label that is not utf-8", lambda place: place.signed("GET", "/channels/%FF%FE"), BAD_LABEL),
    serialization("a label cut in an escape", lambda place: place.signed("GET", "/channels/abc%4"), BAD_LABEL),
    serialization("a label with a wrong escape", lambda place: place.signed("GET", "/channels/abc%zz"), BAD_LABEL),
    bad_request("a label that is no arn", lambda place: place.signed("GET", "/channels/general"),
                violation("general", "channelArn", f"satisfy regular expression pattern: {ARN_PATTERN}")),
    Case("an app instance where a channel belongs", lambda place: place.signed("GET", f"/channels/{label(place.app)}"),
         400, "BadRequestException", "The ARN does not name a channel"),
    Case("a channel where an app instance belongs",
         lambda place: place.signed("GET", f"/app-instances/{label(place.channel)}"),
         400, "BadRequestException", "The ARN does not name an app instance"),
    bad_request("a missing filter", lambda place: place.signed("GET", "/app-instance-users"),
                violation("null", "appInstanceArn", "not be null")),
    Case("the constraint of an operation without BadRequest",
         lambda place: place.signed("GET", "/endpoints/messaging-session?network-type=IPV9"),
         400, "ValidationException",
         constraint(violation("IPV9", "networkType", "satisfy enum value set: [DUAL_STACK, IPV4_ONLY]"))),
]

# Sizes: the answer comes before the signature is looked at.
SIZES = [
    Case("the same body in chunks", lambda place: chunked(place.signed("POST", place.messages, b"x" * 300_000)),
         413, "RequestEntityTooLargeException", "the body is larger than 262144 bytes"),
    Case("a uri of 16 KiB and a byte", lambda place: build(place.server, "GET", "/" + "x" * (16 * 1024)),
         414, "RequestUriTooLongException", "the URI is longer than 16384 bytes"),
    Case("a query of 20 KiB", lambda place: build(place.server, "GET", "/channels?" + "x" * (20 * 1024)),
         414, "RequestUriTooLongException", "the URI is longer than 16384 bytes"),
    Case("headers of 33 KiB", lambda place: build(
        place.server, "GET", "/channels", headers=tuple((f"x-{n}", "y" * 1024) for n in range(33))),
         431, "RequestHeaderFieldsTooLargeException", "the headers are longer than 32768 bytes"),
    Case("one header of 40 KiB", lambda place: build(
        place.server, "GET", "/channels", headers=(("x-a", "y" * 40_000),)),
         431, "RequestHeaderFieldsTooLargeException", "the headers are longer than 32768 bytes"),
    Case("a body of 256 KiB and a byte", send(b"x" * (256 * 1024 + 1)), 413, "RequestEntityTooLargeException",
         "the body is larger than 262144 bytes"),
    Case("a body that announces a terabyte",
         lambda place: place.signed("POST", place.messages, headers=(("Content-Length", "1099511627776"),)),
         413, "RequestEntityTooLargeException", "the body is larger than 262144 bytes"),
]

CASES = BODIES + VALUES + QUERIES + PATHS + SIZES
