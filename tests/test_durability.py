"""An acknowledgement follows the sync of the log, as the system sees it: the server's calls are traced.

The judge of the traces is itself judged: by traces whose fault is known, by a server whose syncs do nothing, and by
one that asks for fewer of them.
"""

import re
import uuid

import pytest

from support.faults import LOG
from support.sender import Sender
from support.server import BINARY
from support.sigv4 import Key
from support.trace import STRACE, Findings, judge
from support.world import World

SENDS = 25
# The app instance, its user and the channel.
PREPARATIONS = 3
ALL = SENDS + PREPARATIONS

# How the program asks SQLite for a sync of each commit, and lower levels as numbers of the same length.
FULL_SYNC = b"PRAGMA synchronous = FULL"
LEVELS = {"OFF": b"0   ", "NORMAL": b"1   "}

# Short numbers of threads are padded.
WRITE = '7     pwrite64(9</data/campanile.db-wal>, "data"..., 4096, 56) = 4096'
SYNC = "7     fsync(9</data/campanile.db-wal>) = 0"
SYNC_BEGINS = "7     fsync(9</data/campanile.db-wal> <unfinished ...>"
SYNC_ENDS = "7     <... fsync resumed>) = 0"
ANSWER = '12345 writev(12<TCP:[127.0.0.1:80->127.0.0.1:50]>, [{iov_base="HTTP/1.1 201 Created"..., iov_len=9}], 1) = 9'
ANSWER_BEGINS = ANSWER.replace(", iov_len=9}], 1) = 9", ", iov_len=9}], 1 <unfinished ...>")
ANSWER_ENDS = "12345 <... writev resumed>) = 9"
UNSENT = ANSWER.replace(") = 9", ") = -1 EAGAIN (Resource temporarily unavailable)")
UNSENT_ENDS = ANSWER_ENDS.replace("= 9", "= -1 EAGAIN (Resource temporarily unavailable)")
PROBE = ANSWER.replace("201 Created", "200 OK")
REFUSAL = ANSWER.replace("201 Created", "403 Forbidden")
OTHER_SYNC = SYNC.replace("-wal", "")

SOUND = Findings(acknowledged=1, unwritten=0, unsynced=0)
UNSYNCED = Findings(acknowledged=1, unwritten=0, unsynced=1)


@pytest.fixture
def traced(start, tmp_path):
    """Runs serial sends on a server under strace and returns the lines of the trace."""

    def run(**options):
        trace = tmp_path / "trace"
        # Nobody else has its key, whoever comes to its port by mistake.
        key = Key("AKIDTESTTRACED", str(uuid.uuid4()))
        server = start(wrapper=(*STRACE, "-o", trace), key=key, **options)
        world = World(server)
        user = world.user("alice")
        sender = Sender(server, world.channel(user), user)
        for number in range(SENDS):
            sender.id_of(f"message {number}")
        sender.close()
        server.kill()
        return trace.read_text(encoding="utf-8").splitlines()

    return run


def test_each_acknowledgement_follows_a_write_of_the_log_and_its_sync(traced):
    assert judge(traced()) == Findings(acknowledged=ALL, unwritten=0, unsynced=0)


def test_a_server_whose_syncs_do_nothing_is_found_out(traced, faults):
    faults.order("skip", LOG)
    found = judge(traced(environment=faults.environment))
    faults.lift()
    assert found == Findings(acknowledged=ALL, unwritten=0, unsynced=ALL)


@pytest.mark.parametrize("level", ["OFF", "NORMAL"])
def test_a_server_with_a_lower_synchronous_setting_is_found_out(traced, tmp_path, level):
    """The release binary in every byte, but for the setting."""
    lowered = FULL_SYNC.replace(b"FULL", LEVELS[level])
    program = BINARY.read_bytes()
    assert program.count(FULL_SYNC) == 1 and len(lowered) == len(FULL_SYNC)
    binary = tmp_path / "lowered"
    binary.write_bytes(program.replace(FULL_SYNC, lowered))
    binary.chmod(0o755)
    assert judge(traced(binary=binary)) == Findings(acknowledged=ALL, unwritten=0, unsynced=ALL)


def test_a_trace_without_its_syncs_is_found_out(traced):
    lines = [line for line in traced() if not re.search(r"fsync\(|fdatasync\(|sync resumed", line)]
    assert judge(lines) == Findings(acknowledged=ALL, unwritten=0, unsynced=ALL)


@pytest.mark.parametrize("lines, found", [
    ([WRITE, SYNC, ANSWER], SOUND),
    ([WRITE, WRITE, SYNC_BEGINS, SYNC_ENDS, ANSWER], SOUND),
    ([WRITE, SYNC, REFUSAL, ANSWER], SOUND),
    ([WRITE, SYNC, ANSWER_BEGINS, ANSWER_ENDS], SOUND),
    ([WRITE, SYNC, ANSWER_BEGINS], SOUND),
    ([WRITE, SYNC, UNSENT, ANSWER], SOUND),
    ([WRITE, SYNC, ANSWER_BEGINS, UNSENT_ENDS, ANSWER], SOUND),
    ([WRITE, SYNC, PROBE, ANSWER, PROBE], SOUND),
    ([WRITE, UNSENT, SYNC, ANSWER], SOUND),
    ([WRITE, ANSWER, SYNC], UNSYNCED),
    ([WRITE, ANSWER_BEGINS, SYNC, ANSWER_ENDS], UNSYNCED),
    ([WRITE, SYNC_BEGINS, ANSWER, SYNC_ENDS], UNSYNCED),
    ([WRITE, SYNC, WRITE, ANSWER], UNSYNCED),
    ([WRITE, SYNC_BEGINS, WRITE, SYNC_ENDS, ANSWER], UNSYNCED),
    ([WRITE, SYNC.replace("= 0", "= -1 EIO (Input/output error)"), ANSWER], UNSYNCED),
    ([WRITE, SYNC_BEGINS, SYNC_ENDS.replace("= 0", "= -1 EIO (Input/output error)"), ANSWER], UNSYNCED),
    ([WRITE, OTHER_SYNC, ANSWER], UNSYNCED),
    ([ANSWER], Findings(acknowledged=1, unwritten=1, unsynced=0)),
    ([WRITE, SYNC, ANSWER, ANSWER], Findings(acknowledged=2, unwritten=1, unsynced=0)),
    ([WRITE, SYNC, REFUSAL], Findings(acknowledged=0, unwritten=0, unsynced=0)),
])
def test_the_judge_of_traces_sees(lines, found):
    assert judge(lines) == found
