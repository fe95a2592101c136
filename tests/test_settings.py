"""The settings of `campanile serve`: flag beats variable beats file; what is wrong ends with one line and exit 2."""

import json
import socket

import pytest

from support import clients
from support.http import build, exchange
from support.server import ROOT_KEY, Server, run
from support.sigv4 import sign

QUIET = ("serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")


def variable(flag):
    return "CAMPANILE_" + flag.upper().replace("-", "_")


def check_refused(done, *words):
    """Exit 2 and one line on standard error that names what is wrong, nothing on standard output."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines
    assert ROOT_KEY.secret not in done.stderr


def write_config(tmp_path, text):
    path = tmp_path / "campanile.toml"
    path.write_text(text, encoding="utf-8")
    return path


def arn_prefix(server, region="us-east-1"):
    """What the server's ARNs begin with, seen from an app instance."""
    identity = clients.identity(server, region=region)
    arn = identity.create_app_instance(Name="x", ClientRequestToken="token")["AppInstanceArn"]
    return arn.partition(":app-instance/")[0]


def session_endpoint(server):
    return clients.messaging(server).get_messaging_session_endpoint()["Endpoint"]["Url"]


def logs_json(server):
    lines = server.whole_log()
    return lines and all("level" in json.loads(line) for line in lines)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Each setting by its effect: a value, and how it shows.
EFFECTS = {
    "region": (
        "eu-central-1", lambda server: arn_prefix(server, "eu-central-1") == "arn:aws:chime:eu-central-1:000000000000"),
    "account-id": ("123456789012", lambda server: arn_prefix(server) == "arn:aws:chime:us-east-1:123456789012"),
    "public-endpoint": ("chat.example.org:8443", lambda server: session_endpoint(server) == "chat.example.org:8443"),
    "log-format": ("json", logs_json),
    "log-level": ("off", lambda server: server.whole_log() == []),
    "data-dir": (":memory:", lambda server: not list(server.cwd.glob("campanile-data"))),
}


@pytest.mark.parametrize("place", ["flag", "variable", "file"])
@pytest.mark.parametrize("setting", EFFECTS)
def test_each_setting_is_a_flag_a_variable_and_a_key_of_the_file(start, tmp_path, setting, place):
    value, holds = EFFECTS[setting]
    arguments, environment = [], {}
    if place == "flag":
        arguments = [f"--{setting}", value]
    elif place == "variable":
        environment = {variable(setting): value}
    else:
        arguments = ["--config", write_config(tmp_path, f'{setting} = "{value}"\n')]
    data_dir = None if setting == "data-dir" else ":memory:"
    server = start(*arguments, data_dir=data_dir, environment=environment, cwd=tmp_path)
    assert holds(server)


@pytest.mark.parametrize("place", ["flag", "variable", "file"])
@pytest.mark.parametrize("setting", ["listen", "admin-listen"])
def test_the_addresses_are_a_flag_a_variable_and_a_key_of_the_file(tmp_path, place, setting):
    port = free_port()
    wanted = {"listen": "127.0.0.1:0", "admin-listen": "127.0.0.1:0"} | {setting: f"127.0.0.1:{port}"}
    flags, environment, file = {}, {}, {}
    {"flag": flags, "variable": environment, "file": file}[place].update(wanted)
    config = write_config(tmp_path, "".join(f'{name} = "{value}"\n' for name, value in file.items()))
    arguments = [part for name, value in flags.items() for part in (f"--{name}", value)]
    server = Server(":memory:", "--config", config, *arguments, addresses=False,
                    environment={variable(name): value for name, value in environment.items()})
    assert port == (server.port if setting == "listen" else server.admin_port)
    server.close()


def test_a_flag_beats_a_variable_beats_the_file(start, tmp_path):
    config = write_config(tmp_path, 'account-id = "111111111111"\nregion = "eu-central-1"\npublic-endpoint = "file"\n')
    server = start("--config", config, "--account-id", "333333333333", data_dir=":memory:", environment={
        "CAMPANILE_ACCOUNT_ID": "222222222222", "CAMPANILE_PUBLIC_ENDPOINT": "variable"})
    assert arn_prefix(server, "eu-central-1") == "arn:aws:chime:eu-central-1:333333333333"
    request = sign(build(server, "GET", "/endpoints/messaging-session"), server.key, region="eu-central-1")
    assert exchange(server, request).json()["Endpoint"]["Url"] == "variable"


def test_the_config_file_may_be_named_by_a_variable(start, tmp_path):
    config = write_config(tmp_path, 'account-id = "111111111111"\n')
    server = start(data_dir=":memory:", environment={"CAMPANILE_CONFIG": str(config)})
    assert arn_prefix(server) == "arn:aws:chime:us-east-1:111111111111"


@pytest.mark.parametrize("arguments", [
    (), ("explode",), ("serve", "--explode"), ("serve", "--region"), ("serve", "extra"), ("credentials",),
    ("credentials", "explode"),
], ids=str)
def test_a_command_line_that_makes_no_sense_is_refused(arguments, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting, value", [
    ("listen", "nonsense"), ("listen", "127.0.0.1"), ("listen", "127.0.0.1:99999"), ("admin-listen", "x:1"),
    ("region", "US East"), ("region", ""), ("account-id", "123"), ("account-id", "12345678901x"),
    ("public-endpoint", "wss://chat.example.org"), ("public-endpoint", "chat/connect"),
    ("public-endpoint", "0.0.0.0:8080"), ("log-format", "xml"), ("log-level", "loud"), ("data-dir", ""),
])
def test_a_value_that_makes_no_sense_is_refused(tmp_path, setting, value):
    check_refused(run("serve", f"--{setting}", value, cwd=tmp_path), f"--{setting}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [
    "not toml at all [", 'unknown = "x"\n', "account-id = 5\n", '[listen]\naddress = "x"\n', 'config = "x"\n',
    'access-key-id = "x"\n',
], ids=str)
def test_a_config_file_that_makes_no_sense_is_refused(tmp_path, text):
    config = write_config(tmp_path, text)
    done = run(*QUIET, "--data-dir", tmp_path / "data", "--config", config)
    check_refused(done, str(config))
    assert not (tmp_path / "data").exists()


def test_a_config_file_that_is_missing_is_refused(tmp_path):
    check_refused(run("serve", "--config", tmp_path / "nowhere.toml"), "nowhere.toml")


@pytest.mark.parametrize("pair", [
    {"CAMPANILE_ACCESS_KEY_ID": "only-one"}, {"CAMPANILE_SECRET_ACCESS_KEY": "only-one"},
    {"CAMPANILE_ACCESS_KEY_ID": "with/slash", "CAMPANILE_SECRET_ACCESS_KEY": "secret"},
], ids=str)
def test_half_a_key_pair_is_refused(tmp_path, pair):
    check_refused(run(*QUIET, "--data-dir", tmp_path / "data", environment=pair), "CAMPANILE_")


def test_unknown_variables_are_told_in_one_warning(start):
    server = start(data_dir=":memory:", environment={"CAMPANILE_REGOIN": "x", "CAMPANILE_UNKNOWN": "secret value"})
    warnings = [line for line in server.whole_log() if "WARN" in line]
    assert len(warnings) == 1, warnings
    assert "CAMPANILE_REGOIN" in warnings[0] and "CAMPANILE_UNKNOWN" in warnings[0]
    assert "secret value" not in "\n".join(server.log())


def test_an_empty_variable_counts_as_not_set(start):
    server = start(data_dir=":memory:", environment={"CAMPANILE_REGION": "", "CAMPANILE_DATABASE_URL": ""})
    assert arn_prefix(server) == "arn:aws:chime:us-east-1:000000000000"


def test_a_listener_that_is_not_loopback_is_warned_about(start):
    """The root key may do everything and the port speaks plain HTTP."""
    assert [line for line in start(data_dir=":memory:", listen="0.0.0.0:0").whole_log() if "WARN" in line]
    assert not [line for line in start(data_dir=":memory:").whole_log() if "WARN" in line]


def test_help_and_version_are_printed():
    done = run("--help")
    assert done.returncode == 0
    assert "serve" in done.stdout and "credentials" in done.stdout
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "campanile")


def test_the_defaults_are_those_of_the_contract():
    done = run("serve", "--help")
    for default in ("127.0.0.1:8080", "127.0.0.1:9180", "campanile-data", "us-east-1", "000000000000"):
        assert default in done.stdout


def test_another_region_is_what_signatures_must_name(start):
    server = start("--region", "eu-central-1", data_dir=":memory:")
    request = build(server, "GET", "/app-instances")
    assert exchange(server, sign(request, server.key, region="eu-central-1")).status == 200
    assert exchange(server, sign(request, server.key)).error == "InvalidSignatureException"
