"""`campanile db check` and the SQL views: what can be seen of a store whose server does not run."""

import re
import sqlite3
from contextlib import closing

import pytest

from support.server import run
from support.world import World


def check(folder, *arguments):
    return run("db", "check", "--data-dir", folder, *arguments)


@pytest.fixture
def stopped(start):
    """The database file of a server that held a little of everything and has ended."""
    server = start()
    world = World(server)
    alice, bob = world.users("alice", "bob")
    world.make_admin(bob)
    channel = world.channel(alice, bob, Privacy="PUBLIC", Tags=[{"Key": "team", "Value": "one"}])
    world.send(channel, alice, "kept with 👋")
    world.messaging.create_channel_ban(ChannelArn=channel, MemberArn=world.user("dave"), ChimeBearer=alice)
    world.messaging.delete_channel(ChannelArn=world.channel(alice), ChimeBearer=alice)
    world.identity.delete_app_instance_user(AppInstanceUserArn=world.user("carol"))
    server.terminate()
    return server


def change(server, statement):
    with closing(sqlite3.connect(server.folder / "campanile.db")) as database, database:
        assert database.execute(statement).rowcount > 0
    server.store_is_sound = False


def rows(server):
    with closing(sqlite3.connect(server.folder / "campanile.db")) as database:
        return list(database.iterdump())


def test_a_sound_store_has_no_findings(stopped):
    done = check(stopped.folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"\d+ rows checked, 0 findings\n", done.stdout)


@pytest.mark.parametrize("statement", [
    "delete from channel_by_privacy", "delete from channel_membership", "delete from channel_moderator",
    "update resource_count set n = n + 1", "delete from channel_membership_by_member",
    "delete from channel_ban_by_member", "delete from channel_ban",
])
def test_rows_that_do_not_fit_together_are_found(stopped, statement):
    change(stopped, statement)
    done = check(stopped.folder)
    assert (done.returncode, done.stderr) == (1, "")
    *findings, summary = done.stdout.splitlines()
    assert findings
    assert re.fullmatch(rf"\d+ rows checked, {len(findings)} findings", summary)


def test_the_check_changes_no_row(stopped):
    before = rows(stopped)
    check(stopped.folder)
    assert rows(stopped) == before


def test_a_store_that_is_in_use_or_missing_or_in_memory_is_refused(start, tmp_path):
    server = start()
    for folder in (server.folder, tmp_path / "nowhere", ":memory:"):
        done = check(folder)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "nowhere").exists()


def test_a_store_of_another_region_is_refused(stopped):
    done = check(stopped.folder, "--region", "eu-central-1")
    assert (done.returncode, done.stdout) == (2, ""), done


def test_views_show_the_rows_as_columns(stopped):
    with closing(sqlite3.connect(f"file:{stopped.folder}/campanile.db?mode=ro", uri=True)) as database:
        assert database.execute("select content, type from channel_message_view").fetchall() == [
            ("kept with 👋", "STANDARD")]
        assert database.execute("select id, name from app_instance_user_view order by id").fetchall() == [
            ("alice", "Alice"), ("bob", "Bob"), ("dave", "Dave")]
        assert database.execute("select privacy from channel_view").fetchall() == [("PUBLIC",)]
