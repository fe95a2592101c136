"""ClientRequestToken: a repeat answers the first result and changes nothing, other parameters conflict."""

import threading
import uuid

import pytest

from support import clients
from support.clients import everything, refusal
from support.http import build, exchange, label
from support.sigv4 import sign
from support.world import Fence, World

pytestmark = pytest.mark.any_engine


def test_a_repeated_create_of_an_app_instance_answers_the_same_arn(server):
    identity = clients.identity(server)
    arguments = {"Name": "Once", "Metadata": "m", "ClientRequestToken": str(uuid.uuid4())}
    first = identity.create_app_instance(**arguments)["AppInstanceArn"]
    assert identity.create_app_instance(**arguments)["AppInstanceArn"] == first
    with refusal("Conflict"):
        identity.create_app_instance(**arguments | {"Name": "Twice"})
    listed = everything(identity.list_app_instances, "AppInstances")
    assert [item["Name"] for item in listed if item["AppInstanceArn"] == first] == ["Once"]
    assert "Twice" not in [item["Name"] for item in listed]
    identity.delete_app_instance(AppInstanceArn=first)


def test_a_repeated_create_of_a_user_answers_the_same_arn(world):
    arguments = {"AppInstanceArn": world.arn, "AppInstanceUserId": "alice", "Name": "Alice",
                 "ClientRequestToken": "token-1"}
    first = world.identity.create_app_instance_user(**arguments)
    again = world.identity.create_app_instance_user(**arguments)
    assert again["AppInstanceUserArn"] == first["AppInstanceUserArn"]
    assert again["ResponseMetadata"]["HTTPStatusCode"] == 201
    for other in ({"Name": "Other"}, {"AppInstanceUserId": "bob"}, {"Metadata": "m"}):
        with refusal("Conflict"):
            world.identity.create_app_instance_user(**arguments | other)


@pytest.mark.two_nodes
def test_a_repeated_create_of_a_channel_answers_the_same_arn_and_no_second_event(world, alice, bob):
    fence = Fence(world, alice, bob)
    sockets = [world.connect(alice), world.connect(bob)]
    arguments = {"AppInstanceArn": world.arn, "Name": "Room", "ClientRequestToken": "token-1",
                 "MemberArns": [bob], "ChimeBearer": alice}
    first = world.messaging.create_channel(**arguments)["ChannelArn"]
    heard = [[event.type for event in events] for events in fence.before(*sockets)]
    assert all("CREATE_CHANNEL_MEMBERSHIP" in types for types in heard)
    assert world.messaging.create_channel(**arguments)["ChannelArn"] == first
    with refusal("Conflict"):
        world.messaging.create_channel(**arguments | {"Name": "Other"})
    assert fence.before(*sockets) == [[], []]
    # The token belongs to the one who used it.
    assert world.messaging.create_channel(**arguments | {"ChimeBearer": bob, "MemberArns": [alice]})[
        "ChannelArn"] != first


@pytest.mark.two_nodes
def test_a_repeated_send_answers_the_same_id_and_no_second_event(world, alice, bob):
    channel = world.channel(alice, bob)
    fence = Fence(world, bob)
    socket = world.connect(bob)
    first = world.send(channel, alice, "once", ClientRequestToken="token-1")
    assert world.send(channel, alice, "once", ClientRequestToken="token-1") == first
    for other in ({"content": "twice"}, {"Metadata": "m"}, {"kind": "CONTROL"}):
        with refusal("Conflict"):
            world.send(channel, alice, **{"content": "once", "ClientRequestToken": "token-1"} | other)
    [events] = fence.before(socket)
    assert [event.payload["MessageId"] for event in events] == [first]
    assert world.contents(channel, alice) == ["once"]


def test_a_send_token_belongs_to_its_sender_and_its_channel(world, alice, bob):
    channel, other = world.channel(alice, bob), world.channel(alice, bob)
    ids = {world.send(channel, alice, "x", ClientRequestToken="token-1"),
           world.send(channel, bob, "x", ClientRequestToken="token-1"),
           world.send(other, alice, "y", ClientRequestToken="token-1")}
    assert len(ids) == 3


def test_tokens_that_differ_in_one_letter_are_two(world, alice):
    channel = world.channel(alice)
    assert world.send(channel, alice, "x", ClientRequestToken="token-a") != world.send(
        channel, alice, "x", ClientRequestToken="token-A")


def test_only_success_is_remembered(world, alice, bob):
    channel = world.channel(alice)
    with refusal("Forbidden"):
        world.send(channel, bob, "first try", ClientRequestToken="token-1")
    world.join(channel, alice, bob)
    world.send(channel, bob, "second try", ClientRequestToken="token-1")
    assert world.contents(channel, bob) == ["second try"]


def test_a_repeat_answers_the_first_result_though_the_sender_has_left_since(world, alice, bob):
    channel = world.channel(alice, bob)
    first = world.send(channel, bob, "once", ClientRequestToken="token-1")
    world.leave(channel, alice, bob)
    assert world.send(channel, bob, "once", ClientRequestToken="token-1") == first
    with refusal("Forbidden"):
        world.send(channel, bob, "once", ClientRequestToken="token-2")


def test_a_repeat_is_judged_before_the_state(world, alice):
    arguments = {"AppInstanceArn": world.arn, "Name": "Room", "ChannelId": "general",
                 "ClientRequestToken": "token-1", "ChimeBearer": alice}
    first = world.messaging.create_channel(**arguments)["ChannelArn"]
    assert world.messaging.create_channel(**arguments)["ChannelArn"] == first
    with refusal("Conflict"):
        world.messaging.create_channel(**arguments | {"ClientRequestToken": "token-2"})


def test_twins_that_race_take_effect_once(server, world, alice):
    channel = world.channel(alice)
    body = {"Content": "race", "Type": "STANDARD", "Persistence": "PERSISTENT", "ClientRequestToken": "twin"}
    request = sign(build(server, "POST", f"/channels/{label(channel)}/messages", body, bearer=alice), server.key)
    start = threading.Barrier(8)
    answers = []

    def send():
        start.wait()
        answers.append(exchange(server, request))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json()["MessageId"] for answer in answers}) == 1
    assert world.contents(channel, alice) == ["race"]


def test_a_token_survives_a_restart(start):
    server = start()
    world = World(server)
    alice = world.user("alice")
    channel = world.channel(alice)
    first = world.send(channel, alice, "once", ClientRequestToken="token-1")
    server.kill()
    server.start()
    world.reconnect()
    assert world.send(channel, alice, "once", ClientRequestToken="token-1") == first
    assert world.contents(channel, alice) == ["once"]
