"""64 senders at once: sockets, ids, timestamps and ListChannelMessages all have one and the same order."""

import threading

import pytest

from support.sender import Sender

pytestmark = pytest.mark.any_engine

SENDERS = 64
MESSAGES_EACH = 12
LISTENERS = 4


@pytest.mark.two_nodes
def test_one_order_everywhere_under_64_concurrent_senders(world):
    senders = [world.user(f"sender-{number}") for number in range(SENDERS)]
    listeners = [world.user(f"listener-{number}") for number in range(LISTENERS)]
    channel = world.channel(senders[0], *senders[1:], *listeners)
    sockets = [world.connect(user) for user in (*listeners, listeners[0])]
    total = SENDERS * MESSAGES_EACH
    gate = threading.Barrier(SENDERS)
    sent = [[] for _ in senders]

    def send(number):
        sender = Sender(world.nodes[number % len(world.nodes)], channel, senders[number])
        gate.wait()
        for count in range(MESSAGES_EACH):
            sent[number].append(sender.id_of(f"{number}:{count}"))
        sender.close()

    heard = [[] for _ in sockets]

    def listen(number):
        while len(heard[number]) < total:
            heard[number].append(sockets[number].next())

    threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    threads += [threading.Thread(target=listen, args=(number,)) for number in range(len(sockets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()

    listed = world.messages(channel, senders[0], SortOrder="ASCENDING")
    ids = [message["MessageId"] for message in listed]
    assert len(ids) == total
    assert sorted(sum(sent, [])) == ids, "what was acknowledged is what is listed, and ids increase"
    for events in heard:
        assert [event.payload["MessageId"] for event in events] == ids
        times = [event.payload["CreatedTimestamp"] for event in events]
        assert times == sorted(times)
    times = [message["CreatedTimestamp"] for message in listed]
    assert times == sorted(times)
    assert [message["MessageId"] for message in world.messages(channel, senders[0])] == ids[::-1]
    assert all(own == sorted(own) for own in sent), "each sender's messages keep the order of sending"


def test_timestamps_of_one_channel_strictly_increase(world, alice):
    """Within a second of the clock no two messages share a millisecond, so every client sorts alike."""
    channel = world.channel(alice)
    for number in range(50):
        world.send(channel, alice, str(number))
    times = [message["CreatedTimestamp"] for message in world.messages(channel, alice, SortOrder="ASCENDING")]
    assert times == sorted(set(times))
    [newest] = world.messaging.list_channel_messages(
        ChannelArn=channel, ChimeBearer=alice, MaxResults=1)["ChannelMessages"]
    assert newest["Content"] == "49"
