"""The play itself: threads that do at random what decides who hears what, all at once, and write it into the ledger.

What is done is drawn from a seed; how the threads interleave is the machine's. Whatever is done to one user in one
channel is done one at a time, so that the ledger knows the order of his moves; everything else overlaps freely.
"""

import collections
import contextlib
import random
import threading
from dataclasses import replace

from support.http import label
from support.realtime.ledger import Ledger, Move, Posted, Room
from support.realtime.oracle import DELETE, MEMBERSHIPS, members_in
from support.realtime.people import KICKED, Caller, Person, held, token

SLOTS = 4
PEOPLE = 8
THREADS = 6
# Users that are deleted in one play, and those that come new.
DELETED_MAX, ADDED_MAX = 4, 4
# Messages of a channel that are still changed.
RECENT = 30


class Slot:
    """A place for one channel at a time. Its observer makes each of them, the next one when the last is gone."""

    def __init__(self, number, observer):
        self.id = f"room-{number}"
        self.observer = observer
        self.room = None
        self.recent = collections.deque(maxlen=RECENT)
        self.lock = threading.Lock()
        self.pairs = collections.defaultdict(threading.Lock)
        self._busy = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def use(self):
        """The room, if it is open. Its successor is not made while somebody still knocks at it."""
        with self._changed:
            room = self.room if self.room and self.room.died is None else None
            self._busy += room is not None
        try:
            yield room
        finally:
            with self._changed:
                self._busy -= room is not None
                self._changed.notify_all()

    def wait_until_unused(self):
        with self._changed:
            assert self._changed.wait_for(lambda: self._busy == 0, 30), "a call does not end"


class Play:
    """One play on one server or the nodes of one store. `run` plays, then `observers` and `sessions` have the logs."""

    def __init__(self, world, servers, seed):
        self._world = world
        self._servers = servers
        self._rng = random.Random(seed)
        self._seed = seed
        self.ledger = Ledger()
        self._admin = world.make_admin(world.user("admin"))
        self._people = [Person(arn) for arn in world.users(*(f"user-{number}" for number in range(PEOPLE)))]
        observers = [Person(arn) for arn in world.users(*(f"observer-{number}" for number in range(SLOTS)))]
        self._slots = [Slot(number, observer) for number, observer in enumerate(observers)]
        self._left = 0
        self._fence = None
        self._deleted = self._added = 0
        self._count_lock = threading.Lock()
        self._failures = []
        self.done = collections.Counter()

    # Running.

    def run(self, operations):
        self._left = operations
        first = Caller(self._servers, self._rng)
        for slot in self._slots:
            slot.observer.listen(self._server(self._rng))
            slot.observer.listen(self._server(self._rng))
        for person in self._people:
            for _ in range(self._rng.choice([1, 1, 2, 3])):
                person.listen(self._server(self._rng))
        for slot in self._slots:
            self._open_room(first, self._rng, slot)
        threads = [threading.Thread(target=self._act, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self._failures, self._failures
        self._settle(first)
        first.close()

    def _server(self, rng):
        return rng.choice(self._servers)

    def _act(self, number):
        rng = random.Random(f"{self._seed} {number}")
        caller = Caller(self._servers, rng)
        deeds, weights = zip(*DEEDS.items())
        try:
            while self._go_on():
                [deed] = rng.choices(deeds, weights)
                if deed(self, caller, rng):
                    with self._count_lock:
                        self.done[deed.__name__.strip("_")] += 1
        except Exception as failure:  # a thread has nobody to raise it to
            self._failures.append(failure)
        finally:
            caller.close()

    def _go_on(self):
        with self._count_lock:
            self._left -= 1
            return self._left >= 0 and not self._failures

    def _settle(self, caller):
        """Waits until every open socket has heard the last message of each room of its user, and then a fence."""
        for slot in self._slots:
            with slot.use() as room:
                if room:
                    self._wait_for_purges(slot, room)
                    self._post(caller, slot, room, room.observer, {"Content": f"last in {slot.id}"})
        self._fence = self._build_fence(caller)
        last = {room.arn: room.posted[-1] for room in self._open_rooms()}
        for person in self._everybody():
            for listener in person.open_listeners():
                if person.is_going:
                    assert listener.wait_for_end() == KICKED, listener.end
                    continue
                for room in self._open_rooms():
                    if room.kind_of(person.arn):
                        listener.wait_until(has_heard(last[room.arn].message_id), f"the last message of {room.arn}")
                listener.wait_until(lambda log: any(map(self._is_fence, reversed(log))), "the fence")

    def _build_fence(self, caller):
        """A channel that everybody who is left is added to when all is done: on one node nothing comes behind it."""
        fence = self._world.channel(self._admin, name="fence")
        users = [person.arn for person in self._everybody() if not person.is_going]
        answer, _ = caller.call("POST", f"/channels/{label(fence)}/memberships?operation=batch-create",
                                {"MemberArns": users}, bearer=self._admin)
        assert answer["Errors"] == [], answer
        return fence

    def _is_fence(self, event):
        return event.payload["ChannelArn"] == self._fence

    def _wait_for_purges(self, slot, room):
        """What a deleted user was a member of is tidied up by a job; the observer hears of it."""
        for user in self.ledger.deleted:
            if room.kind_of(user):
                for listener in slot.observer.listeners:
                    listener.wait_until(has_heard_the_end_of(user, room.arn), f"the end of {user}")

    def _open_rooms(self):
        return [room for room in self.ledger.all_rooms() if room.died is None]

    def _everybody(self):
        return [*self._people, *(slot.observer for slot in self._slots)]

    def _session(self, listener):
        session = listener.session()
        return replace(session, log=[event for event in session.log if not self._is_fence(event)])

    def observers(self):
        return {slot.observer.arn: self._session(slot.observer.listeners[0]).log for slot in self._slots}

    def sessions(self):
        return [self._session(listener) for person in self._everybody() for listener in person.listeners]

    # What is done. Each returns whether it was done and not refused.

    def _member(self, rng, room):
        """Mostly one of the ordinary members, sometimes anybody."""
        members = [person for person in self._people if room.kind_of(person.arn) == "DEFAULT"]
        pick = rng.choice(members) if members and rng.random() < 0.9 else rng.choice(self._people)
        return pick.arn if rng.random() < 0.85 else room.observer

    def _send(self, caller, rng):
        slot = rng.choice(self._slots)
        with slot.use() as room:
            if not room:
                return False
            sender = self._member(rng, room)
            body = {"Content": f"{rng.getrandbits(64):x}"}
            sort = rng.random()
            if sort < 0.15:
                body["Target"] = [{"MemberArn": self._member(rng, room)}]
            elif sort < 0.35:
                body["Persistence"] = "NON_PERSISTENT"
            if rng.random() < 0.15:
                body["Type"] = "CONTROL"
            return self._post(caller, slot, room, sender, body)

    def _post(self, caller, slot, room, sender, body):
        body = {"Type": "STANDARD", "Persistence": "PERSISTENT", "ClientRequestToken": token()} | body
        answer, window = caller.call("POST", f"/channels/{label(room.arn)}/messages", body, bearer=sender)
        if answer is None:
            return False
        target = body["Target"][0]["MemberArn"] if "Target" in body else None
        fleeting = body["Persistence"] == "NON_PERSISTENT"
        posted = Posted(
            "CREATE_CHANNEL_MESSAGE", answer["MessageId"], body["Content"], sender, target, fleeting, window)
        room.posted.append(posted)
        if not fleeting:
            slot.recent.append(posted)
        return True

    def _change(self, caller, rng, event, method, query, bearer_of, body=None):
        slot = rng.choice(self._slots)
        with slot.use() as room:
            recent = list(slot.recent)
            if not room or not recent:
                return False
            old = rng.choice(recent)
            target = f"/channels/{label(room.arn)}/messages/{old.message_id}{query}"
            answer, window = caller.call(method, target, body, bearer=bearer_of(room, old))
            if answer is None:
                return False
            content = body and body["Content"]
            room.posted.append(Posted(event, old.message_id, content, old.sender, old.target, False, window))
            return True

    def _edit(self, caller, rng):
        body = {"Content": f"{rng.getrandbits(64):x}"}
        return self._change(caller, rng, "UPDATE_CHANNEL_MESSAGE", "PUT", "", lambda _, old: old.sender, body)

    def _redact(self, caller, rng):
        return self._change(caller, rng, "REDACT_CHANNEL_MESSAGE", "POST", "?operation=redact",
                            lambda room, old: old.sender if old.target else room.observer)

    def _delete_message(self, caller, rng):
        return self._change(caller, rng, "DELETE_CHANNEL_MESSAGE", "DELETE", "", lambda *_: self._admin)

    @contextlib.contextmanager
    def _about(self, rng, count=1):
        """A room and users to whom nothing else is done in it meanwhile."""
        slot = rng.choice(self._slots)
        with slot.use() as room:
            users = sorted(person.arn for person in rng.sample(self._people, count))
            with held([slot.pairs[user] for user in users]) as is_held:
                yield room if is_held else None, users

    def _join(self, caller, rng):
        with self._about(rng) as (room, [user]):
            kind = rng.choice(["DEFAULT", "DEFAULT", "HIDDEN"])
            return room and self._moved(room, [user], kind, caller.call(
                "POST", f"/channels/{label(room.arn)}/memberships", {"MemberArn": user, "Type": kind},
                bearer=user if kind == "DEFAULT" and rng.random() < 0.3 else room.observer))

    def _join_in_a_batch(self, caller, rng):
        with self._about(rng, rng.randrange(2, 5)) as (room, users):
            if not room:
                return False
            kind = rng.choice(["DEFAULT", "HIDDEN"])
            answer, window = caller.call(
                "POST", f"/channels/{label(room.arn)}/memberships?operation=batch-create",
                {"MemberArns": users, "Type": kind}, bearer=room.observer)
            if answer is None:
                return False
            came = tuple(member["Arn"] for member in answer["BatchChannelMemberships"]["Members"])
            return bool(came) and self._moved(room, came, kind, (answer, window), batch=came)

    def _leave(self, caller, rng):
        with self._about(rng) as (room, [user]):
            return room and self._moved(room, [user], None, caller.call(
                "DELETE", f"/channels/{label(room.arn)}/memberships/{label(user)}",
                bearer=rng.choice([user, room.observer])))

    def _moved(self, room, users, kind, outcome, batch=()):
        answer, window = outcome
        if answer is None:
            return False
        for user in users:
            room.moves.setdefault(user, []).append(Move(kind, window, batch))
        return True

    def _ban(self, caller, rng):
        with self._about(rng) as (room, [user]):
            if not room:
                return False
            answer, window = caller.call(
                "POST", f"/channels/{label(room.arn)}/bans", {"MemberArn": user}, bearer=room.observer)
            if answer is not None and room.kind_of(user):
                self._moved(room, [user], None, (answer, window))
            return answer is not None

    def _lift_ban(self, caller, rng):
        with self._about(rng) as (room, [user]):
            return room and caller.call(
                "DELETE", f"/channels/{label(room.arn)}/bans/{label(user)}", bearer=room.observer)[0] is not None

    def _promote(self, caller, rng):
        with self._about(rng) as (room, [user]):
            return room and self._changed_role(room, user, True, caller.call(
                "POST", f"/channels/{label(room.arn)}/moderators", {"ChannelModeratorArn": user}, bearer=room.observer))

    def _demote(self, caller, rng):
        with self._about(rng) as (room, [user]):
            return room and self._changed_role(room, user, False, caller.call(
                "DELETE", f"/channels/{label(room.arn)}/moderators/{label(user)}", bearer=room.observer))

    def _changed_role(self, room, user, is_moderator, outcome):
        answer, window = outcome
        if answer is None:
            return False
        room.roles.setdefault(user, []).append((window, is_moderator))
        return True

    def _rename(self, caller, rng):
        slot = rng.choice(self._slots)
        with slot.use() as room:
            if not room:
                return False
            name = f"name {rng.getrandbits(64):x}"
            answer, window = caller.call(
                "PUT", f"/channels/{label(room.arn)}", {"Name": name, "Mode": "RESTRICTED"}, bearer=room.observer)
            if answer is not None:
                room.names[name] = window
            return answer is not None

    def _replace_room(self, caller, rng):
        """Deletes a channel while others are busy with it, and makes the next one, mostly under the same ARN."""
        slot = rng.choice(self._slots)
        with held([slot.lock]) as is_held:
            if not is_held:
                return False
            with slot.use() as room:
                answer, window = caller.call("DELETE", f"/channels/{label(room.arn)}", bearer=room.observer)
                assert answer is not None, "the observer may delete what he moderates"
                room.died = window
            slot.wait_until_unused()
            self._open_room(caller, rng, slot)
            return True

    def _open_room(self, caller, rng, slot):
        founders = [person.arn for person in rng.sample(self._people, len(self._people) // 2) if not person.is_going]
        moderators = founders[:rng.randrange(2)]
        # The successor of a channel under the same ARN may be ordered by another node.
        name = slot.id if len(self._servers) == 1 else f"{slot.id}-{token()}"
        body = {"AppInstanceArn": self._world.arn, "ChannelId": name, "Name": name, "Privacy": "PUBLIC",
                "ClientRequestToken": token(), "MemberArns": founders} | (
                    {"ModeratorArns": moderators} if moderators else {})
        answer, window = caller.call("POST", "/channels", body, bearer=slot.observer.arn)
        if answer is None:
            # One of them was deleted meanwhile.
            return self._open_room(caller, rng, slot)
        observer = slot.observer.arn
        room = Room(answer["ChannelArn"], observer, frozenset([*founders, observer]),
                    frozenset([*moderators, observer]), window)
        self.ledger.add(room)
        slot.recent.clear()
        slot.room = room
        return None

    def _delete_user(self, caller, rng):
        person = rng.choice(self._people)
        with self._count_lock:
            if person.is_going or self._deleted == DELETED_MAX:
                return False
            self._deleted += 1
        with person.lock:
            person.is_going = True
            answer, window = caller.call("DELETE", f"/app-instance-users/{label(person.arn)}")
            assert answer is not None
            self.ledger.deleted[person.arn] = window
        return True

    def _add_user(self, caller, rng):
        with self._count_lock:
            if self._added == ADDED_MAX:
                return False
            self._added += 1
            number = PEOPLE + self._added
        body = {"AppInstanceArn": self._world.arn, "AppInstanceUserId": f"user-{number}", "Name": f"User-{number}",
                "ClientRequestToken": token()}
        answer, _ = caller.call("POST", "/app-instance-users", body)
        person = Person(answer["AppInstanceUserArn"])
        person.listen(self._server(rng))
        self._people.append(person)
        return True

    def _open_socket(self, _, rng):
        rng.choice(self._people).listen(self._server(rng))
        return True

    def _close_socket(self, _, rng):
        rng.choice(self._people).stop_listening(rng)
        return True


# How often each is done, among all.
DEEDS = {
    Play._send: 40, Play._edit: 8, Play._redact: 4, Play._delete_message: 4,
    Play._join: 9, Play._join_in_a_batch: 4, Play._leave: 8, Play._ban: 4, Play._lift_ban: 5,
    Play._promote: 3, Play._demote: 3, Play._rename: 3, Play._replace_room: 0.7,
    Play._delete_user: 0.3, Play._add_user: 0.3, Play._open_socket: 3, Play._close_socket: 3,
}


def has_heard(message_id):
    return lambda log: any(event.payload.get("MessageId") == message_id for event in reversed(log))


def has_heard_the_end_of(user, arn):
    def holds(log):
        for event in reversed(log):
            if event.payload["ChannelArn"] == arn and event.type in MEMBERSHIPS and user in members_in(event):
                return event.type == DELETE
        return False

    return holds
