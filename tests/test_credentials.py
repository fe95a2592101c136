"""Access keys: made, listed and deleted on the command line, and what each may do with real clients."""

import re
import shutil
import time
from datetime import datetime, timedelta, timezone

import pytest

from support import clients
from support.clients import refusal
from support.http import build, exchange, label
from support.server import Server, eventually, run
from support.sigv4 import Key, sign
from support.sockets import Closed, connect_target, open_socket, refused
from support.world import World

pytestmark = pytest.mark.any_engine

EXPORTS = re.compile(r"export AWS_ACCESS_KEY_ID=(\w+)\nexport AWS_SECRET_ACCESS_KEY=(\w+)\n")
NO_POLICY = "AWS authorization failed"
UNAUTHORIZED = Closed(4401, "Unauthorized")
# How long a node may go on believing in a key.
GRANT_LIFE_S = 5
EXPIRY_S = 5


def credentials(server, verb, *arguments):
    return run("credentials", verb, *arguments, *server.store, environment=server.environment)


def make(server, *arguments):
    done = credentials(server, "create", *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    found = EXPORTS.fullmatch(done.stdout)
    assert found, done.stdout
    return Key(found[1], found[2])


def listed(server):
    done = credentials(server, "list")
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


def delete(server, key):
    done = credentials(server, "delete", key.id)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done


def code_of(server, key):
    """The exception of a request that every key may make; None when it is answered."""
    return exchange(server, sign(build(server, "GET", "/endpoints/messaging-session"), key)).error


@pytest.fixture
def scene(start_world):
    """A server of the test's own, or two nodes, with Alice and Bob in a channel."""
    world = start_world()
    world.alice, world.bob = world.users("alice", "bob")
    world.room = world.channel(world.alice, world.bob)
    return world


def test_a_users_key_acts_for_him_alone(scene):
    server = scene.server
    key = make(server, "--user", scene.alice)
    messaging, identity = clients.messaging(server, key=key), clients.identity(server, key=key)
    host = messaging.get_messaging_session_endpoint()["Endpoint"]["Url"]
    assert host == server.authority
    sent = messaging.send_channel_message(
        ChannelArn=scene.room, Content="mine", Type="STANDARD", Persistence="PERSISTENT", ClientRequestToken="token",
        ChimeBearer=scene.alice)
    assert sent["MessageId"]
    with refusal("Forbidden", NO_POLICY):
        messaging.send_channel_message(
            ChannelArn=scene.room, Content="not mine", Type="STANDARD", Persistence="PERSISTENT",
            ClientRequestToken="token", ChimeBearer=scene.bob)
    with refusal("Forbidden", NO_POLICY):
        messaging.list_channel_messages(ChannelArn=scene.room, ChimeBearer=scene.bob)
    assert scene.contents(scene.room, scene.bob) == ["mine"]
    own = identity.describe_app_instance_user(AppInstanceUserArn=scene.alice)["AppInstanceUser"]
    assert own["Name"] == "Alice"
    users = identity.list_app_instance_users(AppInstanceArn=scene.arn)["AppInstanceUsers"]
    assert len(users) == 2
    for call, arguments in [
        (identity.describe_app_instance_user, {"AppInstanceUserArn": scene.bob}),
        (identity.delete_app_instance_user, {"AppInstanceUserArn": scene.alice}),
        (identity.delete_app_instance_user, {"AppInstanceUserArn": scene.bob}),
        (identity.create_app_instance, {"Name": "x", "ClientRequestToken": "token"}),
        (identity.list_app_instances, {}),
        (identity.describe_app_instance, {"AppInstanceArn": scene.arn}),
        (identity.delete_app_instance, {"AppInstanceArn": scene.arn}),
        (identity.create_app_instance_user,
         {"AppInstanceArn": scene.arn, "AppInstanceUserId": "c", "Name": "c", "ClientRequestToken": "token"}),
        (identity.create_app_instance_admin, {"AppInstanceArn": scene.arn, "AppInstanceAdminArn": scene.alice}),
    ]:
        with refusal("Forbidden", NO_POLICY):
            call(**arguments)


def test_a_users_key_opens_his_own_sockets_alone(scene):
    key = make(scene.server, "--user", scene.alice)
    socket = open_socket(scene.server, scene.alice, key=key)
    scene.send(scene.room, scene.bob, "hello")
    assert socket.next().payload["Content"] == "hello"
    socket.close()
    assert refused(scene.server, connect_target(scene.server, scene.bob, key=key)) == UNAUTHORIZED


def test_an_app_instances_key_acts_for_all_in_it_and_for_nobody_else(scene):
    server = scene.server
    other = World(server, "Other")
    stranger = other.user("alice")
    key = make(server, "--app-instance", scene.arn)
    messaging, identity = clients.messaging(server, key=key), clients.identity(server, key=key)
    for bearer in (scene.alice, scene.bob):
        assert messaging.describe_channel(ChannelArn=scene.room, ChimeBearer=bearer)["Channel"]["Name"] == "Room"
        open_socket(server, bearer, key=key).close()
    made = identity.create_app_instance_user(
        AppInstanceArn=scene.arn, AppInstanceUserId="carol", Name="Carol", ClientRequestToken="token")
    identity.create_app_instance_admin(AppInstanceArn=scene.arn, AppInstanceAdminArn=made["AppInstanceUserArn"])
    assert refused(server, connect_target(server, stranger, key=key)) == UNAUTHORIZED
    for call, arguments in [
        (identity.describe_app_instance, {"AppInstanceArn": other.arn}),
        (identity.delete_app_instance, {"AppInstanceArn": other.arn}),
        (identity.list_app_instance_users, {"AppInstanceArn": other.arn}),
        (identity.describe_app_instance_user, {"AppInstanceUserArn": stranger}),
        (identity.create_app_instance_user,
         {"AppInstanceArn": other.arn, "AppInstanceUserId": "c", "Name": "c", "ClientRequestToken": "token"}),
        (identity.list_app_instances, {}),
        (identity.create_app_instance, {"Name": "x", "ClientRequestToken": "token"}),
        (messaging.list_channels, {"AppInstanceArn": other.arn, "ChimeBearer": stranger}),
        (messaging.get_messaging_streaming_configurations, {"AppInstanceArn": scene.arn}),
    ]:
        with refusal("Forbidden", NO_POLICY):
            call(**arguments)


def test_a_wrong_secret_and_an_id_that_was_never_made_are_told_apart(scene):
    key = make(scene.server, "--user", scene.alice)
    assert code_of(scene.server, key) is None
    assert code_of(scene.server, Key(key.id, key.secret[:-1] + "x")) == "InvalidSignatureException"
    unknown = Key(key.id[:-1] + ("A" if key.id[-1] != "A" else "B"), key.secret)
    assert code_of(scene.server, unknown) == "UnrecognizedClientException"
    assert code_of(scene.server, Key(key.id, key.secret, token="t")) == "UnrecognizedClientException"


@pytest.mark.two_nodes
def test_a_key_is_refused_from_its_expiry_on_and_its_sockets_end(scene):
    server = scene.nodes[0]
    lasting = make(server, "--user", scene.alice, "--expires", "12h")
    # Time enough for what has to come before it on a slow machine.
    expiry = datetime.now(timezone.utc) + timedelta(seconds=EXPIRY_S)
    key = make(server, "--user", scene.alice, "--expires", expiry.isoformat().replace("+00:00", "Z"))
    sockets = [open_socket(node, scene.alice, key=key) for node in scene.nodes]
    assert [code_of(node, key) for node in scene.nodes] == [None] * len(sockets)
    assert [socket.closed() for socket in sockets] == [Closed(1001, "Credentials expired")] * len(sockets)
    assert datetime.now(timezone.utc) >= expiry
    for node in scene.nodes:
        assert code_of(node, key) == "ExpiredTokenException"
        assert refused(node, connect_target(node, scene.alice, key=key)) == UNAUTHORIZED
        assert code_of(node, lasting) is None
    answer = exchange(server, sign(build(server, "GET", "/endpoints/messaging-session"), key))
    assert (answer.status, answer.json()) == (
        403, {"message": "The security token included in the request is expired"})


@pytest.mark.two_nodes
def test_a_deleted_key_is_refused_within_seconds_and_others_stay(scene):
    server = scene.nodes[0]
    key, other = make(server, "--user", scene.alice), make(server, "--app-instance", scene.arn)
    assert [code_of(node, key) for node in scene.nodes] == [None] * len(scene.nodes)
    lines = listed(server)
    assert [line.split()[0] for line in lines] == [key.id, other.id]
    assert lines[0].endswith(f" expires=never {scene.alice}") and lines[1].endswith(f" {scene.arn}")
    assert key.secret not in "".join(lines) and other.secret not in "".join(lines)
    delete(server, key)
    deleted = time.monotonic()
    for node in scene.nodes:
        eventually(lambda: code_of(node, key) == "UnrecognizedClientException", "the refusal", GRANT_LIFE_S + 2)
    assert time.monotonic() - deleted <= GRANT_LIFE_S + 1
    for node in scene.nodes:
        assert refused(node, connect_target(node, scene.alice, key=key)) == UNAUTHORIZED
        assert code_of(node, other) is None
    done = credentials(server, "delete", key.id)
    assert done.returncode == 2 and "no such access key" in done.stderr
    assert [line.split()[0] for line in listed(server)] == [other.id]


def test_keys_outlive_restarts_and_are_managed_while_no_server_runs(scene):
    server = scene.server
    before = make(server, "--user", scene.alice)
    server.kill()
    meanwhile = make(server, "--user", scene.bob)
    assert len(listed(server)) == 2
    server.start()
    for key in (before, meanwhile):
        assert code_of(server, key) is None
    server.terminate()
    delete(server, before)
    server.start()
    assert code_of(server, before) == "UnrecognizedClientException"
    assert code_of(server, meanwhile) is None


@pytest.mark.two_nodes
def test_keys_go_with_their_user_and_never_serve_a_successor(scene):
    """On no node, however well it knows the key."""
    key = make(scene.nodes[0], "--user", scene.bob)
    for node in scene.nodes:
        messaging = clients.messaging(node, key=key)
        assert messaging.list_channels(AppInstanceArn=scene.arn, ChimeBearer=scene.bob)["Channels"] == []
    scene.identity.delete_app_instance_user(AppInstanceUserArn=scene.bob)
    assert scene.user("bob") == scene.bob
    for node in scene.nodes:
        answer = exchange(node, sign(build(node, "GET", f"/app-instance-users/{label(scene.bob)}"), key))
        assert answer.status == 403
        assert refused(node, connect_target(node, scene.bob, key=key)) == UNAUTHORIZED
    eventually(lambda: listed(scene.nodes[0]) == [], "the purge")


@pytest.mark.parametrize("arguments", [
    (), ("--user",), ("--user", "x", "--app-instance", "x"), ("--expires", "1h"),
], ids=str)
def test_a_key_is_made_for_exactly_one(scene, arguments):
    done = credentials(scene.server, "create", *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done


def test_a_key_that_nobody_could_use_is_not_made(scene):
    server = scene.server
    for arguments in [
        ("--user", "nonsense"), ("--user", scene.arn), ("--user", f"{scene.arn}/user/nobody"),
        ("--app-instance", scene.alice), ("--app-instance", scene.arn[:-4] + "0000"),
        ("--user", scene.alice, "--expires", "yesterday"), ("--user", scene.alice, "--expires", "0s"),
        ("--user", scene.alice, "--expires", "2020-01-01T00:00:00Z"),
    ]:
        done = credentials(server, "create", *arguments)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done
    assert listed(server) == []


def test_the_store_holds_no_secret_and_the_log_none_either(scene):
    server = scene.server
    key = make(server, "--user", scene.alice)
    assert code_of(server, key) is None
    log = "\n".join(server.whole_log())
    assert key.secret not in log and key.id not in log
    if server.folder is not None:
        stored = b"".join(path.read_bytes() for path in server.folder.iterdir() if path.is_file())
        assert key.secret.encode() not in stored


def test_a_folder_can_be_copied_after_a_crash(scene, tmp_path):
    """The socket of the command line has no file that a copy would stumble over."""
    folder = scene.server.folder
    if folder is None:
        assert make(scene.server, "--user", scene.alice), "a shared database needs no socket"
        return
    make(scene.server, "--user", scene.alice)
    scene.server.kill()
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert sorted(path.name for path in copy.iterdir()) == sorted(path.name for path in folder.iterdir())


def test_a_memory_store_keeps_no_keys():
    server = Server(":memory:")
    world = World(server)
    done = run("credentials", "create", "--app-instance", world.arn, "--data-dir", ":memory:",
               environment=server.environment)
    assert done.returncode == 2 and "memory store" in done.stderr
    server.close()


def test_the_warning_of_a_public_listener_tells_whether_root_is_alone(start):
    alone = "no credential but root"
    server = start(listen="0.0.0.0:0")
    world = World(server)
    make(server, "--app-instance", world.arn)
    assert any(alone in line for line in server.whole_log())
    server.old_logs = []
    server.start()
    log = server.whole_log()
    assert any("plain HTTP" in line for line in log) and not any(alone in line for line in log)
