"""A throw-away NATS: made, stopped and removed by `scripts/nats`."""

import os
import subprocess
import tempfile

from support.server import ROOT

SCRIPT = ROOT / "scripts" / "nats"
DEADLINE_S = 60


class Nats:
    """One server in one folder. It is removed with this process, however that ends."""

    def __init__(self):
        self._folder = tempfile.mkdtemp(prefix="campanile-nats-")
        self.url = self.start()

    def start(self):
        """Starts it, anew after `halt`, on the port that it had."""
        return self._script("start", str(os.getpid())).strip()

    def halt(self):
        """Kills it."""
        self._script("halt")

    def pause(self):
        """Lets it stand still: what is sent to it is neither refused nor answered."""
        self._script("pause")

    def go_on(self):
        self._script("continue")

    def stop(self):
        self._script("stop")

    def _script(self, verb, *arguments):
        done = subprocess.run([SCRIPT, verb, self._folder, *arguments], capture_output=True, text=True,
                              timeout=DEADLINE_S, check=False)
        assert done.returncode == 0, f"scripts/nats {verb}: {done.stderr}"
        return done.stdout
