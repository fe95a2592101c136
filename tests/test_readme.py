"""The README's snippets, taken from the file and run as they stand, at another port."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import BINARY, ROOT, Server, clean_environment

JS = Path(__file__).parent / "js"
README = (ROOT / "README.md").read_text(encoding="utf-8")
ENDPOINT = "http://127.0.0.1:8080"
ADMIN = "http://127.0.0.1:9180"
SHELL_STEP = 'eval "$(target/release/campanile credentials show)"'


def snippet(section, language, server):
    """The only block of a language in a section, with the endpoint of this server."""
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)[1]
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 1, blocks
    assert blocks[0].count(ENDPOINT) == 1
    return blocks[0].replace(ENDPOINT, server.url)


@pytest.fixture
def server(start, tmp_path):
    """A server as `make run` starts it: the default folder, a key pair of its own."""
    return start(data_dir=None, key=None, cwd=tmp_path)


def shell(script, server, text=None, **environment):
    """Runs a script with the key pair in its environment, taken the way the README says."""
    eval_line = SHELL_STEP.replace("target/release/campanile", str(BINARY))
    environment = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PAGER": "",
                   "AWS_EC2_METADATA_DISABLED": "true"} | environment
    done = subprocess.run(["sh", "-ec", f"{eval_line}\n{script}"], cwd=server.cwd, input=text, text=True,
                          env=clean_environment(environment), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_snippet_pasted_into_python_prints_the_received_frame(server):
    assert SHELL_STEP in README
    code = snippet("One minute to the first message", "python", server)
    out = shell(f"{sys.executable} -i", server, text=code)
    assert '"SESSION_ESTABLISHED"' in out
    frame = json.loads(out[out.index("{\n"):out.rindex("}") + 1])
    assert frame["Headers"]["x-amz-chime-event-type"] == "CREATE_CHANNEL_MESSAGE"
    payload = json.loads(frame["Payload"])
    assert (payload["Content"], payload["Sender"]["Name"]) == ("Hello Bob", "Alice")


def test_the_aws_cli_snippet_lists_the_message_that_it_sent(server):
    code = snippet("AWS CLI", "sh", server)
    venv = Path(sys.executable).parent
    out = shell(f'PATH="{venv}:$PATH"\n{code}', server)
    sent, listed = re.findall(r"^\{.*?^\}", out, re.DOTALL | re.MULTILINE)
    [message] = json.loads(listed)["ChannelMessages"]
    assert message["MessageId"] == json.loads(sent)["MessageId"]
    assert message["Content"] == "Hello from a shell"


def test_the_javascript_snippet_lists_the_message_that_it_sent(server):
    code = snippet("JavaScript", "js", server)
    out = shell(f'cd "{JS}"\nexec node --input-type=module -', server, text=code)
    assert "Content: 'Hello from JavaScript'" in out


def test_the_snippet_for_ci_sees_a_month_pass_and_starts_afresh(tmp_path):
    code = re.search(r"^## In CI\n.*?```python\n(.*?)```", README, re.DOTALL | re.MULTILINE)[1]
    dev = Server(None, "--tls-listen", "off", key=None, cwd=tmp_path, command="dev")
    try:
        assert code.count(ENDPOINT) == code.count(ADMIN) == 1
        code = code.replace(ENDPOINT, dev.url).replace(ADMIN, f"http://{dev.admin_host}:{dev.admin_port}")
        done = subprocess.run([sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "31 days\n0 app instances\n"
    finally:
        dev.close()


def test_the_settings_of_the_readme_are_those_of_the_help():
    table = re.search(r"^## Settings\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)[1]
    named = set(re.findall(r"`(--[a-z-]+)`", "".join(row for row in table.splitlines() if row.startswith("|"))))
    help_text = subprocess.run([BINARY, "serve", "--help"], capture_output=True, text=True, timeout=20,
                               check=True).stdout
    assert named == set(re.findall(r"--[a-z-]+", help_text)) - {"--help", "--version"}
