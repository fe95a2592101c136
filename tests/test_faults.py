"""A disk that is full, a sync that fails, a log that ends in the middle: nothing acknowledged is lost or torn."""

import re
import shutil
import signal
import threading
import time

import pytest

from support.clients import refusal
from support.faults import DATABASE, LOG, kinds_of_disk
from support.sender import Sender
from support.server import run
from support.world import World

SENDERS = 8
REFUSALS = 200
# What a rejected write leaves in the log.
NOT_WRITTEN = "the database cannot be written: .*disk is full"
PAGE_BYTES = 4096
LOG_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES
# Pages of the log that are folded into the database at once.
CHECKPOINT_PAGES = 3584


@pytest.fixture(params=kinds_of_disk(), ids=lambda kind: kind.__name__)
def disk(request, faults, tmp_path):
    disk = request.param(faults, tmp_path)
    yield disk
    disk.close()


@pytest.fixture
def room(disk, start):
    """A channel on a server whose disk can be filled. The disk goes last: the store on it is checked before."""
    server = start(data_dir=disk.folder / "data", environment=disk.environment)
    server.expected_errors.append(NOT_WRITTEN)
    return Room(server)


class Room:
    """A channel, its one user and a lean sender."""

    def __init__(self, server):
        self.server = server
        self.world = World(server)
        self.user = self.world.user("alice")
        self.channel = self.world.channel(self.user)
        self.sender = self.new_sender()

    def new_sender(self):
        return Sender(self.server, self.channel, self.user)

    def contents(self):
        return self.world.contents(self.channel, self.user, SortOrder="ASCENDING")


# A full disk.


def test_a_full_disk_refuses_writes_in_the_modelled_way_and_answers_reads(disk, room):
    room.sender.id_of("before")
    disk.fill()
    for attempt in range(3):
        answer = room.sender.send(f"refused {attempt}")
        assert (answer.status, answer.error) == (503, "ServiceUnavailableException"), answer
        assert answer.json()["Code"] == "ServiceUnavailable"
        seconds = int(answer.header("retry-after"))
        assert seconds > 0
        assert int(answer.header("x-amz-retry-after")) == seconds * 1000
    with refusal("ServiceUnavailable"):
        room.world.channel(room.user, name="no room")
    assert room.contents() == ["before"]
    socket = room.world.connect(room.user)
    assert room.sender.send("passing", persistence="NON_PERSISTENT").status == 201, "it is not stored"
    assert socket.next().payload["Content"] == "passing"
    socket.close()
    disk.free()
    assert room.server.running


def test_freed_space_is_used_without_a_restart(disk, room):
    process = room.server.process
    for turn in range(3):
        disk.fill()
        assert room.sender.send(f"refused {turn}").status == 503
        disk.free()
        room.sender.id_of(f"accepted {turn}")
    assert room.server.process is process and room.server.running
    assert room.contents() == [f"accepted {turn}" for turn in range(3)]


def test_a_refused_send_leaves_no_trace_and_its_token_is_good_for_the_repeat(disk, room):
    """Space runs out at another page of a group each time, while several senders share the groups."""
    contents = [[] for _ in range(SENDERS)]

    def send(number, turn):
        sender = room.new_sender()
        for attempt in range(100):
            content = f"{number}:{turn}:{attempt}"
            answer = sender.send(content, f"token-{number}-{turn}-{attempt}")
            contents[number].append((content, answer))
            if answer.status != 201:
                break
        sender.close()

    for turn in range(12):
        disk.fill(left_bytes=turn * 3 * PAGE_BYTES)
        together([lambda number=number, turn=turn: send(number, turn) for number in range(SENDERS)])
        assert all(sent[-1][1].status == 503 for sent in contents), "the disk is full"
        disk.free()
        for sent in contents:
            content, _ = sent[-1]
            again = room.sender.send(content, "token-" + content.replace(":", "-"))
            assert again.status == 201, again
            sent[-1] = (content, again)
    expected = {content: answer.json()["MessageId"] for sent in contents for content, answer in sent}
    listed = room.world.messages(room.channel, room.user, SortOrder="ASCENDING")
    assert {message["Content"]: message["MessageId"] for message in listed} == expected
    assert len(listed) == len(expected)


def test_kill_9_on_a_full_disk_loses_nothing(disk, room):
    sent = [f"kept {number}" for number in range(20)]
    for content in sent:
        room.sender.id_of(content)
    disk.fill()
    assert room.sender.send("refused").status == 503
    room.server.kill()
    # A start needs a little space too; without it, it says so and changes nothing.
    done = run("serve", *room.server.arguments, environment=room.server.environment)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done
    disk.free()
    room.server.start()
    room.world.reconnect()
    assert room.contents() == sent


def together(calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_a_full_disk_is_told_at_a_bounded_rate_and_every_refusal_counted(faults, start):
    server = start(environment=faults.environment)
    server.expected_errors.append(NOT_WRITTEN)
    room = Room(server)
    faults.order("full", LOG)
    begun = time.monotonic()
    for number in range(REFUSALS):
        assert room.sender.send(f"refused {number}").status == 503
    seconds = time.monotonic() - begun
    faults.lift()
    lines = [line for line in server.whole_log() if "ERROR" in line]
    assert re.search(NOT_WRITTEN, lines[0])
    assert len(lines) <= 1 + seconds, "one line a second"
    counts = [int(re.search(r"untold=(\d+)", line)[1]) for line in lines]
    assert len(lines) + sum(counts) <= REFUSALS
    assert all(count > 0 for count in counts[1:])


# A write or a sync that fails.


def test_a_failed_write_of_the_log_ends_the_process_without_an_answer(faults, start):
    """Only the want of space is no reason to end, whichever word the system has for it."""
    server = start(environment=faults.environment)
    room = Room(server)
    room.sender.id_of("stored")
    faults.order("break", LOG)
    with pytest.raises(OSError):
        room.sender.send("lost")
    assert server.process.wait(20) == -signal.SIGABRT
    server.kill()
    [line] = server.log()
    assert line.startswith("fatal: the database failed while committing"), line
    faults.lift()
    server.start()
    room.world.reconnect()
    assert room.contents() == ["stored"]


def test_a_failed_sync_of_the_log_ends_the_process_without_an_answer(faults, start):
    server = start(environment=faults.environment)
    room = Room(server)
    acknowledged = [[] for _ in range(SENDERS)]
    warm = threading.Barrier(SENDERS + 1)

    def send(number):
        sender = room.new_sender()
        try:
            for attempt in range(1000):
                sender.id_of(f"{number}:{attempt}")
                acknowledged[number].append(f"{number}:{attempt}")
                if attempt == 10:
                    warm.wait(20)
        except OSError:
            return

    def fail():
        warm.wait(20)
        faults.order("fail", LOG)

    together([fail, *(lambda number=number: send(number) for number in range(SENDERS))])
    assert server.process.wait(20) == -signal.SIGABRT
    server.kill()
    [line] = server.log()
    assert line.startswith("fatal: the database failed while committing"), line
    faults.lift()
    server.start()
    room.world.reconnect()
    stored = room.contents()
    for number, sent in enumerate(acknowledged):
        own = [content for content in stored if content.startswith(f"{number}:")]
        # One that got no answer may be there or not.
        assert own in (sent, [*sent, f"{number}:{len(sent)}"])


def test_no_send_is_acknowledged_by_a_sync_that_failed(faults, start):
    server = start(environment=faults.environment)
    room = Room(server)
    room.sender.id_of("synced")
    log = server.folder / LOG
    synced_bytes = log.stat().st_size
    faults.order("fail", LOG)
    with pytest.raises(ConnectionError):
        room.sender.send("not synced")
    assert server.process.wait(20) == -signal.SIGABRT
    server.kill()
    faults.lift()
    # After such a failure the system may have dropped what was not synced.
    cut(log, synced_bytes)
    server.start()
    room.world.reconnect()
    assert room.contents() == ["synced"]


def test_a_failed_sync_of_the_database_file_loses_nothing(faults, start):
    """The log still holds what could not be folded into the database."""
    server = start(environment=faults.environment)
    room = Room(server)
    database, log = server.folder / DATABASE, server.folder / LOG
    synced = database.read_bytes()
    faults.order("fail", DATABASE)
    sent = []
    while log.stat().st_size <= LOG_HEADER_BYTES + (CHECKPOINT_PAGES + 100) * FRAME_BYTES:
        sent.append(f"message {len(sent)} " + "x" * 4000)
        room.sender.id_of(sent[-1])
    server.kill()
    faults.lift()
    # The worst that the failure may mean: nothing of what was folded reached the disk.
    assert database.read_bytes() != synced
    database.write_bytes(synced)
    server.start()
    room.world.reconnect()
    assert room.contents() == sent


# A log that ends in the middle, as after a power cut.


@pytest.fixture
def crashed(start):
    """A server that was killed after twelve sends, and where in the log each of them ended."""
    server = start()
    room = Room(server)
    # A clean end folds everything so far into the database; the log then holds the sends alone.
    server.restart()
    room.world.reconnect()
    ends = []
    for number in range(12):
        room.sender.close()
        room.sender.id_of(f"message {number}")
        ends.append((server.folder / LOG).stat().st_size)
    server.kill()
    assert (server.folder / LOG).stat().st_size == ends[-1]
    assert ends == sorted(set(ends)), "each send adds to the log"
    assert all((end - LOG_HEADER_BYTES) % FRAME_BYTES == 0 for end in ends)
    return room, ends


def cut(log, place):
    with log.open("r+b") as file:
        file.truncate(place)


def blank(log, place):
    """The file has its length, but what follows `place` never reached the disk."""
    size = log.stat().st_size
    cut(log, place)
    cut(log, size)


def garble(log, place):
    """The sector at `place` holds something else."""
    with log.open("r+b") as file:
        file.seek(place)
        file.write(b"\xa5" * min(512, log.stat().st_size - place))


def places(ends):
    """Where a log may end: around each kind of border, and inside of everything."""
    middle = ends[5]
    return [
        0, 1, LOG_HEADER_BYTES - 1, LOG_HEADER_BYTES, LOG_HEADER_BYTES + FRAME_HEADER_BYTES,
        ends[0] - 1, ends[0], middle, middle + 1, middle + FRAME_HEADER_BYTES - 1, middle + FRAME_HEADER_BYTES,
        middle + FRAME_HEADER_BYTES + PAGE_BYTES // 2, middle + FRAME_BYTES, middle + FRAME_BYTES + 7,
        ends[6] - FRAME_BYTES, ends[-1] - PAGE_BYTES, ends[-1] - 1,
    ]


@pytest.mark.parametrize("harm", [cut, blank, garble])
def test_a_torn_log_keeps_every_message_before_the_tear_and_none_after_it(crashed, start, tmp_path, harm):
    room, ends = crashed
    intact = room.server.folder
    for place in places(ends):
        copy = tmp_path / f"torn-at-{place}"
        shutil.copytree(intact, copy)
        harm(copy / LOG, place)
        torn = start(data_dir=copy)
        room.world.server = torn
        room.world.reconnect()
        whole = sum(end <= place for end in ends)
        assert room.contents() == [f"message {number}" for number in range(whole)], f"{harm.__name__} at {place}"
        room.server = torn
        room.new_sender().id_of("after the tear")
        assert room.contents()[whole:] == ["after the tear"]
        assert torn.terminate() == 0


def test_a_lost_index_of_the_log_is_made_again(crashed):
    room, ends = crashed
    (room.server.folder / "campanile.db-shm").unlink()
    room.server.start()
    room.world.reconnect()
    assert room.contents() == [f"message {number}" for number in range(len(ends))]
