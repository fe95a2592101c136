"""Unmodified boto3 clients against the server under test, and one way to state an expected refusal."""

import contextlib
import functools

import boto3
import botocore.config
import botocore.exceptions
import pytest

NO_ACCESS = "You do not have sufficient access to perform this action"
BAD_BEARER = "An invalid app instance user ARN was supplied for the x-amz-chime-bearer HTTP header."
BAD_MEMBER = "An invalid app instance user ARN was supplied for the input parameter."
TOO_LONG = "Channel Messages size limit exceeded"

# The modelled refusals: status, exception class, `Code`.
REFUSALS = {
    "BadRequest": (400, "BadRequestException", "BadRequest"),
    "ResourceLimitExceeded": (400, "ResourceLimitExceededException", "ResourceLimitExceeded"),
    "Unauthorized": (401, "UnauthorizedClientException", "Unauthorized"),
    "Forbidden": (403, "ForbiddenException", "Forbidden"),
    "NotFound": (404, "NotFoundException", "NotFound"),
    "Conflict": (409, "ConflictException", "Conflict"),
    "ServiceUnavailable": (503, "ServiceUnavailableException", "ServiceUnavailable"),
}


@functools.cache
def _session(key, region):
    return boto3.Session(aws_access_key_id=key.id, aws_secret_access_key=key.secret,
                         aws_session_token=key.token, region_name=region)


@functools.lru_cache(maxsize=32)
def _client(service, url, key, region, checked, authorities):
    config = botocore.config.Config(
        parameter_validation=checked, retries={"max_attempts": 0}, max_pool_connections=80,
        connect_timeout=10, read_timeout=30,
    )
    return _session(key, region).client(service, endpoint_url=url, config=config, verify=authorities)


def identity(server, *, key=None, region="us-east-1", checked=True):
    return _client("chime-sdk-identity", server.url, key or server.key, region, checked, getattr(server, "authorities", None))


def messaging(server, *, key=None, region="us-east-1", checked=True):
    """The client; with `checked=False` boto3 sends what it would itself refuse."""
    return _client("chime-sdk-messaging", server.url, key or server.key, region, checked, getattr(server, "authorities", None))


@contextlib.contextmanager
def refusal(name, message=None):
    """Expects the modelled error `name` from the call inside: class, type header, Code, status, and text if given."""
    status, exception, code = REFUSALS[name]
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        yield caught
    response = caught.value.response
    found = (response["ResponseMetadata"]["HTTPStatusCode"], type(caught.value).__name__, response.get("Code"))
    assert found == (status, exception, code), response
    assert response["Error"]["Code"] == exception, response
    assert response["Error"]["Message"], "an error says something"
    if message is not None:
        assert response["Error"]["Message"] == message


def answer_of(response):
    """The modelled members of a boto3 response."""
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}


def status_of(response):
    return response["ResponseMetadata"]["HTTPStatusCode"]


def pages(operation, list_name, **arguments):
    """Calls a list operation by hand until no NextToken comes, as the SDKs' users do; yields each page's list."""
    while True:
        answer = operation(**arguments)
        yield answer[list_name]
        if "NextToken" not in answer:
            return
        assert answer["NextToken"], "NextToken is absent on the last page, never empty"
        arguments["NextToken"] = answer["NextToken"]


def everything(operation, list_name, **arguments):
    """All items of a list."""
    return [item for page in pages(operation, list_name, **arguments) for item in page]
