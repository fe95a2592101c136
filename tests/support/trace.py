"""What a traced server did, in order: writes to its log, syncs of it, answers that acknowledge.

The trace is strace's: calls of all threads in one order that never puts an effect before its cause. A call that
another thread interrupts takes two lines, its begin and its end.
"""

import re
from dataclasses import dataclass

# One line for each call, with the file or socket behind each number.
STRACE = ("strace", "-D", "-f", "-q", "-yy", "-s", "24", "--signal=none",
          "-e", "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync")
BEGIN = re.compile(r"^(?P<thread>\d+) +(?P<call>\w+)\(\d+<(?P<target>.*?)>(?P<rest>[,) ].*)$")
RESUMED = re.compile(r"^(?P<thread>\d+) +<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)$")
UNFINISHED = "<unfinished ...>"
SYNCS = {"fsync", "fdatasync"}
SUCCEEDED = re.compile(r"\) += 0$")
ACKNOWLEDGES = '"HTTP/1.1 2'


@dataclass(frozen=True)
class Findings:
    """How many acknowledgements a trace holds, and what is wrong with how many of them."""

    acknowledged: int
    unwritten: int
    unsynced: int


class Log:
    """How far the log is written and synced, counted in writes."""

    def __init__(self):
        self.written = 0
        self.synced = 0
        self._covers = {}

    def begin_sync(self, thread):
        """A sync covers what was written before it began."""
        self._covers[thread] = self.written

    def end_sync(self, thread, line):
        covered = self._covers.pop(thread, self.synced)
        if SUCCEEDED.search(line):
            self.synced = max(self.synced, covered)


def judge(lines):
    """Looks for a write and then a sync of the log before each acknowledgement of a trace of serial writes."""
    log = Log()
    acknowledged = unwritten = unsynced = told = 0
    for line in lines:
        begin, end = BEGIN.match(line), RESUMED.match(line)
        if begin and begin["target"].endswith("-wal"):
            if begin["call"] in SYNCS:
                log.begin_sync(begin["thread"])
                if not line.endswith(UNFINISHED):
                    log.end_sync(begin["thread"], line)
            else:
                log.written += 1
        elif begin and ACKNOWLEDGES in begin["rest"]:
            acknowledged += 1
            unwritten += log.written == told
            unsynced += log.synced < log.written
            told = log.written
        elif end and end["call"] in SYNCS:
            log.end_sync(end["thread"], line)
    return Findings(acknowledged, unwritten, unsynced)
