"""The metrics are a contract: docs/operations.md lists each, and the binary shows these and no others."""

import re

import pytest

from support.http import get_plain
from support.server import ROOT
from support.world import World

pytestmark = pytest.mark.any_engine

ROW = re.compile(r"^\| ((?:`campanile_\w+`(?:, )?)+) \| (.+) \|$", re.MULTILINE)
TYPE = re.compile(r"^# TYPE (campanile_\w+) (\w+)$", re.MULTILINE)


def documented(title="Metrics"):
    """Each metric of the section's table, and what the table says of it."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text[text.index(f"\n## {title}\n"):]
    section = section[:section.index("\n## ", 1)]
    return {name: said for names, said in ROW.findall(section) for name in re.findall(r"`(\w+)`", names)}


def shown(server):
    """Each metric that the binary shows, under the name by which it is asked for."""
    text = get_plain(server.admin_host, server.admin_port, "/metrics").body.decode()
    assert text.endswith("# EOF\n")
    return {name + ("_total" if kind == "counter" else "") for name, kind in TYPE.findall(text)}


@pytest.mark.two_nodes
def test_the_metrics_of_the_docs_are_those_of_the_binary(world):
    alice = world.user("alice")
    world.send(world.channel(alice), alice)
    for node in world.nodes:
        kinds = {"shared database only": node.database is not None, "embedded database only": node.database is None}
        expected = {name for name, said in documented().items()
                    if all(holds for kind, holds in kinds.items() if kind in said)}
        if len(world.nodes) > 1:
            expected |= documented("Several nodes").keys()
        assert shown(node) == expected


def test_the_store_tells_of_its_groups(start):
    server = start()
    world = World(server)
    alice = world.user("alice")
    channel = world.channel(alice)
    before = server.metric("store_batches_total")
    for _ in range(5):
        world.send(channel, alice)
    assert server.metric("store_batches_total") - before >= 5
    assert 0 < server.metric("store_groups_total") <= server.metric("store_batches_total")
    assert server.metric("store_queue") == 0 and server.metric("sink_groups") == 0
    if server.database is None:
        assert server.metric("store_log_bytes") == (server.folder / "campanile.db-wal").stat().st_size
