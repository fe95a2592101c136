"""A session that comes back is told what it missed: docs/realtime.md, in the order of that page."""

import base64
import json
import random
import re
import subprocess
import uuid
from pathlib import Path

import pytest

from support.cluster import survivor
from support.server import ROOT, clean_environment
from support.sockets import Socket, connect_target
from support.world import World
from test_dev import post, start_dev

PAGE = (ROOT / "docs" / "realtime.md").read_text(encoding="utf-8")
OVERLAP_MS = 5_000
CHANNELS_MAX = 1_000
MESSAGE_CHANGES = ("UPDATE_CHANNEL_MESSAGE", "REDACT_CHANNEL_MESSAGE")

any_engine = pytest.mark.any_engine
two_nodes = pytest.mark.two_nodes


def established_id(server, user, **options):
    """Opens a socket; returns it with the id of its SESSION_ESTABLISHED."""
    socket = Socket.upgrade(server, connect_target(server, user, **options))
    first = socket.next()
    assert first.type == "SESSION_ESTABLISHED"
    return socket, first.id


def resume(server, user, event_id, **parameters):
    """Comes back; returns the socket, the events that were missed and the frame behind them."""
    parameters = {"resume-after": event_id} | parameters
    socket, none = established_id(server, user, parameters=parameters)
    assert none is None, "who is still to be told of the past has not reached the present"
    *missed, end = socket.until(lambda event: event.type.startswith("RESUME_"))
    assert (end.message_type, len(end.id)) == ("SYSTEM", 24)
    return socket, missed, end


def milliseconds(event_id):
    """The time in an id, which is opaque to clients."""
    return int.from_bytes(base64.urlsafe_b64decode(event_id)[:6], "big")


def contents(events):
    return [event.payload.get("Content") for event in events if event.type == "CREATE_CHANNEL_MESSAGE"]


@any_engine
@two_nodes
def test_who_comes_back_is_told_what_was_said_and_hears_the_present_behind_it(world, alice, bob):
    channel = world.channel(alice, bob)
    socket, event_id = established_id(world.server, bob)
    world.send(channel, alice, "heard")
    assert contents([socket.next()]) == ["heard"]
    socket.close()
    world.send(channel, alice, "missed")
    world.send(channel, alice, "never kept", persistence="NON_PERSISTENT")
    socket, missed, end = resume(world.server, bob, event_id)
    # The membership is not older than the overlap.
    assert contents(missed)[-2:] == ["heard", "missed"]
    assert end.type == "RESUME_COMPLETE"
    assert end.payload == {"EventCount": len(missed)}
    world.send(channel, alice, "present")
    assert contents([socket.next()]) == ["present"]
    socket.close()
    socket, missed, _ = resume(world.server, bob, missed[-1].id, **{"prefetch-on": "connect"})
    assert contents(missed)[-1] == "present"
    assert socket.next().type == "CHANNEL_DETAILS"
    socket.close()


@any_engine
@two_nodes
def test_an_event_has_one_id_for_everybody_and_each_time(world, alice, bob):
    channel = world.channel(alice, bob)
    sockets = [world.connect(user) for user in (alice, bob, bob)]
    _, start = established_id(world.server, bob)
    world.send(channel, alice, "first")
    world.send(channel, alice, "second")
    first, *others = [[socket.next().id, socket.next().id] for socket in sockets]
    assert others == [first, first]
    assert len(set(first)) == 2
    socket, missed, _ = resume(world.server, bob, start)
    assert [event.id for event in missed][-2:] == first
    socket.close()


@any_engine
@pytest.mark.parametrize("event_id", ["", "x", "A" * 24, "A" * 5_000, "%00", "\N{BELL}" * 8])
@two_nodes
def test_an_id_that_is_none_is_told_so_and_the_present_goes_on(world, alice, event_id):
    channel = world.channel(alice)
    socket, missed, end = resume(world.server, alice, event_id)
    assert (missed, end.type, end.payload) == ([], "RESUME_TOO_OLD", {"Reason": "UNKNOWN_ID"})
    world.send(channel, alice, "present")
    assert contents([socket.next()]) == ["present"]
    socket.close()


@any_engine
@two_nodes
def test_a_user_in_more_than_a_thousand_channels_is_refused(world, alice):
    _, event_id = established_id(world.server, alice)
    for _ in range(CHANNELS_MAX):
        world.channel(alice)
    socket, missed, end = resume(world.server, alice, event_id)
    assert len(missed) == CHANNELS_MAX and end.type == "RESUME_COMPLETE"
    socket.close()
    world.channel(alice)
    socket, missed, end = resume(world.server, alice, event_id)
    assert (missed, end.payload) == ([], {"Reason": "TOO_MANY_CHANNELS"})
    socket.close()


@pytest.fixture
def dev(tmp_path):
    server = start_dev("--resume-window", "2m", "--tls-listen", "off", cwd=tmp_path)
    yield server
    server.close()


def test_a_gap_that_is_longer_than_the_window_is_refused(dev):
    server = dev
    world = World(server)
    alice = world.user("alice")
    channel = world.channel(alice)
    socket, event_id = established_id(server, alice)
    socket.close()
    post(server, "/clock", advance="110s")
    world.send(channel, alice, "within")
    socket, missed, _ = resume(server, alice, event_id)
    assert contents(missed) == ["within"]
    socket.close()
    post(server, "/clock", advance="15s")
    socket, missed, end = resume(server, alice, event_id)
    assert (missed, end.type, end.payload) == ([], "RESUME_TOO_OLD", {"Reason": "WINDOW"})
    socket.close()
    # The frame that refuses has an id, from which the client goes on.
    socket, missed, _ = resume(server, alice, end.id)
    assert missed == []
    socket.close()


@any_engine
@two_nodes
def test_what_was_acknowledged_before_kill_9_is_told_after_it(start_world):
    """By the other node at once, while the one that is gone may not have told it."""
    world = start_world()
    here, there = world.sides()
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob)
    world.settle()
    _, event_id = established_id(here.server, bob)
    said = [f"message {number}" for number in range(50)]
    for content in said:
        here.send(channel, alice, content)
    here.server.kill()
    now = survivor(here, there)
    socket, missed, _ = resume(now.server, bob, event_id)
    assert contents(missed) == said
    now.send(channel, alice, "and on")
    assert contents(socket.until(lambda event: event.payload.get("Content") == "and on"))[-1] == "and on"
    socket.close()


class Listener:
    """A user with two sockets: one that stays and hears everything, and one that is cut and comes back, to any node."""

    def __init__(self, world, user):
        self.world, self.user = world, user
        self.heard = []  # by the socket that stays
        self.told = {}  # by the other, of each id once
        self.excused = set()
        self.missed_count = 0
        self.witness, start = established_id(world.server, user)
        self.begun_ms = milliseconds(start)
        self.flaky, self.last = established_id(world.server, user)

    def catch_up(self, mark):
        """Lets the witness hear everything up to a message that only marks the place."""
        self.heard += [event for event in self.witness.until(lambda event: is_mark(event, mark)) if event.id]

    def cut(self, chance):
        """Reads some of what is there, perhaps all, and breaks the connection in the middle of the rest."""
        news = [event for event in self.heard if event.id not in self.told and event.id not in self.excused]
        for _ in range(chance.randint(0, len(news))):
            self._take(self.flaky.next())
        self.flaky.close()

    def _take(self, event):
        if event.id:
            self.told[event.id] = event
            self.last = event.id

    def come_back(self, channels, deleted):
        """Checks what is told against what the witness heard. `channels` are those that he is in now."""
        self.flaky, missed, end = resume(self.world.server, self.user, self.last)
        assert end.type == "RESUME_COMPLETE"
        self.missed_count += sum(event.id not in self.told for event in missed)
        place = {event.id: number for number, event in enumerate(self.heard)}
        ids = [event.id for event in missed]
        assert len(set(ids)) == len(ids), "nothing twice"
        assert all(milliseconds(event_id) >= milliseconds(self.last) - OVERLAP_MS for event_id in ids)
        # The overlap reaches back behind the witness's own beginning.
        missed = [event for event in missed if event.id in place or milliseconds(event.id) > self.begun_ms]
        assert {event.id for event in missed} <= set(place), "nothing that he would not have heard"
        last = {}
        for event in missed:
            channel = event.payload["ChannelArn"]
            assert channel in channels or self._is_own_end(event), f"he may not read {event}"
            assert last.get(channel, -1) < place[event.id], "in the order of the channel"
            last[channel] = place[event.id]
            if event.payload.get("Redacted"):
                assert "Content" not in event.payload
            assert event.payload.get("MessageId") not in deleted or event.type == "DELETE_CHANNEL_MESSAGE"
        for event in self.heard:
            if event.id in self.told or event.id in ids or event.id in self.excused:
                continue
            is_gone = event.payload.get("MessageId") in deleted and event.type != "DELETE_CHANNEL_MESSAGE"
            is_his = event.payload["ChannelArn"] in channels or self._is_own_end(event)
            assert is_gone or not is_his, f"missed: {event}"
            self.excused.add(event.id)
        for event in [*missed, end]:
            self._take(event)

    def _is_own_end(self, event):
        is_own = event.type == "DELETE_CHANNEL_MEMBERSHIP" and event.payload["Member"]["Arn"] == self.user
        return is_own or event.type == "DELETE_CHANNEL"


def is_mark(event, mark):
    return event.type == "CREATE_CHANNEL_MESSAGE" and event.payload.get("Content") == mark


class Play:
    """Channels in which anything happens. Alice, an admin, made them and stays in them."""

    def __init__(self, world, seed):
        self.world, self.chance = world, random.Random(seed)
        self.alice, *self.users = world.users("alice", "bob", "carol", "dave")
        world.make_admin(self.alice)
        self.members, self.messages, self.deleted = {}, [], set()
        self.fence = world.channel(self.alice, *self.users, name="fence")
        for _ in range(3):
            self.create()

    def create(self):
        self.members[self.world.channel(self.alice)] = {self.alice}

    def mark(self):
        mark = uuid.uuid4().hex
        self.world.settle()
        self.world.send(self.fence, self.alice, mark)
        return mark

    def channels_of(self, user):
        return {self.fence} | {channel for channel, members in self.members.items() if user in members}

    def step(self):
        kind = self.chance.choices(
            [self.send, self.change, self.membership, self.update, self.replace], [8, 4, 4, 1, 1])[0]
        kind(self.chance.choice(sorted(self.members)))

    def send(self, channel):
        members = sorted(self.members[channel])
        sender, target = self.chance.choice(members), self.chance.choice(members)
        extra = self.chance.choice([{}, {}, {}, {"Target": [{"MemberArn": target}]}, {"persistence": "NON_PERSISTENT"}])
        message = self.world.send(channel, sender, f"said {self.chance.random()}", **extra)
        if "persistence" not in extra:
            self.messages.append((channel, sender, message))

    def change(self, _channel):
        if not self.messages:
            return
        channel, sender, message = self.messages.pop(self.chance.randrange(len(self.messages)))
        if channel not in self.members or sender not in self.members[channel]:
            return
        named = {"ChannelArn": channel, "MessageId": message}
        kind = self.chance.randrange(3)
        if kind == 0:
            self.world.messaging.update_channel_message(**named, Content="edited", ChimeBearer=sender)
            self.messages.append((channel, sender, message))
        elif kind == 1:
            self.world.messaging.redact_channel_message(**named, ChimeBearer=sender)
        else:
            self.world.messaging.delete_channel_message(**named, ChimeBearer=self.alice)
            self.deleted.add(message)

    def membership(self, channel):
        user = self.chance.choice(self.users)
        if user in self.members[channel]:
            self.world.leave(channel, self.chance.choice([self.alice, user]), user)
            self.members[channel].discard(user)
        else:
            self.world.join(channel, self.alice, user)
            self.members[channel].add(user)

    def update(self, channel):
        self.world.messaging.update_channel(
            ChannelArn=channel, Name=f"Name {self.chance.random()}", Mode="RESTRICTED", ChimeBearer=self.alice)

    def replace(self, channel):
        self.world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=self.alice)
        # Its messages went with it.
        self.deleted |= {message for other, _, message in self.messages if other == channel}
        self.messages = [one for one in self.messages if one[0] != channel]
        del self.members[channel]
        self.create()


@any_engine
@pytest.mark.parametrize("seed", [1, 2])
@two_nodes
def test_clients_that_are_cut_at_random_miss_nothing_and_hear_nothing_that_is_not_theirs(world, seed):
    play = Play(world, seed)
    listeners = [Listener(world, user) for user in play.users]
    for _ in range(25):
        for _ in range(play.chance.randint(0, 6)):
            play.step()
        mark = play.mark()
        for listener in listeners:
            listener.catch_up(mark)
        away = play.chance.sample(listeners, play.chance.randint(1, len(listeners)))
        for listener in away:
            listener.cut(play.chance)
        for _ in range(play.chance.randint(0, 6)):
            play.step()
        mark = play.mark()
        for listener in listeners:
            listener.catch_up(mark)
        for listener in away:
            listener.come_back(play.channels_of(listener.user), play.deleted)
    assert sum(listener.missed_count for listener in listeners) > 100, "the play has to cut something off"
    for listener in listeners:
        listener.flaky.close()
        listener.witness.close()


@any_engine
@two_nodes
def test_the_example_of_the_page_goes_on_where_it_was_cut(start_world, tmp_path):
    """On the other node, if there is one."""
    world = start_world()
    here, there = world.sides()
    alice = world.user("alice")
    channel = world.channel(alice)
    [code] = re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "listen.mjs").write_text(code, encoding="utf-8")
    harness = Path(__file__).parent / "js" / "resume.mjs"
    process = subprocess.Popen(["node", harness, tmp_path / "listen.mjs"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, env=clean_environment())
    try:
        def line(kind):
            while True:
                said = json.loads(process.stdout.readline())
                if kind in said:
                    return said[kind]

        def sign(server):
            parameters = line("sign")
            target = connect_target(server, alice, parameters=parameters)
            process.stdin.write(f"ws://{server.authority}{target}\n")
            process.stdin.flush()
            return parameters

        world.settle()
        assert sign(here.server) == {}
        assert line("heard") == "SESSION_ESTABLISHED"
        world.send(channel, alice, "one")
        assert line("content") == "one"
        here.server.kill()
        now = survivor(here, there)
        now.send(channel, alice, "two")
        assert re.fullmatch(r"[\w-]{24}", sign(now.server)["resume-after"])
        while line("content") != "two":
            pass
        assert line("heard") == "RESUME_COMPLETE"
    finally:
        process.kill()
        process.communicate()
