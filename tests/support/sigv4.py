"""Signature version 4, written out, so that a test decides every byte of what is signed and sent.

`sign` adds the Authorization header to a request, `presign` makes the query form that `/connect` takes.
Each step can be bent by an argument: a wrong region, an old date, a header left out, another path form.
"""

import functools
import hashlib
import hmac
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
REGION = "us-east-1"
SERVICE = "chime"
EMPTY_HASH = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Key:
    """An access key pair, with a session token where one belongs to it."""

    id: str
    secret: str
    token: str | None = None


@dataclass(frozen=True)
class Request:
    """The bytes of a request before they are written: `target` is the raw path with its raw query."""

    method: str
    target: str
    headers: tuple = field(default=())
    body: bytes = b""

    def with_header(self, name, value):
        return replace(self, headers=(*self.headers, (name, value)))

    def without_header(self, name):
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=kept)

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def now(offset_s=0):
    """The present, moved by `offset_s` seconds: the clock of a client that is fast or slow."""
    return datetime.now(timezone.utc) + timedelta(seconds=offset_s)


def stamp(moment):
    return moment.strftime("%Y%m%dT%H%M%SZ")


def encode(text):
    """RFC 3986 percent-encoding, the only form a canonical query knows."""
    return quote(text, safe="-_.~")


def canonical_path(path, form):
    """`encoded` is what every SDK signs (each received segment once more), `received` what hand-written signers do."""
    return "/".join(map(encode, path.split("/"))) if form == "encoded" else path


def canonical_query(pairs):
    return "&".join(f"{name}={value}" for name, value in sorted((encode(n), encode(v)) for n, v in pairs))


def _received_query(query):
    """A raw query in canonical form: each part decoded and encoded anew, a lone name with an empty value."""
    pairs = [part.partition("=") for part in query.split("&") if part]
    return canonical_query((unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs)


@functools.lru_cache(maxsize=64)
def _signing_key(secret, day, region, service):
    step = ("AWS4" + secret).encode()
    for part in (day, region, service, "aws4_request"):
        step = hmac.new(step, part.encode(), hashlib.sha256).digest()
    return step


def signature(key, moment, region, service, canonical_request):
    """The hex signature of a canonical request."""
    day = moment.strftime("%Y%m%d")
    digest = hashlib.sha256(canonical_request.encode("utf-8", "surrogateescape")).hexdigest()
    text = "\n".join([ALGORITHM, stamp(moment), f"{day}/{region}/{service}/aws4_request", digest])
    return hmac.new(_signing_key(key.secret, day, region, service), text.encode(), hashlib.sha256).hexdigest()


def sign(request, key, *, moment=None, region=REGION, service=SERVICE, path_form="encoded",
         unsigned=(), payload_hash=None, separator=", "):
    """The request with `x-amz-date`, a token header if the key has one, and Authorization."""
    moment = moment or now()
    if request.header("x-amz-date") is None:
        request = request.with_header("x-amz-date", stamp(moment))
    if key.token is not None:
        request = request.with_header("x-amz-security-token", key.token)
    path, _, query = request.target.partition("?")
    values = {}
    for name, value in request.headers:
        if name.lower() not in unsigned:
            values.setdefault(name.lower(), []).append(" ".join(value.split()))
    names = ";".join(sorted(values))
    lines = "".join(f"{name}:{','.join(values[name])}\n" for name in sorted(values))
    digest = payload_hash or hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join([
        request.method, canonical_path(path, path_form), _received_query(query), lines, names, digest,
    ])
    scope = f"{moment.strftime('%Y%m%d')}/{region}/{service}/aws4_request"
    result = signature(key, moment, region, service, canonical)
    value = separator.join([
        f"{ALGORITHM} Credential={key.id}/{scope}", f"SignedHeaders={names}", f"Signature={result}",
    ])
    return request.with_header("Authorization", value)


def presign(host, parameters, key, *, moment=None, expires=10, region=REGION, service=SERVICE,
            path="/connect", method="GET"):
    """The request target of a presigned URL; `parameters` may overrule any X-Amz one (None leaves it out)."""
    moment = moment or now()
    scope = f"{moment.strftime('%Y%m%d')}/{region}/{service}/aws4_request"
    query = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{key.id}/{scope}",
        "X-Amz-Date": stamp(moment),
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": "host",
    }
    if key.token is not None:
        query["X-Amz-Security-Token"] = key.token
    query |= parameters
    pairs = [(name, value) for name, value in query.items() if value is not None]
    text = canonical_query(pairs)
    canonical = "\n".join([method, path, text, f"host:{host}\n", "host", EMPTY_HASH])
    return f"{path}?{text}&X-Amz-Signature={signature(key, moment, region, service, canonical)}"
