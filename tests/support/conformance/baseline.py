"""The committed baselines: one line an operation, and the sentences of the documents that quote their counts."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
ROOT = TESTS.parent


class Baseline:
    """A file of lines that begin with service and operation; what else stands in it is its head, kept as it is."""

    def __init__(self, name):
        self.path = TESTS / name

    def _all(self):
        return self.path.read_text(encoding="utf-8").splitlines()

    @property
    def head(self):
        return [line for line in self._all() if line.startswith("#")]

    def lines(self):
        """The line of each operation, by its first two words."""
        return {" ".join(line.split()[:2]): line for line in self._all() if line and not line.startswith("#")}

    def write(self, lines):
        """Replaces the lines, in the order given."""
        self.path.write_text("\n".join([*self.head, *lines]) + "\n", encoding="utf-8")


def passes_all(line):
    """Whether a line tells of no failure."""
    return "=fail" not in line


# The sentence that every document has, with the counts of operations that pass and of all.
QUOTED = re.compile(r"(\d+) of (\d+) operations pass\s+every case of the conformance run")
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "compatibility.md")


def quoted(document):
    """The counts that a document quotes."""
    [(passed, all_of_them)] = QUOTED.findall(document.read_text(encoding="utf-8"))
    return int(passed), int(all_of_them)


def quote(passed, all_of_them):
    """Writes the counts into the documents."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        text = QUOTED.sub(lambda whole: whole[0].replace(
            f"{whole[1]} of {whole[2]}", f"{passed} of {all_of_them}"), text)
        document.write_text(text, encoding="utf-8")
