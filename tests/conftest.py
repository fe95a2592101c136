"""Fixtures: one server for the tests that only need a server, and one app instance for each test.

`--engine postgres` runs what depends on the store on PostgreSQL: the modules marked `any_engine` and those marked
`postgres`. What is not chosen is counted as deselected, never skipped.
"""

import functools
import os

import pytest

pytest.register_assert_rewrite("support")

from support import cluster
from support.cluster import Spread, Watch
from support.faults import Faults, build_library
from support.nats import Nats
from support.postgres import Postgres
from support.server import BINARY, Server
from support.world import World


def pytest_addoption(parser):
    parser.addoption("--engine", choices=["sqlite", "postgres"], default="sqlite", help="the store under test")
    parser.addoption("--update-baseline", action="store_true", help="write the committed baselines anew")


def pytest_collection_modifyitems(config, items):
    on_postgres = config.getoption("engine") == "postgres"

    def is_chosen(item):
        marks = {mark.name for mark in item.iter_markers()}
        if on_postgres:
            return not marks.isdisjoint({"any_engine", "postgres"})
        return "postgres" not in marks

    others = [item for item in items if not is_chosen(item)]
    items[:] = [item for item in items if is_chosen(item)]
    config.hook.pytest_deselected(items=others)


def pytest_configure(config):
    # A proxy or a profile of the person who runs the tests must not come between a client and loopback.
    for name in [name for name in os.environ if name.upper().endswith("_PROXY") or name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


# What a run prints in the end beside the results: titles and their lines.
TABLES = pytest.StashKey[dict]()


def pytest_terminal_summary(terminalreporter, config):
    for title, lines in config.stash.get(TABLES, {}).items():
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def tables(request):
    """Tables by their titles, printed when the run is over."""
    return request.config.stash.setdefault(TABLES, {})


def pytest_sessionstart(session):
    if not BINARY.exists() and not session.config.option.collectonly:
        pytest.exit(f"{BINARY} is missing: run `make build` first", returncode=2)


@pytest.fixture(scope="session")
def postgres():
    """The PostgreSQL that tests share; one that stops it starts its own."""
    postgres = Postgres()
    yield postgres
    postgres.stop()


@pytest.fixture(scope="session")
def nats():
    """The NATS that tests share; one that stops it starts its own."""
    nats = Nats()
    yield nats
    nats.stop()


@pytest.fixture(scope="session")
def new_store(request):
    """Makes an empty store: nothing on the embedded engine, where a folder will do, or the URL of a schema."""
    if request.config.getoption("engine") == "postgres":
        return request.getfixturevalue("postgres").new_store
    return lambda: None


@pytest.fixture(scope="session")
def server(tmp_path_factory, new_store):
    """The server that most tests share."""
    server = Server(tmp_path_factory.mktemp("shared"), database=new_store())
    yield server
    server.close()
    server.check_store()


@pytest.fixture
def start(tmp_path, new_store):
    """Starts servers of the test's own; all are stopped, and their logs and stores checked, when it ends."""
    servers = []

    def start_one(*arguments, data_dir=tmp_path / "data", database=None, **options):
        servers.append(Server(data_dir, *arguments, database=database or new_store(), **options))
        return servers[-1]

    yield start_one
    for server in servers:
        server.close()
    for server in servers:
        server.check_store()


@pytest.fixture(scope="session")
def fault_library(tmp_path_factory):
    return build_library(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def faults(fault_library, tmp_path):
    """Faults for a server that is started with their environment."""
    return Faults(fault_library, tmp_path)


@pytest.fixture(scope="session")
def two_nodes(postgres, nats):
    """Two nodes of one store, and the watch that knows what they have told, for the tests that share them."""
    servers = cluster.two_nodes(functools.partial(Server, None), postgres.new_store(), nats)
    watch = Watch(servers)
    yield servers, watch
    watch.close()
    for server in servers:
        server.close()
    servers[0].check_store()


ONE_NODE, TWO_NODES = "one node", "two nodes"


def pytest_generate_tests(metafunc):
    """What holds on one node holds on two: with --engine postgres the tests marked so run on both."""
    is_marked = any(metafunc.definition.iter_markers("two_nodes"))
    if is_marked and "layout" in metafunc.fixturenames and metafunc.config.getoption("engine") == "postgres":
        metafunc.parametrize("layout", [ONE_NODE, TWO_NODES], indirect=True)


@pytest.fixture
def layout(request):
    """On which nodes a test runs."""
    return getattr(request, "param", ONE_NODE)


def shared_world(request, layout, name):
    if layout == TWO_NODES:
        return Spread(*request.getfixturevalue("two_nodes"), name)
    return World(request.getfixturevalue("server"), name)


@pytest.fixture
def world(request, layout):
    """A fresh app instance on the shared server, or on the shared pair of nodes."""
    world = shared_world(request, layout, "World")
    yield world
    world.close()


@pytest.fixture
def another_world(request, layout):
    """A second app instance beside it."""
    world = shared_world(request, layout, "Another world")
    yield world
    world.close()


@pytest.fixture
def start_world(request, layout, start, new_store):
    """Starts a server of the test's own, or a pair of nodes, and makes an app instance there."""
    def start_one(*arguments, **options):
        if layout == ONE_NODE:
            return World(start(*arguments, **options))
        servers = cluster.two_nodes(start, new_store(), request.getfixturevalue("nats"), *arguments)
        return Spread(servers, Watch(servers))

    return start_one


@pytest.fixture
def alice(world):
    return world.user("alice")


@pytest.fixture
def bob(world):
    return world.user("bob")


@pytest.fixture
def carol(world):
    return world.user("carol")
