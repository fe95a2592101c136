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
# Nothing was sent: the socket was full, and the call is made again.
UNSENT = re.compile(r"\) += -1 EAGAIN\b")
# Only what creates something is answered so. A probe or preflight that was meant for whoever had the port before, or
# has it in another run of the tests, is answered 200.
ACKNOWLEDGES = '"HTTP/1.1 201 '


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
        covered = self._covers.pop(thread, None)
        if covered is not None and SUCCEEDED.search(line):
            self.synced = max(self.synced, covered)


class Answers:
    """What each acknowledgement came after."""

    def __init__(self, log):
        self._log = log
        # How far the log was written at the one before.
        self._told = 0
        self._open = {}
        self.unwritten = []
        self.unsynced = []

    def begin(self, thread):
        self._open[thread] = self._told
        self.unwritten.append(self._log.written == self._told)
        self.unsynced.append(self._log.synced < self._log.written)
        self._told = self._log.written

    def end(self, thread, line):
        told = self._open.pop(thread, None)
        if told is not None and UNSENT.search(line):
            self.unwritten.pop()
            self.unsynced.pop()
            self._told = told

    def findings(self):
        return Findings(len(self.unwritten), sum(self.unwritten), sum(self.unsynced))


def judge(lines):
    """Looks for a write and then a sync of the log before each acknowledgement of a trace of serial writes."""
    log = Log()
    answers = Answers(log)
    for line in lines:
        begin, end = BEGIN.match(line), RESUMED.match(line)
        found = begin or end
        if not found:
            continue
        thread, is_sync = found["thread"], found["call"] in SYNCS
        is_log = begin and begin["target"].endswith("-wal")
        if is_log and is_sync:
            log.begin_sync(thread)
        elif is_log:
            log.written += 1
        elif begin and ACKNOWLEDGES in begin["rest"]:
            answers.begin(thread)
        if not line.endswith(UNFINISHED):
            log.end_sync(thread, line)
            answers.end(thread, line)
    return answers.findings()
