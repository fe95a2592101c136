"""A throw-away PostgreSQL: made, stopped and removed by `scripts/postgres`; each store is a schema of its own."""

import os
import subprocess
import tempfile

from support.server import ROOT

SCRIPT = ROOT / "scripts" / "postgres"
DEADLINE_S = 60


class Postgres:
    """One server in one folder. It is removed with this process, however that ends."""

    def __init__(self):
        # Not among pytest's folders, which only their owner may enter: it refuses to run as root.
        self._folder = tempfile.mkdtemp(prefix="campanile-postgres-")
        self._stores = 0
        self.url = self.start()

    def start(self):
        """Starts it, anew after `halt`, on the port that it had."""
        return self._script("start", str(os.getpid())).strip()

    def halt(self):
        """Stops it at once, as a power cut would."""
        self._script("halt")

    def stop(self):
        self._script("stop")

    def sql(self, text):
        """Runs statements beside the engine; returns the rows, each a list of texts."""
        return [line.split("|") for line in self._script("sql", text).splitlines()]

    def sql_until_cut(self, text):
        """Runs statements whose connection another one ends."""
        subprocess.run([SCRIPT, "sql", self._folder, text], capture_output=True, timeout=DEADLINE_S, check=False)

    def new_store(self):
        """The URL of an empty schema."""
        self._stores += 1
        name = f"store{self._stores}"
        self.sql(f"CREATE SCHEMA {name}")
        return f"{self.url}?options=-c%20search_path%3D{name}"

    def _script(self, verb, *arguments):
        done = subprocess.run([SCRIPT, verb, self._folder, *arguments], capture_output=True, text=True,
                              timeout=DEADLINE_S, check=False)
        assert done.returncode == 0, f"scripts/postgres {verb}: {done.stderr}"
        return done.stdout


def named(url, name):
    """The URL under which a node's sessions are found in `pg_stat_activity`."""
    return f"{url}&application_name={name}"
