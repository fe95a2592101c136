"""What is known of an operation's use: how it is called well, and how not. The other modules register one for each."""

from collections.abc import Callable
from dataclasses import dataclass, field

from support.conformance.operations import Operation

CONDUCTS = {}


@dataclass(frozen=True)
class Conduct:
    """How an operation is called well, and how not.

    `play` is a generator: it yields the input of a good call, is sent the answer, and asserts its effects.
    `gives` names the members that the output must have. `unknown` has for each member that names a resource the
    refusal of one that is not there, or a function of stage and value that tells it; `absent` likewise, of members
    whose resource may also be a live user who has no part in the channel. `denied` names the roles that the caller
    must not have.
    """

    operation: Operation
    play: Callable
    gives: frozenset = frozenset()
    unknown: dict = field(default_factory=dict)
    absent: dict = field(default_factory=dict)
    denied: tuple = ()


def conduct(service, name, *, gives=(), unknown=None, absent=None, denied=()):
    """Registers the conduct of an operation."""
    def register(play):
        operation = Operation(service, name)
        assert operation not in CONDUCTS, f"{operation} has two conducts"
        CONDUCTS[operation] = Conduct(operation, play, frozenset(gives), unknown or {}, absent or {}, denied)
        return play
    return register
