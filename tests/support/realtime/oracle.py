"""The rules of who hears what, as a check of logs against a ledger. Pure: no server, no clock, no randomness.

An observer's log gives the order of a channel. It must tell of everything that was done, once, and of nothing else, in
an order that the windows of the calls allow. Every other log must then be, channel by channel, exactly what of the
observer's log its user was to hear, from its opening to its end. Only where the calls themselves leave it open is
something optional: a hidden member's coming and going while a moderator's role changes, the first events of a socket
that was opened meanwhile, the last ones of a socket that closed itself.

`one_node` says that all sockets are served by one process, where a NON_PERSISTENT message has one place in the order
too. Among several such a message takes its own way, and may be before or behind what another node does to its channel at
nearly the same time. Every function returns complaints, so that a test can show that a broken log makes some.
"""

import functools
import json
from dataclasses import dataclass

from support.realtime.ledger import Posted, Window
from support.sockets import parse

CREATE, DELETE, BATCH = "CREATE_CHANNEL_MEMBERSHIP", "DELETE_CHANNEL_MEMBERSHIP", "BATCH_CREATE_CHANNEL_MEMBERSHIP"
MEMBERSHIPS = {CREATE, DELETE, BATCH}
FOREVER = float("inf")
# Events leave in the order of the commits and a moment after them: a socket that is opened in this moment may still
# hear of a call that was answered before. On a machine that is busy with other things moments are long.
LAG_S = 2


@dataclass(frozen=True)
class Told:
    """An event of an observer's log with what is known of its cause."""

    event: object
    window: Window
    posted: Posted | None = None


@dataclass(frozen=True)
class Item:
    """An event that a user is to hear, in one of these forms; he may go without an optional one."""

    forms: frozenset
    is_optional: bool
    window: Window
    fleeting: bool


@functools.cache
def _form_of(text):
    return _form(parse(text))


def _form(event, **changes):
    return json.dumps([event.type, event.message_type, event.payload | changes], sort_keys=True)


def form(event):
    """What two tellings of one event have in common."""
    return _form_of(event.text)


def members_in(event):
    """The users whom a membership event is about."""
    members = event.payload["Members"] if event.type == BATCH else [event.payload["Member"]]
    return [member["Arn"] for member in members]


def brief(event):
    payload = event.payload
    about = payload.get("Content") or payload.get("MessageId", "")[:24] or payload.get("Name")
    if event.type in MEMBERSHIPS:
        about = [payload["Type"], *(arn.rpartition("/")[2] for arn in members_in(event))]
    return f"{event.type} {about} in {payload['ChannelArn'].rpartition('/')[2]}"


def by_channel(log):
    channels = {}
    for event in log:
        channels.setdefault(event.payload["ChannelArn"], []).append(event)
    return channels


def lives(log):
    """A channel's log, cut behind each DELETE_CHANNEL."""
    cut = [[]]
    for event in log:
        cut[-1].append(event)
        if event.type == "DELETE_CHANNEL":
            cut.append([])
    return cut


# The observer's log against the ledger.


class Reading:
    """Reads the observer's log of one room: finds the cause of each event, and complains where there is none."""

    def __init__(self, room, deleted, lag_s):
        self.room = room
        self._deleted = deleted
        self._lag_s = lag_s
        self.story = []
        self.complaints = []
        self._posted = {}
        for posted in room.posted:
            self._posted.setdefault((posted.event, posted.message_id), []).append(posted)
        self._moves = {user: list(moves) for user, moves in room.moves.items()}
        self._names = dict(room.names)
        self._newcomers = set(room.founders)
        self._present = set()
        self._latest_start = 0.0
        self._last_id = ""

    def read(self, log):
        for event in log:
            self._take(event)
        self._end()
        return self

    def _complain(self, what, event):
        self.complaints.append(f"the observer {what}: {brief(event)}")

    def _take(self, event):
        posted = None
        if event.type.endswith("_CHANNEL_MESSAGE"):
            posted = self._message(event)
            window = posted and posted.window
        elif event.type in MEMBERSHIPS:
            window = self._membership(event)
        elif event.type == "UPDATE_CHANNEL":
            window = self._names.pop(event.payload["Name"], None)
        else:
            window = self.room.died if event.type == "DELETE_CHANNEL" else None
        if window is None:
            return self._complain("heard what nobody did, or heard it twice", event)
        if not (posted and posted.fleeting):
            self._check_order(event, window)
        self.story.append(Told(event, window, posted))

    def _check_order(self, event, window):
        if window.end < self._latest_start:
            self._complain("heard late what had ended before an event in front of it began", event)
        self._latest_start = max(self._latest_start, window.start)
        if event.type == "CREATE_CHANNEL_MESSAGE":
            if event.payload["MessageId"] <= self._last_id:
                self._complain("heard a message behind one with a greater id", event)
            self._last_id = event.payload["MessageId"]

    def _message(self, event):
        payload = event.payload
        for posted in self._posted.get((event.type, payload["MessageId"]), ()):
            if posted.content == payload.get("Content"):
                self._posted[event.type, posted.message_id].remove(posted)
                return posted
        return None

    def _membership(self, event):
        about = members_in(event)
        windows = [self._move(event, user) for user in about]
        return windows[0] if windows and None not in windows else None

    def _move(self, event, user):
        """The window of the move that a membership event tells of; the user's next one, whatever else happens."""
        kind = None if event.type == DELETE else event.payload["Type"]
        if kind and user in self._newcomers:
            self._newcomers.discard(user)
            self._present.add(user)
            return self.room.born if event.type == CREATE else None
        if kind is None and user not in self._present:
            return None
        moves = self._moves.get(user)
        if moves and moves[0].kind == kind and bool(moves[0].batch) == (event.type == BATCH):
            move = moves.pop(0)
            if move.batch and sorted(move.batch) != sorted(members_in(event)):
                return None
        elif kind is None and not moves and user in self._deleted:
            # What a deleted user leaves is tidied up later.
            move = None
        else:
            return None
        (self._present.add if kind else self._present.discard)(user)
        return move.window if move else Window(self._deleted[user].start, FOREVER)

    def _end(self):
        """Complains of what was done and never heard."""
        lost = [posted for left in self._posted.values() for posted in left if not self._may_be_lost(posted)]
        lost += [f"{user} {move}" for user, moves in self._moves.items() for move in moves]
        lost += [*self._names, *self._newcomers]
        if self.room.died is None:
            lost += [f"the end of {user}" for user in self._present if user in self._deleted]
        elif not self.story or self.story[-1].event.type != "DELETE_CHANNEL":
            lost.append("the end of the channel")
        self.complaints += [f"the observer never heard: {each}" for each in lost]

    def _may_be_lost(self, posted):
        """A message that is not stored may be overtaken by the end of the channel, a targeted one is for others."""
        if posted.target:
            return self.room.observer not in (posted.sender, posted.target)
        return posted.fleeting and not is_alive(self.room, posted.window.widened(self._lag_s))


def is_alive(room, window):
    """Whether a channel is surely there all through a window."""
    return room.born.end < window.start and (room.died is None or window.end < room.died.start)


# What a user was to hear, from the observer's log.


def items_for(user, room, story):
    """What of a story a user is to hear, targeted messages aside."""
    is_member = user in room.founders
    items = []
    for told in story:
        if told.posted and told.posted.target:
            continue
        event = told.event
        concerns_him = event.type in MEMBERSHIPS and user in members_in(event)
        if concerns_him and event.type != DELETE:
            is_member = True
        if is_member:
            items += _heard(user, room, told, concerns_him)
        if event.type == "DELETE_CHANNEL" or concerns_him and event.type == DELETE:
            is_member = False
    return items


def _heard(user, room, told, concerns_him):
    event = told.event
    whole, is_optional = {form(event)}, False
    if event.type in MEMBERSHIPS and event.payload["Type"] == "HIDDEN":
        moderates = room.moderates(user, told.window)
        if concerns_him and event.type == BATCH:
            himself = _form(event, Members=[one for one in event.payload["Members"] if one["Arn"] == user])
            whole = {True: whole, False: {himself}, None: whole | {himself}}[moderates]
        elif not concerns_him:
            if moderates is False:
                return []
            is_optional = moderates is None
    return [Item(frozenset(whole), is_optional, told.window, bool(told.posted and told.posted.fleeting))]


# Another log against that.


class Comparison:
    """Compares what a session heard of one channel with what its user was to hear."""

    def __init__(self, session, deleted):
        self._session = session
        self._gone = deleted.get(session.user)
        self.complaints = []

    def _complain(self, what, about):
        name = self._session.user.rpartition("/")[2]
        self.complaints.append(f"{name} {what}: {about if isinstance(about, str) else brief(about)}")

    def _is_due(self, window):
        """Whether the session was surely open: what happened in the window had to reach it."""
        if self._session.closed is not None or window.start <= self._session.opened.end:
            return False
        return self._gone is None or window.end < self._gone.start

    def _check_time(self, window, event):
        if window.end < self._session.opened.start - LAG_S:
            self._complain("heard what had ended before his socket was opened", event)
        if self._gone is not None and window.start > self._gone.end:
            self._complain("heard what began after he had been deleted", event)

    def in_order(self, items, log):
        """The log must be the items, one after the other, from some place to some place.

        The place is that of the first event; where several look alike, one of them must do.
        """
        first = form(log[0]) if log else None
        places = [place for place, item in enumerate(items) if first in item.forms] or [0]
        before, fewest = self.complaints, None
        for place in places:
            self.complaints = []
            self._in_order_from(place, items, log)
            if fewest is None or len(self.complaints) < len(fewest):
                fewest = self.complaints
        self.complaints = before + fewest

    def _in_order_from(self, place, items, log):
        self._lost(item for item in items[:place] if self._is_due(item.window))
        for event in log:
            wanted = form(event)
            found = next((index for index in range(place, len(items)) if wanted in items[index].forms), None)
            if found is None:
                self._complain("heard what was not for him, or not in this place, or not again", event)
                continue
            self._lost(item for item in items[place:found] if not item.is_optional)
            self._check_time(items[found].window, event)
            place = found + 1
        self._lost(item for item in items[place:] if self._is_due(item.window))

    def _lost(self, items):
        for item in items:
            if not item.is_optional:
                self._complain("did not hear", min(item.forms)[:300])

    def fleeting(self, posted, log):
        """What has no place in the order is for whoever may be a member at the time, once, and for those who surely are.

        `posted` are the messages of the channel that are stored nowhere, with its rooms.
        """
        user = self._session.user
        left = {each.message_id: (room, each) for room, each in posted}
        for event in log:
            room, found = left.pop(event.payload["MessageId"], (None, None))
            if found is None or found.content != event.payload["Content"]:
                self._complain("heard what nobody did, or heard it twice", event)
            elif not room.may_be_member(user, found.window.widened(LAG_S)):
                self._complain("heard what was not for him", event)
            else:
                self._check_time(found.window, event)
        for room, each in left.values():
            window = each.window.widened(LAG_S)
            if is_alive(room, window) and room.is_surely_member(user, window) and self._is_due(window):
                self._complain("did not hear", str(each))

    def targeted(self, whispers, log):
        """A targeted message is for its sender and its target: each once, while they are members.

        `whispers` are what was done to the channel's targeted messages, with its rooms.
        """
        user = self._session.user
        left = {}
        for room, posted in whispers:
            if user in (posted.sender, posted.target):
                left.setdefault((posted.event, posted.message_id, posted.content), []).append((room, posted))
        for event in log:
            found = left.get((event.type, event.payload["MessageId"], event.payload.get("Content")))
            if not found:
                self._complain("heard a targeted message that was not for him, or heard it twice", event)
                continue
            _, posted = found.pop()
            self._check_time(posted.window, event)
        for room, posted in (each for several in left.values() for each in several):
            # He was a member when it was sent; when it was changed, only perhaps.
            is_sure = posted.event == "CREATE_CHANNEL_MESSAGE" or room.is_surely_member(user, posted.window)
            if is_sure and self._is_due(posted.window):
                self._complain("did not hear", str(posted))

    def boundaries(self, rooms, log):
        """By what he heard himself: nothing before he came or after he left, and messages in the order of their ids."""
        user, last_id = self._session.user, ""
        is_member = None
        for event in log:
            concerns_him = event.type in MEMBERSHIPS and user in members_in(event)
            if concerns_him and event.type != DELETE:
                is_member = True
            if is_member is False and not any(user in room.founders for room in rooms[1:]):
                self._complain("heard of a channel that he had left", event)
            if concerns_him and event.type == DELETE or event.type == "DELETE_CHANNEL":
                is_member, last_id = False, ""
            is_stored = event.type == "CREATE_CHANNEL_MESSAGE" and event.payload["Persistence"] == "PERSISTENT"
            if is_stored and event.payload["MessageId"] <= last_id:
                self._complain("heard a message behind one with a greater id", event)
            last_id = event.payload["MessageId"] if is_stored else last_id


class Rules:
    """A play that has been read: `complaints` about the observers' logs, and `check` for all the others."""

    def __init__(self, ledger, observers, *, one_node):
        self._ledger = ledger
        self._one_node = one_node
        self._stories = {}
        self._items = {}
        self.complaints = []
        logs = {user: by_channel(log) for user, log in observers.items()}
        for arn, rooms in ledger.rooms.items():
            self._read(arn, rooms, lives(logs[rooms[0].observer].get(arn, [])))
        self._whispers = {
            arn: [(room, posted) for room in rooms for posted in room.posted if posted.target]
            for arn, rooms in ledger.rooms.items()
        }
        self._fleeting = {
            arn: [(room, posted) for room in rooms for posted in room.posted if posted.fleeting]
            for arn, rooms in ledger.rooms.items()
        }

    def _read(self, arn, rooms, cut):
        if any(cut[len(rooms):]):
            self.complaints.append(f"the observer heard of {arn} after its last end")
        self._stories[arn] = []
        for room, log in zip(rooms, cut + [[]] * len(rooms)):
            reading = Reading(room, self._ledger.deleted, 0 if self._one_node else LAG_S).read(log)
            self.complaints += reading.complaints
            self._stories[arn].append((room, reading.story))

    def _items_for(self, user, arn):
        if (user, arn) not in self._items:
            stories = self._stories[arn]
            self._items[user, arn] = [item for room, story in stories for item in items_for(user, room, story)]
        return self._items[user, arn]

    def check(self, session):
        """The complaints about what one session heard."""
        comparison = Comparison(session, self._ledger.deleted)
        heard = by_channel(session.log)
        for arn in heard.keys() - self._stories.keys():
            comparison.complaints.append(f"{session.user} heard of {arn}, which is no room")
        for arn in self._stories:
            self._compare(comparison, arn, heard.get(arn, []), self._items_for(session.user, arn))
        return comparison.complaints

    def _compare(self, comparison, arn, log, items):
        comparison.boundaries(self._ledger.rooms[arn], log)
        whispered = {posted.message_id for _, posted in self._whispers[arn]}
        aloud = [event for event in log if event.payload.get("MessageId") not in whispered]
        comparison.targeted(self._whispers[arn], [
            event for event in log if event.payload.get("MessageId") in whispered])
        if not self._one_node:
            comparison.fleeting(self._fleeting[arn], filter(is_fleeting, aloud))
            items = [item for item in items if not item.fleeting]
            aloud = [event for event in aloud if not is_fleeting(event)]
        comparison.in_order(items, aloud)


def is_fleeting(event):
    return event.payload.get("Persistence") == "NON_PERSISTENT"
