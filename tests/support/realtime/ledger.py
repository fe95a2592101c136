"""What was done in a play, as its callers know it: who did what to which channel, and between which two moments.

The exact order of calls that overlap is nobody's to know; a window says how much is known of it. What is done to one
user in one channel is done one at a time (`play.py` sees to that), so his moves are in order.
"""

import threading
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Window:
    """The moments between which something happened: before the call, and after its answer."""

    start: float
    end: float

    def widened(self, by_s):
        return Window(self.start - by_s, self.end + by_s)


@dataclass(frozen=True)
class Posted:
    """What was done to a message: `event` is the type that tells of it."""

    event: str
    message_id: str
    content: str | None
    sender: str
    target: str | None
    fleeting: bool
    window: Window


@dataclass(frozen=True)
class Move:
    """A user came (`kind` says as what) or left (None); `batch` names all that came with him."""

    kind: str | None
    window: Window
    batch: tuple = ()


@dataclass
class Room:
    """One life of a channel: another one under the same ARN is another room.

    The observer made it, moderates it and stays in it, so that he hears everything but what is targeted at others.
    """

    arn: str
    observer: str
    # Those who are members from the start, and the moderators among them.
    founders: frozenset
    moderators: frozenset
    born: Window
    died: Window | None = None
    posted: list = field(default_factory=list)
    moves: dict = field(default_factory=dict)
    roles: dict = field(default_factory=dict)
    # New names, by which updates of the channel are told from each other.
    names: dict = field(default_factory=dict)

    def kind_of(self, user):
        """What kind of member a user is after his last move; None when he is none."""
        moves = self.moves.get(user)
        return moves[-1].kind if moves else "DEFAULT" if user in self.founders else None

    def is_surely_member(self, user, window):
        """Whether a user is a member all through a window, whatever the order of calls that overlap."""
        since = self.born.end if user in self.founders else None
        for move in self.moves.get(user, ()):
            if since is not None and since < window.start and window.end < move.window.start:
                return True
            since = move.window.end if move.kind else None
        return since is not None and since < window.start

    def may_be_member(self, user, window):
        """Whether a user may be a member at some moment of a window."""
        since = self.born.start if user in self.founders else None
        for move in self.moves.get(user, ()):
            if since is not None and since <= window.end and window.start <= move.window.end:
                return True
            since = move.window.start if move.kind else None
        return since is not None and since <= window.end

    def moderates(self, user, window):
        """Whether a user is a moderator all through a window: yes, no, or None when that changes meanwhile."""
        known = user in self.moderators
        for change, is_moderator in self.roles.get(user, ()):
            if change.start > window.end:
                break
            if change.end >= window.start:
                return None
            known = is_moderator
        return known


@dataclass(frozen=True)
class Session:
    """What one socket heard. It closed itself, was closed with its user, or was open to the end."""

    user: str
    opened: Window
    log: list
    closed: Window | None = None


class Ledger:
    """All rooms, those under one ARN in their order, and when users were deleted."""

    def __init__(self):
        self.lock = threading.Lock()
        self.rooms = {}
        self.deleted = {}

    def add(self, room):
        with self.lock:
            self.rooms.setdefault(room.arn, []).append(room)

    def all_rooms(self):
        return [room for lives in self.rooms.values() for room in lives]
