"""`campanile db export`, `import` and `backup`: what leaves a store comes back as it was, or not at all."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from support.load import Load
from support.moving import RichWorld, move, moved, place, refused
from support.server import BINARY, ROOT_KEY, Server, clean_environment, eventually, run
from support.world import World

DATABASE = "campanile.db"
IMPORT = "campanile.db.import"
ENVIRONMENT = {"CAMPANILE_ACCESS_KEY_ID": ROOT_KEY.id, "CAMPANILE_SECRET_ACCESS_KEY": ROOT_KEY.secret}


@pytest.fixture
def serve(tmp_path):
    """Servers on the store that each test names, whatever the engine of the run."""
    servers = []

    def on(store, **options):
        url = store if str(store).startswith("postgres://") else None
        servers.append(Server(None if url else store, database=url, **options))
        return servers[-1]

    yield on
    for server in servers:
        server.close()
    for server in servers:
        server.check_store()


def rows_of(file):
    """The lines of an export but the first, which says when it was made, and the checksum."""
    lines = file.read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["campanile"] == "store"
    end = json.loads(lines[-1])
    assert len(end.pop("sha256")) == 64
    return [*lines[1:-1], end]


def export(store, file):
    return moved("export", file, store, ROOT_KEY)


def bring(file, store):
    return moved("import", file, store, ROOT_KEY)


def check(store):
    done = run("db", "check", *place(store), environment=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, ""), done


@pytest.mark.postgres
def test_a_store_that_goes_to_postgres_and_back_gives_the_same_answers(serve, postgres, tmp_path):
    here, there, back = tmp_path / "here", postgres.new_store(), tmp_path / "back"
    server = serve(here)
    rich = RichWorld(server)
    seen = rich.seen()
    server.terminate()

    files = [tmp_path / f"{number}.jsonl" for number in range(3)]
    count = export(here, files[0])
    assert bring(files[0], there) == count
    assert export(there, files[1]) == count
    assert rows_of(files[1]) == rows_of(files[0])
    check(there)

    rich.go_to(serve(there))
    assert rich.seen() == seen
    for again, first in rich.answers_again():
        assert again == first
    assert rich.seen() == seen
    last = rich.world.messages(rich.room, rich.alice)[0]["MessageId"]
    sent = rich.world.send(rich.room, rich.alice, "after the move")
    assert sent > last
    seen = rich.seen()
    # Nodes go on while it is exported: it is one moment of theirs.
    export(there, files[2])
    rich.world.server.terminate()

    bring(files[2], back)
    check(back)
    rich.go_to(serve(back))
    assert rich.seen() == seen
    for again, first in rich.answers_again():
        assert again == first
    assert rich.world.send(rich.room, rich.alice, "and back") > sent


@pytest.mark.postgres
def test_a_shared_store_takes_an_import_only_when_it_is_empty_and_all_at_once(serve, postgres, tmp_path):
    here, there = tmp_path / "here", postgres.new_store()
    server = serve(here)
    World(server).user("alice")
    server.terminate()
    file = tmp_path / "store.jsonl"
    export(here, file)
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(file.read_bytes()[:-200])
    refused(move("import", cut, there, ROOT_KEY), "not whole")
    refused(move("export", tmp_path / "none.jsonl", there, ROOT_KEY), "the database holds no store")
    assert not (tmp_path / "none.jsonl").exists()
    bring(file, there)
    refused(move("import", file, there, ROOT_KEY), "holds a store already")
    refused(run("db", "backup", "--database-url", there, "--output", tmp_path / "copy.db", environment=ENVIRONMENT),
            "pg_dump")


def importing(file, store):
    """An import that has read all of the file but its end."""
    text = file.read_bytes()
    process = subprocess.Popen(
        [BINARY, "db", "import", *map(str, place(store))], env=clean_environment(ENVIRONMENT), stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process.stdin.write(text[:-100])
    process.stdin.flush()
    return process, text[-100:]


@pytest.mark.postgres
def test_a_node_does_not_start_on_a_shared_store_that_is_being_imported(serve, postgres, tmp_path):
    here, there = tmp_path / "here", postgres.new_store()
    server = serve(here)
    World(server).user("alice")
    server.terminate()
    file = tmp_path / "store.jsonl"
    export(here, file)
    process, _ = importing(file, there)
    # Tables that nobody else sees yet.
    made = ("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and locktype = 'relation' "
            "and relation not in (select oid from pg_class)")
    eventually(lambda: postgres.sql(made) != [["0"]], "the import begins")
    refused(run("serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--database-url", there,
                environment=ENVIRONMENT), "another process holds the tables")
    process.kill()
    process.communicate()
    # What it had made is gone with its connection, so that it can be run again.
    process, rest = importing(file, there)
    process.communicate(rest)
    assert process.returncode == 0
    check(there)


@pytest.fixture
def exported(serve, tmp_path):
    """A folder, its export, and the world that is in both."""
    server = serve(tmp_path / "here")
    rich = RichWorld(server)
    server.terminate()
    file = tmp_path / "store.jsonl"
    export(server.folder, file)
    assert file.stat().st_mode & 0o777 == 0o600
    return server.folder, file, rich


def test_the_second_export_of_a_folder_is_the_first_and_keeps_everything_as_it_was(exported, serve, tmp_path):
    folder, file, rich = exported
    again, back = tmp_path / "again.jsonl", tmp_path / "back"
    export(folder, again)
    assert rows_of(again) == rows_of(file)
    refused(move("export", again, folder, ROOT_KEY), "again.jsonl")
    bring(file, back)
    export(back, tmp_path / "third.jsonl")
    assert rows_of(tmp_path / "third.jsonl") == rows_of(file)
    rich.go_to(serve(folder))
    seen = rich.seen()
    rich.go_to(serve(back))
    assert rich.seen() == seen


def test_a_folder_that_is_served_is_not_exported_and_none_that_holds_a_store_takes_an_import(exported, serve, tmp_path):
    folder, file, _ = exported
    refused(move("import", file, folder, ROOT_KEY), "holds a store already")
    serve(folder)
    refused(move("export", tmp_path / "other.jsonl", folder, ROOT_KEY), "in use", "db backup")
    refused(move("import", file, folder, ROOT_KEY), "in use")
    assert not (tmp_path / "other.jsonl").exists()
    refused(move("export", tmp_path / "other.jsonl", tmp_path / "nothing", ROOT_KEY), "holds no store")
    refused(move("import", tmp_path / "no-file", tmp_path / "new", ROOT_KEY), "no-file")
    assert not (tmp_path / "new").exists() and not (tmp_path / "nothing").exists()


def test_a_file_that_was_cut_or_changed_is_refused_and_leaves_no_store(exported, tmp_path):
    _, file, _ = exported
    whole = file.read_bytes()
    head, rest = whole.split(b"\n", 1)
    wrong = tmp_path / "wrong.jsonl"
    cases = [
        (whole[:-1], "not whole"),
        (whole[:len(whole) // 2], "not whole"),
        (whole.replace(b"second words", b"other  words"), "was changed"),
        (whole + b"\n", "was changed"),
        (head.replace(b'"version":1', b'"version":2') + b"\n" + rest, "has version 2"),
        (head.replace(b'"store_format":1', b'"store_format":9') + b"\n" + rest, "has version 9"),
        (rest, "not an export"),
        (b"", "not whole"),
        (os.urandom(100_000), "not "),
    ]
    for text, expected in cases:
        wrong.write_bytes(text)
        target = tmp_path / "target"
        refused(move("import", wrong, target, ROOT_KEY), expected)
        assert not target.exists() or os.listdir(target) == ["campanile.lock"], expected
        shutil.rmtree(target, ignore_errors=True)


def test_an_import_that_was_killed_keeps_its_folder_from_being_served_and_is_run_again(exported, serve, tmp_path):
    _, file, rich = exported
    target = tmp_path / "target"
    process, rest = importing(file, target)
    eventually((target / IMPORT).exists, "the import begins")
    serving = ("serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", target)
    refused(run(*serving, environment=ENVIRONMENT), "in use")
    process.kill()
    process.communicate()
    assert (target / IMPORT).exists() and not (target / DATABASE).exists()
    refused(run(*serving, environment=ENVIRONMENT), "has not ended")
    assert not (target / DATABASE).exists()
    bring(file, target)
    assert not (target / IMPORT).exists()
    rich.go_to(serve(target))
    assert rich.world.messages(rich.room, rich.bob)


def test_standard_streams_carry_an_export_and_nothing_else(exported, tmp_path):
    folder, file, _ = exported
    flags = ["--data-dir", str(folder)]
    done = subprocess.run([BINARY, "db", "export", *flags], env=clean_environment(ENVIRONMENT), capture_output=True,
                          timeout=30, check=True)
    assert re.search(rb"exported \d+ rows", done.stderr)
    (tmp_path / "out.jsonl").write_bytes(done.stdout)
    assert rows_of(tmp_path / "out.jsonl") == rows_of(file)
    subprocess.run([BINARY, "db", "import", "--data-dir", str(tmp_path / "in")], env=clean_environment(ENVIRONMENT),
                   input=done.stdout, capture_output=True, timeout=30, check=True)
    check(tmp_path / "in")


@pytest.mark.parametrize("fault", ["full", "quota", "fail"])
def test_a_disk_that_takes_nothing_ends_a_move_with_one_line_and_leaves_nothing(exported, fault, faults, tmp_path):
    folder, file, _ = exported
    environment = ENVIRONMENT | faults.environment
    target, copy, out = tmp_path / "target", tmp_path / "moved.db", tmp_path / "moved.jsonl"
    faults.order(fault, IMPORT)
    refused(run("db", "import", "--input", file, "--data-dir", target, environment=environment), "cannot be")
    assert not (target / IMPORT).exists() and not (target / DATABASE).exists()
    faults.order(fault, "moved.*")
    refused(run("db", "backup", "--data-dir", folder, "--output", copy, environment=environment), "no backup is made")
    refused(run("db", "export", "--output", out, "--data-dir", folder, environment=environment), "cannot be written")
    assert not list(tmp_path.glob("moved.*"))
    faults.lift()
    bring(file, target)
    check(target)


# Backups of a running server.


def backup(folder, copy):
    return run("db", "backup", "--data-dir", folder, "--output", copy)


def restore(server, copy, folder):
    """As docs/moving.md says: the copy under the name of the database, and the files beside it that do not change."""
    folder.mkdir(mode=0o700)
    shutil.copy(copy, folder / DATABASE)
    for name in ("credentials", "tls-ca.pem", "tls-ca-key.pem"):
        if (server.folder / name).exists():
            shutil.copy(server.folder / name, folder / name)
    return folder


def test_a_backup_under_load_holds_everything_that_was_acknowledged_before_it_began(serve, tmp_path):
    server = serve(tmp_path / "here")
    world = World(server)
    users = [world.user(f"sender-{number}") for number in range(8)]
    channels = [world.channel(users[0], *users[1:]) for _ in range(2)]
    with Load([server], channels, users) as load:
        load.wait_for(500)
        before = [list(sent) for sent in load.acknowledged]
        done = backup(server.folder, tmp_path / "copy.db")
        assert (done.returncode, done.stdout) == (0, ""), done
        assert re.search(r"backup of [\d.]+ MiB made in [\d.]+ s\n$", done.stderr)
        load.wait_for(100)
        assert load.slowest_s < 5, "nobody waits for a backup"
    assert load.refused == 0

    copied = serve(restore(server, tmp_path / "copy.db", tmp_path / "there"))
    check_copy(world, copied, channels, users, before, load.acknowledged)


def check_copy(world, copied, channels, users, before, after):
    """The copy holds what was acknowledged before, and nothing that was not sent, each sender's in its order."""
    world.server = copied
    world.reconnect()
    for number, channel in enumerate(channels):
        listed = {item["Content"]: item["MessageId"] for item in world.messages(channel, users[0])}
        senders = [sender for sender in range(len(users)) if sender % len(channels) == number]
        for sender in senders:
            for content, message_id in before[sender]:
                assert listed.get(content) == message_id
            told = dict(after[sender])
            own = [content for content in listed if content.split(":")[0] == str(sender)]
            # The last one may have been on its way.
            assert len([content for content in own if content not in told]) <= 1
    assert world.send(channels[0], users[0], "goes on") not in dict(sum(after, []))


def test_a_restored_folder_has_the_credentials_and_the_authority_of_the_old_one(serve, tmp_path):
    flags = ("--tls-listen", "127.0.0.1:0", "--tls-self-signed")
    server = Server(tmp_path / "here", *flags, key=None)
    try:
        shown = run("credentials", "show", "--data-dir", server.folder).stdout
        assert backup(server.folder, tmp_path / "copy.db").returncode == 0
        names = set(os.listdir(server.folder))
    finally:
        server.close()
    assert {"credentials", "tls-ca.pem", "tls-ca-key.pem"} < names
    folder = restore(server, tmp_path / "copy.db", tmp_path / "there")
    again = Server(folder, *flags, key=None)
    again.close()
    assert run("credentials", "show", "--data-dir", folder).stdout == shown
    assert (folder / "tls-ca.pem").read_bytes() == (server.folder / "tls-ca.pem").read_bytes()
    check(folder)


def test_a_backup_needs_a_store_and_a_free_name(serve, tmp_path):
    refused(backup(tmp_path / "none", tmp_path / "copy.db"), "holds no store")
    server = serve(tmp_path / "here")
    (tmp_path / "copy.db").write_text("mine", encoding="ascii")
    refused(backup(server.folder, tmp_path / "copy.db"), "is there already")
    assert (tmp_path / "copy.db").read_text(encoding="ascii") == "mine"
    refused(run("db", "backup", "--data-dir", server.folder), "--output")
    refused(run("db", "backup", "--data-dir", ":memory:", "--output", tmp_path / "x"), "memory store")
    # A server that has ended leaves what a backup reads too.
    server.terminate()
    assert backup(server.folder, tmp_path / "other.db").returncode == 0
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


# A history from elsewhere.


APP = "7f3c1c52-7a5f-4d9e-9f3b-0c4a4a0f6d11"
HISTORY = [
    {"campanile": "history", "version": 1},
    {"app_instance": {"id": APP, "name": "Shop", "created": "2019-01-01T00:00:00Z"}},
    {"user": {"id": "alice", "name": "Alice", "created": "2019-01-01T00:00:00Z"}},
    {"user": {"id": "bob", "name": "Bob", "created": "2019-01-01T00:00:00Z"}},
    {"channel": {"id": "general", "name": "General", "mode": "UNRESTRICTED", "privacy": "PUBLIC",
                 "created_by": "alice", "created": "2019-01-01T00:00:00Z"}},
    {"moderator": {"channel": "general", "user": "alice", "created_by": "alice", "created": 1546300800000}},
    {"membership": {"channel": "general", "user": "alice", "invited_by": "alice", "created": 1546300800000}},
    {"membership": {"channel": "general", "user": "bob", "invited_by": "alice", "created": 1546300800000}},
    {"message": {"channel": "general", "id": "2f0a-17", "sender": "bob", "content": "Hello",
                 "created": "2020-05-01T10:00:00.123Z"}},
    {"message": {"channel": "general", "id": "2f0a-18", "sender": "gone", "sender_name": "Gone", "content": "Bye 👋",
                 "created": "2020-05-01T10:00:00.123Z"}},
]


def write_history(file, lines):
    lines = [*lines, {"end": {"lines": len(lines)}}]
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def new_place(request, tmp_path):
    """An empty place for a store on the engine of the run."""
    if request.config.getoption("engine") == "postgres":
        return request.getfixturevalue("postgres").new_store()
    return tmp_path / "store"


@pytest.mark.any_engine
def test_a_history_is_served_under_its_own_ids_and_times(serve, new_place, tmp_path):
    file = tmp_path / "history.jsonl"
    write_history(file, HISTORY)
    done = move("import", file, new_place, ROOT_KEY)
    assert (done.returncode, done.stdout) == (0, ""), done
    check(new_place)

    server = serve(new_place)
    arn = f"arn:aws:chime:us-east-1:000000000000:app-instance/{APP}"
    alice, bob, channel = f"{arn}/user/alice", f"{arn}/user/bob", f"{arn}/channel/general"
    world = World(server)
    listed = world.messages(channel, alice)
    assert [item["MessageId"] for item in listed] == ["2f0a-18", "2f0a-17"]
    assert [item["Content"] for item in listed] == ["Bye 👋", "Hello"]
    assert listed[0]["Sender"] == {"Arn": f"{arn}/user/gone", "Name": "Gone"}
    assert listed[0]["CreatedTimestamp"].isoformat() == "2020-05-01T10:00:00.123000+00:00"
    found = world.messaging.get_channel_message(ChannelArn=channel, MessageId="2f0a-17", ChimeBearer=bob)
    assert found["ChannelMessage"]["Content"] == "Hello"
    socket = world.connect(alice)
    world.messaging.update_channel_message(ChannelArn=channel, MessageId="2f0a-17", Content="Hello!", ChimeBearer=bob)
    [*_, event] = socket.until(lambda event: event.type == "UPDATE_CHANNEL_MESSAGE")
    assert event.payload["MessageId"] == "2f0a-17" and event.payload["Content"] == "Hello!"
    new = world.send(channel, bob, "New")
    assert [item["MessageId"] for item in world.messages(channel, alice)] == [new, "2f0a-18", "2f0a-17"]
    found = world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=alice)["Channel"]
    assert found["CreatedTimestamp"].isoformat() == "2019-01-01T00:00:00+00:00"
    socket.close()
    server.terminate()

    # What was brought in leaves like everything else.
    export(new_place, tmp_path / "out.jsonl")
    bring(tmp_path / "out.jsonl", tmp_path / "moved")
    world.server = serve(tmp_path / "moved")
    world.reconnect()
    assert [item["MessageId"] for item in world.messages(channel, alice)] == [new, "2f0a-18", "2f0a-17"]


def test_a_line_of_a_history_that_is_wrong_is_named_and_nothing_is_left(tmp_path):
    file, target = tmp_path / "history.jsonl", tmp_path / "store"
    wrong = {"message": {"channel": "general", "sender": "nobody", "content": "x", "created": "2021-01-01T00:00:00Z"}}
    write_history(file, [*HISTORY, wrong])
    refused(move("import", file, target, ROOT_KEY), "line 11 ", "the user does not stand before it")
    assert not (target / DATABASE).exists() and not (target / IMPORT).exists()
    write_history(file, [*HISTORY, HISTORY[-1]])
    refused(move("import", file, target, ROOT_KEY), "names one thing twice")
    text = file.read_text(encoding="utf-8")
    file.write_text(text[:text.rindex('{"end"')], encoding="utf-8")
    refused(move("import", file, target, ROOT_KEY), "not whole")
