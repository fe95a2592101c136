"""Clients of other languages, each a process that answers calls line by line, in the form of boto3's answers."""

import json
import subprocess
import sys
from pathlib import Path

from botocore.exceptions import ClientError

from support.server import clean_environment

TESTS = Path(__file__).resolve().parents[1]
COMMANDS = {
    "cli": [sys.executable, TESTS / "cli" / "lines.py"],
    "js2": ["node", TESTS / "js" / "v2.mjs"],
    "js3": ["node", TESTS / "js" / "v3.mjs"],
}

# Members that came after a client's last release; it would refuse the input itself.
UNHEARD_OF = {"js2": {"NetworkType"}}


def environment(server):
    return clean_environment({
        "AWS_ACCESS_KEY_ID": server.key.id,
        "AWS_SECRET_ACCESS_KEY": server.key.secret,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE": "1",
        "PYTHONIOENCODING": "utf-8",
    })


class OtherClient:
    """A running client; used inside of `with`."""

    def __init__(self, name, server):
        self._unheard_of = UNHEARD_OF.get(name, set())
        self._process = subprocess.Popen(
            [*COMMANDS[name], server.url], env=environment(server), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=20) == 0

    def call(self, operation, given):
        """The answer of a call as boto3 would give it, times aside; a refusal is boto3's error."""
        known = {member: value for member, value in given.items() if member not in self._unheard_of}
        line = {"service": operation.service, "operation": operation.name, "input": known}
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        if "error" in told:
            error = told["error"]
            raise ClientError({"Error": {"Code": error["code"], "Message": error["message"]},
                               "ResponseMetadata": {"HTTPStatusCode": error.get("status")}}, operation.name)
        # The CLI does not tell the status of what succeeds.
        status = told.get("status", operation.status)
        return told["output"] | {"ResponseMetadata": {"HTTPStatusCode": status}}
