"""One process of the release binary, started by its contract: flags, environment, ready line, signals.

A test never waits for time here, only for a line, an exit or a deadline that fails it.
"""

import os
import re
import signal
import ssl
import subprocess
import threading
import time
from pathlib import Path

from support.http import get_plain
from support.sigv4 import Key

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = Path(os.environ.get("CAMPANILE_BINARY", TARGET / "release" / "campanile"))

ROOT_KEY = Key("AKIDTESTROOT", "a/secret+that-only-the-tests-know")
READY = re.compile(r"^campanile ready api=http://(\S+):(\d+) tls=(off|https://\S+) admin=http://(\S+):(\d+)$")
DEADLINE_S = 20
TCP_ESTABLISHED = "01"
ERROR_LINE = re.compile(r"\bERROR\b|panicked at")


def clean_environment(extra=None):
    """The environment of a fresh shell: nothing of the caller's AWS or Campanile settings leaks in."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | (extra or {})


def run(*arguments, environment=None, cwd=None):
    """Runs the binary to its end and returns the completed process (text output)."""
    return subprocess.run(
        [BINARY, *map(str, arguments)], env=clean_environment(environment), cwd=cwd,
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )


class Lines:
    """The lines of one output stream, read by a thread so that the process never blocks on us."""

    def __init__(self, stream):
        self._stream = stream
        self._seen = []
        self._arrived = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._stream:
            with self._arrived:
                self._seen.append(line.rstrip("\n"))
                self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def all(self):
        with self._arrived:
            return list(self._seen)

    def find(self, pattern):
        """The first line that matches, or None when the stream ended without one."""
        found = None

        def look():
            nonlocal found
            found = next((hit for hit in map(re.compile(pattern).search, self._seen) if hit), None)
            return found or self._ended

        with self._arrived:
            if not self._arrived.wait_for(look, DEADLINE_S):
                raise AssertionError(f"no line like {pattern!r} in {DEADLINE_S} s; have {self._seen}")
        return found

    def drain(self):
        """All lines, once the process has closed the stream."""
        self._reader.join(DEADLINE_S)
        return self.all()


class Server:
    """A running server. `restart` after `kill` or `terminate` uses the same folder and the same flags.

    The listeners take free ports of loopback, unless `addresses` leaves them to the other settings. `key` is
    given to the process as its variables; with None it makes a pair of its own. `wrapper` is a command that
    becomes the server, `binary` one other than the release. `database` is the URL of a PostgreSQL store, in place of
    a folder, `command` what the binary is asked to do.
    """

    def __init__(self, data_dir, *arguments, listen="127.0.0.1:0", addresses=True, environment=None,
                 key=ROOT_KEY, cwd=None, wrapper=(), binary=BINARY, database=None, command="serve"):
        self.key = key
        self.command = command
        self.cwd = cwd
        self.wrapper = wrapper
        self.binary = binary
        self.database = database
        self.folder = None if database else self._folder(data_dir)
        self.store_is_sound = True
        self.environment = dict(environment or {})
        if key is not None:
            self.environment |= {
                "CAMPANILE_ACCESS_KEY_ID": key.id,
                "CAMPANILE_SECRET_ACCESS_KEY": key.secret,
            }
        self.arguments = ["--listen", listen, "--admin-listen", "127.0.0.1:0"] if addresses else []
        if database is not None:
            self.arguments += ["--database-url", database]
        elif data_dir is not None:
            self.arguments += ["--data-dir", str(data_dir)]
        self.arguments += map(str, arguments)
        # Patterns of the ERROR lines that belong to what a test does to the server.
        self.expected_errors = []
        # What a client of the plain listener needs to know of TLS.
        self.tls = None
        self.old_logs = []
        self.process = None
        self.start()

    def _has_store(self):
        """Whether something was left to be checked."""
        return self.database or (self.folder is not None and (self.folder / "campanile.db").exists())

    def _folder(self, data_dir):
        """Where the data is, or None for the memory engine."""
        if data_dir == ":memory:":
            return None
        return Path(data_dir) if data_dir is not None else Path(self.cwd, "campanile-data")

    def start(self):
        self.process = subprocess.Popen(
            [*self.wrapper, self.binary, self.command, *self.arguments], env=clean_environment(self.environment), cwd=self.cwd,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        self.stdout = Lines(self.process.stdout)
        self.stderr = Lines(self.process.stderr)
        ready = self.stdout.find(READY)
        if ready is None:
            self.process.wait(DEADLINE_S)
            raise AssertionError(f"exit {self.process.returncode} before ready: {self.stderr.drain()}")
        self.ready_line = ready.string
        self.host, self.port = ready[1].replace("0.0.0.0", "127.0.0.1"), int(ready[2])
        self.tls_url = None if ready[3] == "off" else ready[3]
        self.admin_host, self.admin_port = ready[4], int(ready[5])
        return self

    @property
    def store(self):
        """The flags that name its store."""
        return ("--database-url", self.database) if self.database else ("--data-dir", self.folder)

    @property
    def authority(self):
        return f"{self.host}:{self.port}"

    @property
    def url(self):
        return f"http://{self.authority}"

    @property
    def running(self):
        return self.process.poll() is None

    def metric(self, name):
        """One figure of /metrics, without labels."""
        text = get_plain(self.admin_host, self.admin_port, "/metrics").body.decode()
        found = re.search(rf"^campanile_{name} ([\d.]+)$", text, re.MULTILINE)
        assert found, f"no {name} in {text}"
        return float(found[1]) if "." in found[1] else int(found[1])

    def log(self):
        """The lines that have been read of what any process of this server wrote to its log."""
        return self.old_logs + self.stderr.all()

    def whole_log(self):
        """Ends the process, so that nothing is on its way any more, and returns every line of the log."""
        self.terminate()
        return self.log()

    def kill(self):
        """`kill -9`: the process has no chance to do anything."""
        self.process.kill()
        self._finish()

    def signal_termination(self):
        self.process.send_signal(signal.SIGTERM)

    def terminate(self):
        """SIGTERM, and the exit code that follows."""
        if self.running:
            self.signal_termination()
        return self._finish()

    def _finish(self):
        code = self.process.wait(DEADLINE_S)
        self.old_logs += self.stderr.drain()
        self.stderr = Lines(iter(()))
        return code

    def restart(self):
        if self.running:
            self.terminate()
        return self.start()

    def close(self):
        """Ends the process and fails on an ERROR line or a panic that the test did not expect."""
        if self.running:
            self.terminate()
        wrong = [line for line in self.log() if ERROR_LINE.search(line)]
        wrong = [line for line in wrong if not any(re.search(known, line) for known in self.expected_errors)]
        assert not wrong, f"unexpected ERROR lines: {wrong}"

    def check_store(self):
        """Fails when the rows that the process left do not fit together: indexes, counters, references."""
        if not self.store_is_sound or not self._has_store():
            return
        done = run("db", "check", *self.store, environment=self.environment)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert done.stdout.endswith(" 0 findings\n"), done.stdout


class TlsSide:
    """The TLS listener of a server, in the place of its plain one; `authorities` is the file that clients trust."""

    def __init__(self, server, authorities):
        self.server = server
        self.url = server.tls_url
        self.authority = self.url.removeprefix("https://")
        self.host, port = self.authority.rsplit(":", 1)
        self.port = int(port)
        self.key = server.key
        self.authorities = str(authorities)
        self.tls = ssl.create_default_context(cafile=authorities)


def resident_kib(pid):
    """Resident memory of a process in KiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])


def holds_connection(server, client_port):
    """Whether the server's own end of a connection is open: not closed, whatever the client has read."""
    ends = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    ports = [(int(local.split(":")[1], 16), int(remote.split(":")[1], 16), state) for local, remote, state in ends]
    return (server.port, client_port, TCP_ESTABLISHED) in ports


def eventually(condition, what, within_s=DEADLINE_S):
    """Looks again and again until something holds; fails the test when it does not come."""
    deadline = monotonic_deadline(within_s)
    while not condition():
        deadline(what)


def monotonic_deadline(seconds=DEADLINE_S):
    """A function that fails the test once `seconds` have passed."""
    end = time.monotonic() + seconds

    def check(what):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds} s")

    return check
