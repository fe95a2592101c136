"""A throw-away NATS: made, stopped and removed by `scripts/nats`."""

import os
import subprocess
import tempfile
from pathlib import Path

from support.server import ROOT

SCRIPT = ROOT / "scripts" / "nats"
DEADLINE_S = 60


class Nats:
    """One server in one folder. It is removed with this process, however that ends.

    With `certificate` (the files of an authority, a certificate by it, and its key) it speaks TLS alone, and lets in
    only who shows a certificate by the same authority.
    """

    def __init__(self, certificate=None):
        self._folder = tempfile.mkdtemp(prefix="campanile-nats-")
        if certificate:
            ca, cert, key = certificate
            Path(self._folder, "tls.conf").write_text(
                f'tls {{ ca_file: "{ca}", cert_file: "{cert}", key_file: "{key}", verify: true }}\n', encoding="utf-8")
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
