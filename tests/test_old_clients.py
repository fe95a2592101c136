"""boto3 of 2023, from a virtual environment of its own, also in the `chime` namespace of that time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.clients import BAD_BEARER
from support.server import clean_environment

OLD = Path(__file__).parent / "old"
PYTHON = Path(sys.prefix) / "old" / "bin" / "python"


@pytest.mark.parametrize("way", ["new", "legacy", "prefixed"])
def test_a_boto3_of_2023_sends_and_lists_a_message(server, way):
    environment = clean_environment({
        "AWS_ACCESS_KEY_ID": server.key.id, "AWS_SECRET_ACCESS_KEY": server.key.secret,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    })
    done = subprocess.run([PYTHON, OLD / "first_message.py", way, str(server.port)], env=environment,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["listed"] == [[result["sent"], "hello from 2023"]]
    assert result["refusal"] == BAD_BEARER
