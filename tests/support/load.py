"""Senders that write without pause, on one node or several, and know what they were told.

An attempt whose answer never came, or that was refused because the store was away, is repeated with its token.
So in the end every attempt is acknowledged, whatever a crash left of it, and is to be found exactly once.
"""

import threading
import time

from support.sender import Sender

# Far beyond what a slow and busy machine needs.
STUCK_S = 90


class Load:
    """One sender for each user, in the channels by turns; `servers` names the node of each.

    A sender rests for `rest_s` behind each message.

    They run inside of `with`. Its end, or `end`, lets every attempt come to its own; after a failure they just stop.
    """

    def __init__(self, servers, channels, users, rest_s=0):
        self._servers = servers
        self._rest_s = rest_s
        self.channels = channels
        self._up = threading.Event()
        self._up.set()
        self._stop = False
        self._gave_up = False
        self._changed = threading.Condition()
        # What each sender was told, in its order: pairs of content and id.
        self.acknowledged = [[] for _ in users]
        self.failures = []
        # Attempts that got no answer, and those that were refused for the moment.
        self.lost = 0
        self.refused = 0
        # The longest that any sender waited for an answer.
        self.slowest_s = 0.0
        self._threads = [
            threading.Thread(target=self._run, args=(number, user)) for number, user in enumerate(users)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, failure, *_):
        self._gave_up = failure is not None
        self.end()

    def _run(self, number, user):
        try:
            self._send(number, user)
        except AssertionError as failure:
            with self._changed:
                self.failures.append(failure)
                self._changed.notify_all()

    def _send(self, number, user):
        server = self._servers[number % len(self._servers)]
        sender = Sender(server, self._channel_of(number), user)
        while not self._stop:
            attempt = len(self.acknowledged[number])
            content = f"{number}:{attempt}"
            message_id = self._insist(sender, content, f"{number}-{attempt}-token")
            if message_id is None:
                break
            with self._changed:
                self.acknowledged[number].append((content, message_id))
                self._changed.notify_all()
            time.sleep(self._rest_s)
        sender.close()

    def _channel_of(self, number):
        return self.channels[number % len(self.channels)]

    def _insist(self, sender, content, token):
        while not self._gave_up:
            self._up.wait()
            begun = time.monotonic()
            try:
                answer = sender.send(content, token)
            except (OSError, ValueError, IndexError):
                with self._changed:
                    self.lost += 1
                continue
            with self._changed:
                self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
            if answer.status == 201:
                return answer.json()["MessageId"]
            assert (answer.status, answer.error) == (503, "ServiceUnavailableException"), answer
            with self._changed:
                self.refused += 1
        return None

    def let_through(self):
        self._up.set()

    def hold(self):
        self._up.clear()

    def _count(self, numbers):
        return sum(len(self.acknowledged[number]) for number in numbers)

    def wait_for(self, more, *, of=None, within_s=STUCK_S):
        """Waits until `more` further messages were acknowledged, of all senders or those whose numbers are given."""
        numbers = range(len(self.acknowledged)) if of is None else of
        with self._changed:
            goal = self._count(numbers) + more
            done = self._changed.wait_for(lambda: self._count(numbers) >= goal or self.failures, within_s)
        assert not self.failures, self.failures
        assert done, f"the senders {numbers} are stuck"

    def end(self):
        """Lets every attempt come to its end."""
        self._stop = True
        self._up.set()
        for thread in self._threads:
            thread.join(STUCK_S)
            assert not thread.is_alive()
        assert self._gave_up or not self.failures, self.failures

    def check(self, world, reader, *others):
        """Every acknowledged message is there once, under its id, in its sender's order, and nothing else is.

        `others` hold what further senders were told, the first one in the first channel, and so on in turns.
        """
        senders = [*enumerate(self.acknowledged), *enumerate(others)]
        for index, channel in enumerate(self.channels):
            check_channel(world, channel, reader, [
                sent for number, sent in senders if number % len(self.channels) == index])


def check_channel(world, channel, reader, senders):
    listed = world.messages(channel, reader, SortOrder="ASCENDING")
    ids = [message["MessageId"] for message in listed]
    assert ids == sorted(set(ids)), "ids strictly increase in the order of the list"
    times = [message["CreatedTimestamp"] for message in listed]
    assert times == sorted(times)
    stored = {message["Content"]: message["MessageId"] for message in listed}
    assert len(stored) == len(listed), "a message is there twice"
    acknowledged = [message for sent in senders for message in sent]
    assert stored == dict(acknowledged), "what is stored is what was acknowledged, under the ids that were told"
    for sent in senders:
        own = [message_id for _, message_id in sent]
        assert own == sorted(own), "a sender's later message has a later id"
