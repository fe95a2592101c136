"""The process: ready line, key pair, data folder, taken ports, drain, admin endpoints."""

import re
import shlex
import stat
import subprocess

import pytest

from support import clients
from support.clients import everything
from support.http import Connection, build, call, exchange, get_plain, label, serialise
from support.server import BINARY, clean_environment, run
from support.sigv4 import Key, Request, sign
from support.world import World

QUIET = ("serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")


def one_line(done):
    """The one line of a start that was refused."""
    assert (done.returncode, done.stdout) == (2, ""), done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def shown_key(*arguments, **options):
    """The key pair that `credentials show` prints, read the way a shell would."""
    done = run("credentials", "show", *arguments, **options)
    assert done.returncode == 0, done
    pairs = dict(shlex.split(line)[1].split("=", 1) for line in done.stdout.splitlines())
    assert set(pairs) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    return Key(pairs["AWS_ACCESS_KEY_ID"], pairs["AWS_SECRET_ACCESS_KEY"])


# Ready.


def test_one_ready_line_is_printed_once_the_listeners_accept(start):
    server = start()
    assert re.fullmatch(
        r"campanile ready api=http://127\.0\.0\.1:\d+ (tls=\S+ )?admin=http://127\.0\.0\.1:\d+", server.ready_line)
    assert call(server, "GET", "/app-instances").status == 200
    assert server.terminate() == 0
    assert server.stdout.drain() == [server.ready_line], "nothing else goes to standard output"


def test_the_log_holds_no_content_no_names_and_no_keys(start):
    server = start()
    world = World(server)
    alice = world.user("alice@example.org", name="Confidential Name")
    channel = world.channel(alice, name="Confidential Room")
    world.send(channel, alice, "confidential content")
    world.connect(alice).close()
    log = "\n".join(server.whole_log())
    for secret in (server.key.secret, "alice@example.org", "Confidential", "confidential", "arn:aws", channel):
        assert secret not in log


# The key pair.


def test_a_key_pair_is_made_at_the_first_start_and_kept_for_the_owner_only(start, tmp_path):
    data = tmp_path / "data"
    server = start(key=None)
    file = data / "credentials"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = shown_key("--data-dir", data)
    server.key = key
    assert call(server, "GET", "/app-instances").status == 200
    assert key.secret not in "\n".join(server.log())
    server.restart()
    assert shown_key("--data-dir", data) == key
    assert call(server, "GET", "/app-instances").status == 200


def test_credentials_show_uses_the_default_folder_and_what_a_shell_can_evaluate(start, tmp_path):
    server = start(key=None, data_dir=None, cwd=tmp_path)
    assert (tmp_path / "campanile-data" / "credentials").exists()
    script = f'eval "$({BINARY} credentials show)" && printf "%s %s" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"'
    out = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=clean_environment(), capture_output=True,
                         text=True, check=True, timeout=20).stdout
    server.key = Key(*out.split(" "))
    assert call(server, "GET", "/app-instances").status == 200


def test_credentials_show_without_a_folder_is_refused_and_makes_nothing(tmp_path):
    one_line(run("credentials", "show", "--data-dir", tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_a_key_pair_of_the_variables_is_the_one_that_counts(start, tmp_path):
    made = start(key=None)
    made.terminate()
    given = start(key=Key("GIVEN", "by/variables"))
    assert call(given, "GET", "/app-instances").status == 200
    made_key = shown_key("--data-dir", tmp_path / "data")
    assert call(given, "GET", "/app-instances", key=made_key).error == "UnrecognizedClientException"


# The data folder.


def test_everything_is_there_after_a_restart(start):
    server = start()
    world = World(server)
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob, Metadata="m", Privacy="PUBLIC")
    world.send(channel, alice, "before")

    def seen():
        return (
            everything(world.identity.list_app_instances, "AppInstances"),
            everything(world.identity.list_app_instance_users, "AppInstanceUsers", AppInstanceArn=world.arn),
            world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bob)["Channel"],
            world.members(channel, bob), world.messages(channel, bob),
        )

    before = seen()
    server.restart()
    world.reconnect()
    assert seen() == before
    later = world.send(channel, bob, "after")
    assert later > before[-1][0]["MessageId"]


def test_the_memory_engine_writes_nothing_and_forgets(start, tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    server = start(data_dir=":memory:", cwd=folder)
    World(server)
    server.restart()
    assert everything(clients.identity(server).list_app_instances, "AppInstances") == []
    assert list(folder.iterdir()) == []


def test_a_second_process_on_the_folder_is_refused(start, tmp_path):
    server = start()
    line = one_line(run(*QUIET, "--data-dir", tmp_path / "data"))
    assert str(tmp_path / "data") in line
    assert call(server, "GET", "/app-instances").status == 200


@pytest.mark.parametrize("flag, value", [("--region", "eu-central-1"), ("--account-id", "123456789012")])
def test_a_store_of_another_region_or_account_is_refused(start, tmp_path, flag, value):
    server = start()
    server.terminate()
    line = one_line(run(*QUIET, "--data-dir", tmp_path / "data", flag, value))
    assert value in line
    server.start()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="ascii")
    one_line(run(*QUIET, "--data-dir", tmp_path / "file" / "data"))
    one_line(run(*QUIET, "--data-dir", tmp_path / "file"))


def test_a_database_that_is_none_is_refused_and_left_alone(start, tmp_path):
    server = start()
    server.terminate()
    [database] = (tmp_path / "data").glob("*.db")
    database.write_bytes(b"this is no database" * 500)
    server.store_is_sound = False
    one_line(run(*QUIET, "--data-dir", tmp_path / "data"))
    assert database.read_bytes() == b"this is no database" * 500


# Ports.


@pytest.mark.parametrize("flag", ["--listen", "--admin-listen"])
def test_a_taken_port_is_refused_and_nothing_is_half_made(server, tmp_path, flag):
    arguments = {"--listen": "127.0.0.1:0", "--admin-listen": "127.0.0.1:0"} | {flag: server.authority}
    pairs = [part for pair in arguments.items() for part in pair]
    line = one_line(run("serve", *pairs, "--data-dir", tmp_path / "data"))
    assert server.authority in line
    assert not (tmp_path / "data").exists()


def test_the_same_port_is_free_again_right_after_the_end(start):
    server = start()
    address = server.authority
    with Connection(server.host, server.port) as connection:
        connection.send(sign(build(server, "GET", "/app-instances"), server.key))
        server.terminate()
    again = start(listen=address)
    assert again.authority == address


# The end.


def test_sigterm_ends_with_0_and_finishes_what_was_begun(start):
    server = start()
    world = World(server)
    alice = world.user("alice")
    channel = world.channel(alice)
    body = {"Content": "slowly", "Type": "STANDARD", "Persistence": "PERSISTENT", "ClientRequestToken": "token"}
    request = sign(build(server, "POST", f"/channels/{label(channel)}/messages", body, bearer=alice), server.key)
    head, _, content = serialise(request.with_header("Expect", "100-continue")).partition(b"\r\n\r\n")
    with Connection(server.host, server.port) as connection:
        connection.write(head + b"\r\n\r\n")
        assert connection.read_answer().status == 100, "the server reads the body: the request has begun"
        server.signal_termination()
        connection.write(content)
        answer = connection.read_answer()
    assert answer.status == 201, answer
    assert server.terminate() == 0
    server.start()
    world.reconnect()
    assert world.contents(channel, alice) == ["slowly"]


def test_sigterm_with_an_idle_connection_ends_at_once(start):
    server = start(data_dir=":memory:")
    with Connection(server.host, server.port) as connection:
        connection.send(sign(build(server, "GET", "/app-instances"), server.key))
        server.signal_termination()
        assert connection.read_some() == b""
    assert server.terminate() == 0


def test_sigint_ends_like_sigterm(start):
    server = start(data_dir=":memory:")
    server.process.send_signal(2)
    assert server.process.wait(20) == 0


# The admin listener.


def test_health_and_readiness_answer_on_the_admin_port_only(server):
    for path in ("/healthz", "/readyz"):
        assert get_plain(server.admin_host, server.admin_port, path).status == 200
        answer = exchange(server, Request("GET", path, (("Host", server.authority),)))
        assert (answer.status, answer.error) == (404, "UnknownOperationException")


def test_metrics_are_in_the_text_format_of_prometheus(server):
    answer = get_plain(server.admin_host, server.admin_port, "/metrics")
    assert answer.status == 200
    assert answer.header("content-type").startswith(("text/plain", "application/openmetrics-text"))
    samples = [line for line in answer.body.decode().splitlines() if line and not line.startswith("#")]
    assert samples
    assert all(re.fullmatch(r"[a-z_]+(\{[^}]*\})? [0-9.e+-]+", line) for line in samples), samples


@pytest.mark.parametrize("path", ["/", "/app-instances", "/nowhere", "/connect"])
def test_the_admin_port_serves_nothing_of_the_api(server, path):
    assert get_plain(server.admin_host, server.admin_port, path).status == 404


def test_a_tls_hello_on_the_plain_port_is_told_in_plain_words(start):
    server = start(data_dir=":memory:")
    for _ in range(3):
        with Connection(server.host, server.port) as connection:
            connection.write(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x00" * 200)
            assert connection.read_some() == b""
    assert server.stderr.find("TLS")
    assert server.terminate() == 0
    assert len([line for line in server.log() if "TLS" in line]) == 1, "once a minute"
