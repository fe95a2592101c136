"""What happens at the same moment: races for a name, a membership, a last place; joins beside connects."""

import threading
import uuid
from functools import partial

import botocore.exceptions
import pytest

from support.clients import refusal
from support.sender import Sender
from support.sockets import open_socket

pytestmark = pytest.mark.any_engine

RACERS = 8


class Refused(str):
    """The exception class by which a call was refused."""


def race(calls):
    """Runs the calls at once and returns for each its answer or how it was refused."""
    gate = threading.Barrier(len(calls))
    outcomes = [None] * len(calls)

    def run(number, call):
        gate.wait()
        try:
            outcomes[number] = call()
        except botocore.exceptions.ClientError as error:
            outcomes[number] = Refused(type(error).__name__)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return outcomes


def refusals(outcomes):
    return sorted(outcome for outcome in outcomes if isinstance(outcome, Refused))


def test_of_many_creates_of_one_user_id_one_succeeds(world):
    outcomes = race([lambda number=number: world.identity.create_app_instance_user(
        AppInstanceArn=world.arn, AppInstanceUserId="alice", Name=f"Alice {number}",
        ClientRequestToken=str(uuid.uuid4())) for number in range(RACERS)])
    assert refusals(outcomes) == ["ConflictException"] * (RACERS - 1)
    [winner] = [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Refused)]
    user = world.identity.describe_app_instance_user(AppInstanceUserArn=f"{world.arn}/user/alice")["AppInstanceUser"]
    assert user["Name"] == f"Alice {winner}"


def test_of_many_creates_of_one_channel_id_one_succeeds(world, alice):
    outcomes = race([lambda number=number: world.messaging.create_channel(
        AppInstanceArn=world.arn, ChannelId="general", Name=f"Room {number}", ChimeBearer=alice,
        ClientRequestToken=str(uuid.uuid4())) for number in range(RACERS)])
    assert refusals(outcomes) == ["ConflictException"] * (RACERS - 1)


@pytest.mark.two_nodes
def test_of_many_joins_of_one_member_one_succeeds_and_is_told_once(world, alice, bob):
    channel = world.channel(alice)
    socket = world.connect(alice)
    outcomes = race([lambda: world.join(channel, alice, bob) for _ in range(RACERS)])
    assert refusals(outcomes) == ["ConflictException"] * (RACERS - 1)
    world.send(channel, alice, "end")
    events = socket.until(lambda event: event.type == "CREATE_CHANNEL_MESSAGE")
    assert [event.type for event in events] == ["CREATE_CHANNEL_MEMBERSHIP", "CREATE_CHANNEL_MESSAGE"]


@pytest.mark.two_nodes
def test_of_many_deletes_of_one_channel_one_succeeds(world, alice):
    channel = world.channel(alice)
    outcomes = race([lambda: world.messaging.delete_channel(ChannelArn=channel, ChimeBearer=alice)
                     for _ in range(RACERS)])
    assert refusals(outcomes) == ["ForbiddenException"] * (RACERS - 1)


@pytest.mark.two_nodes
def test_the_last_place_of_a_quota_is_given_once(world):
    users = [world.user(f"user-{number}") for number in range(99 + RACERS)]
    for user in users[:99]:
        world.make_admin(user)
    outcomes = race([lambda user=user: world.make_admin(user) for user in users[99:]])
    assert refusals(outcomes) == ["ResourceLimitExceededException"] * (RACERS - 1)


@pytest.mark.two_nodes
def test_a_member_who_is_removed_while_sending_gets_nothing_in_afterwards(world, alice, bob):
    channel = world.channel(alice, bob)
    socket, node = world.connect(alice), world.server
    acknowledged, answers = [], []
    under_way = threading.Event()

    def send():
        sender = Sender(node, channel, bob)
        for number in range(10_000):
            answer = sender.send(str(number))
            answers.append(answer.status)
            if answer.status != 201:
                break
            acknowledged.append(answer.json()["MessageId"])
            if number == 20:
                under_way.set()
        sender.close()

    thread = threading.Thread(target=send)
    thread.start()
    assert under_way.wait(20)
    world.leave(channel, alice, bob)
    with refusal("Forbidden"):
        world.send(channel, bob)
    thread.join(20)
    assert answers[-1] == 403 and set(answers[:-1]) == {201}
    events = socket.until(lambda event: event.type == "DELETE_CHANNEL_MEMBERSHIP")
    assert [event.payload["MessageId"] for event in events[:-1]] == acknowledged
    listed = [message["MessageId"] for message in world.messages(channel, alice, SortOrder="ASCENDING")]
    assert listed == acknowledged
    world.send(channel, alice, "after")
    assert socket.next().payload["Content"] == "after"


def connecting(world, user, number):
    """Connects, with the same session each time, to one of the nodes by turns."""
    return partial(open_socket, world.nodes[number % len(world.nodes)], user, session_id="one-session")


@pytest.mark.two_nodes
def test_a_join_beside_a_connect_is_never_missed(world, alice, bob):
    for number in range(30):
        channel = world.channel(alice, ChannelId=f"room-{number}")
        world.settle()
        socket = race([partial(world.join, channel, alice, bob), connecting(world, bob, number)])[1]
        message_id = world.send(channel, alice, "welcome")
        events = socket.until(lambda event: event.type == "CREATE_CHANNEL_MESSAGE")
        assert events[-1].payload["MessageId"] == message_id
        assert len(events) <= 2, "at most his own join came before"
        world.leave(channel, alice, bob)
        socket.close()


@pytest.mark.two_nodes
def test_a_removal_beside_a_connect_is_never_overheard(world, alice, bob):
    for number in range(30):
        channel = world.channel(alice, bob, ChannelId=f"room-{number}")
        fence = world.channel(alice, bob)
        world.settle()
        socket = race([partial(world.leave, channel, alice, bob), connecting(world, bob, number)])[1]
        world.send(channel, alice, "not for bob")
        world.send(fence, alice, "fence")
        events = socket.until(lambda event: event.payload.get("Content") == "fence")
        assert [event.type for event in events[:-1]] in ([], ["DELETE_CHANNEL_MEMBERSHIP"])
        world.leave(fence, alice, bob)
        socket.close()


@pytest.mark.two_nodes
def test_sockets_that_open_under_load_miss_nothing_and_hear_nothing_twice(world, alice, bob):
    channel = world.channel(alice, bob)
    here, there = world.sides()
    stop = threading.Event()
    sent = []

    def send():
        sender = Sender(there.server, channel, alice)
        while not stop.is_set():
            sent.append(sender.id_of(f"message {len(sent)}"))
        sender.close()

    world.settle()
    thread = threading.Thread(target=send)
    thread.start()
    sockets = []
    for _ in range(9):
        socket = open_socket(here.server, bob)
        sockets.append((len(sent), socket))
    stop.set()
    thread.join(20)
    sent.append(world.send(channel, alice, "the last"))
    for known, socket in sockets:
        events = socket.until(lambda event: event.payload["MessageId"] == sent[-1])
        heard = [event.payload["MessageId"] for event in events]
        assert heard == sent[-len(heard):], "an unbroken run up to the end, nothing twice"
        assert len(heard) >= len(sent) - known - 1, "everything that was sent after SESSION_ESTABLISHED"
        socket.close()
