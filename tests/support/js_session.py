"""amazon-chime-sdk-js where apps run it: in Node and in headless Chromium, each a process that is ordered line by line.

A runtime opens places (in Chromium a page), a place starts sessions, and a session keeps what its observers and
promises were told, in order. A test waits for what is told, never for time.
"""

import json
import subprocess
import threading
import uuid
from pathlib import Path

from support.server import DEADLINE_S, clean_environment
from support.sockets import parse

PROGRAMS = Path(__file__).resolve().parents[1] / "js" / "session"
ESTABLISHED = "SESSION_ESTABLISHED"
# A browser starts more slowly than anything else here.
START_S = 60


def trusting_home(folder, authority):
    """A home folder whose Chromium trusts an authority, by the means of a user: its certificate store."""
    store = Path(folder, ".pki", "nssdb")
    store.mkdir(parents=True)
    for step in (["-N", "--empty-password"], ["-A", "-n", "campanile", "-t", "C,,", "-i", str(authority)]):
        subprocess.run(["certutil", "-d", f"sql:{store}", *step], check=True, capture_output=True)
    return str(folder)


class Runtime:
    """A running program; used inside of `with`. `name` is `node` or `chromium`, `side` the TLS side of a server.

    `settle` waits until the server has told what was done before: a session that is opened then hears of none of it.
    """

    def __init__(self, name, side, home, settle=lambda: None):
        self.name = name
        self.side = side
        self.settle = settle
        environment = clean_environment({
            "HOME": home,
            "NODE_EXTRA_CA_CERTS": side.authorities,
            "AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE": "1",
        })
        self._told = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            ["node", PROGRAMS / f"{name}.mjs"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, encoding="utf-8")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        self._process.stdin.close()
        try:
            assert self._process.wait(DEADLINE_S) == 0
        finally:
            self._process.kill()
        self._reader.join(DEADLINE_S)
        self._process.stdout.close()
        if failure is None:
            assert self.told(told="unhandled") == []

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self._told.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._told.append({"told": "end"})
            self._changed.notify_all()

    def order(self, **order):
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def told(self, **wanted):
        """What has been told so far that has these values."""
        with self._changed:
            return [told for told in self._told if wanted.items() <= told.items()]

    def wait(self, count=1, within_s=DEADLINE_S, but=None, **wanted):
        """Waits until as many tellings have the values of `wanted`, and not those of `but`; returns all that do."""
        def find():
            return [told for told in self._told
                    if wanted.items() <= told.items() and not (but and but.items() <= told.items())]

        with self._changed:
            self._changed.wait_for(lambda: len(find()) >= count or self._told[-1:] == [{"told": "end"}], within_s)
            found = find()
            assert len(found) >= count, f"{self.name}: not {count} of {wanted} but {self._told[-20:]}"
        return found

    def open(self, sdk=None, **more):
        """A place whose sessions use this SDK; Chromium knows of other places too (`chromium.mjs`)."""
        place = str(uuid.uuid4())
        self.order(do="open", place=place, sdk=sdk, **more)
        self.wait(place=place, told="opened", within_s=START_S)
        return Place(self, place)


class Place:
    """Where sessions live: a page, or what stands for it in Node."""

    def __init__(self, runtime, name):
        self._runtime = runtime
        self._name = name

    def console(self, count):
        """The lines that a page wrote to its console; waits until there are as many."""
        return [told["text"] for told in self._runtime.wait(count, place=self._name, told="console")]

    def options(self, key=None):
        side = self._runtime.side
        key = key or side.key
        return {"endpoint": side.url, "region": "us-east-1",
                "credentials": {"accessKeyId": key.id, "secretAccessKey": key.secret}}

    def session(self, user_arn, *, key=None, session_id=None, prefetch=None):
        """Starts a session and does not wait for anything. `prefetch` names the order of the channels."""
        self._runtime.settle()
        session_id = session_id or str(uuid.uuid4())
        session = Session(self._runtime, self._name, session_id)
        session.order("start", userArn=user_arn, options=self.options(key), prefetch=prefetch)
        return session

    def call(self, operation, **given):
        """The output of a call by the SDK of this place."""
        name = str(uuid.uuid4())
        self._runtime.order(do="call", place=self._name, call=name, operation=operation, input=given,
                            options=self.options())
        [told] = self._runtime.wait(call=name, told="answer")
        assert "error" not in told, told
        return told["output"]


class Session:
    """One DefaultMessagingSession."""

    def __init__(self, runtime, place, session_id):
        self._runtime = runtime
        self._place = place
        self.id = session_id

    def order(self, what, **more):
        self._runtime.order(do=what, place=self._place, session=self.id, **more)

    def stop(self):
        self.order("stop")

    def wait(self, told, count=1):
        """Waits until the session has told this so often; returns the last time."""
        return self._runtime.wait(count, session=self.id, told=told)[-1]

    def count(self, told):
        return len(self._runtime.told(session=self.id, told=told))

    def started(self):
        """Waits until the session has started for the first time."""
        self.wait("resolved")
        self.wait("started")
        return self

    @property
    def errors(self):
        return [told["text"] for told in self._runtime.told(session=self.id, told="error")]

    def events(self, count):
        """The events that the session heard, SESSION_ESTABLISHED aside; waits until there are as many."""
        told = self._runtime.wait(count, but={"type": ESTABLISHED}, session=self.id, told="message")
        events = [parse(json.dumps({"Headers": each["headers"], "Payload": each["payload"]})) for each in told]
        assert [event.type for event in events] == [each["type"] for each in told]
        return events
