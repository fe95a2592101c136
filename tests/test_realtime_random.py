"""Everything that decides who hears what, at random and all at once: every socket hears what it should, and only that.

`support/realtime` has the play and the rules. A failure names the seed: CAMPANILE_PLAY_SEED plays the same deeds again
(the threads interleave as they like), CAMPANILE_PLAY_OPERATIONS makes it longer or shorter.
"""

import os
import random
from dataclasses import dataclass, replace

import pytest

from support.realtime import oracle
from support.realtime.play import DEEDS, Play
from support.sockets import parse
from support.world import World

OPERATIONS = int(os.environ.get("CAMPANILE_PLAY_OPERATIONS", "2000"))
SEED = int(os.environ.get("CAMPANILE_PLAY_SEED", random.SystemRandom().randrange(1 << 32)))
# Logs that are broken in each way, to show that it is noticed.
BROKEN = 8

pytestmark = [pytest.mark.any_engine, pytest.mark.timeout(60 + OPERATIONS // 10)]


@dataclass
class Played:
    """What a play has left."""

    ledger: object
    observers: dict
    sessions: list
    done: dict
    rules: oracle.Rules


@pytest.fixture(scope="module")
def played(server):
    print(f"CAMPANILE_PLAY_SEED={SEED}")
    world = World(server)
    play = Play(world, [server], SEED)
    play.run(OPERATIONS)
    observers = play.observers()
    rules = oracle.Rules(play.ledger, observers, one_node=True)
    yield Played(play.ledger, observers, play.sessions(), play.done, rules)
    world.close()


@pytest.fixture(scope="module")
def rules_for_several(played):
    """What is asked of several nodes."""
    return oracle.Rules(played.ledger, played.observers, one_node=False)


def test_the_observers_hear_all_that_was_done_once_and_in_an_order_that_it_can_have_had(played):
    assert played.rules.complaints == [], SEED


def test_every_socket_hears_exactly_what_the_rules_say(played):
    complaints = [complaint for session in played.sessions for complaint in played.rules.check(session)]
    assert complaints == [], SEED


def test_what_one_node_does_keeps_to_the_rules_for_several_too(played, rules_for_several):
    """They leave the place of a NON_PERSISTENT message open, and ask for nothing that those for one do not ask for."""
    complaints = [complaint for session in played.sessions for complaint in rules_for_several.check(session)]
    assert complaints == [], SEED


def test_the_play_has_done_everything_and_was_heard(played):
    """A play that does nothing, or whose sockets hear nothing, shows nothing."""
    assert set(played.done) == {deed.__name__.strip("_") for deed in DEEDS}, played.done
    kinds = {event.type for session in played.sessions for event in session.log}
    assert kinds >= {"CREATE_CHANNEL_MESSAGE", "UPDATE_CHANNEL_MESSAGE", "REDACT_CHANNEL_MESSAGE",
                     "DELETE_CHANNEL_MESSAGE", "UPDATE_CHANNEL", "DELETE_CHANNEL", *oracle.MEMBERSHIPS}, kinds
    assert sum(len(session.log) for session in played.sessions) > 2 * OPERATIONS
    assert any(session.closed for session in played.sessions)


# The rules can fail: logs of the play itself, each broken in one place.


def is_plain(event):
    """A message for everybody that has one place in the order."""
    if not event.type.endswith("_CHANNEL_MESSAGE") or "Target" in event.payload:
        return False
    return event.payload["Persistence"] == "PERSISTENT"


def is_targeted(event):
    return event.type == "CREATE_CHANNEL_MESSAGE" and "Target" in event.payload


def place_of(rng, log, wanted):
    return rng.choice([index for index, event in enumerate(log) if wanted(event)])


def lost(rng, log, _):
    del log[place_of(rng, log, is_plain)]


def lost_target(rng, log, _):
    del log[place_of(rng, log, is_targeted)]


def lost_membership(rng, log, _):
    del log[place_of(rng, log, lambda event: event.type in oracle.MEMBERSHIPS and event.payload["Type"] == "DEFAULT")]


def lost_joining(rng, log, _):
    """The end of a deleted user's membership may be overtaken by the end of its channel; this may not."""
    del log[place_of(rng, log, lambda event: event.type in (oracle.CREATE, oracle.BATCH))]


def lost_from_a_place_on(rng, log, _):
    del log[place_of(rng, log, is_plain):]


def doubled(rng, log, _):
    place = rng.randrange(len(log))
    log.insert(rng.randrange(place, len(log)), log[place])


def swapped(rng, log, _, is_taken=is_plain):
    """A message and the next one of its channel."""
    places = {}
    pairs = []
    for index, event in enumerate(log):
        if is_taken(event):
            arn = event.payload["ChannelArn"]
            if arn in places:
                pairs.append((places[arn], index))
            places[arn] = index
    one, other = rng.choice(pairs)
    log[one], log[other] = log[other], log[one]


def swapped_ids(rng, log, _):
    """New messages alone: what else overlaps may have had either order."""
    swapped(rng, log, _, lambda event: is_plain(event) and event.type == "CREATE_CHANNEL_MESSAGE")


def leaked(rng, log, others):
    """A message of a channel that the user is not in at the time."""
    log.insert(rng.randrange(len(log)), rng.choice([event for event in others if is_plain(event)]))


def leaked_target(rng, log, others):
    log.insert(rng.randrange(len(log)), rng.choice([event for event in others if is_targeted(event)]))


def altered(rng, log, _):
    place = place_of(rng, log, lambda event: is_plain(event) and event.type == "CREATE_CHANNEL_MESSAGE")
    log[place] = parse(log[place].text.replace(log[place].payload["Content"], "something else"))


WAYS = [lost, lost_target, lost_membership, lost_from_a_place_on, doubled, swapped, leaked, leaked_target, altered]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_log_that_is_broken_in_one_place_is_noticed(played, rules_for_several, way):
    rng = random.Random(SEED)
    observers = played.observers.keys()
    whole = [session for session in played.sessions if session.closed is None and session.user not in observers
             and session.user not in played.ledger.deleted and sum(map(is_targeted, session.log)) > 1
             and session.opened.end < min(room.born.start for room in played.ledger.all_rooms())]
    everything = [event for session in played.sessions for event in session.log]
    assert whole
    for _ in range(BROKEN):
        session = rng.choice(whole)
        log = list(session.log)
        known = set(map(oracle.form, log))
        way(rng, log, [event for event in rng.sample(everything, 500) if oracle.form(event) not in known])
        for rules in (played.rules, rules_for_several):
            assert rules.check(replace(session, log=log)), (SEED, session.user)


@pytest.mark.parametrize("way", [lost, lost_joining, lost_from_a_place_on, doubled, swapped_ids, altered],
                         ids=lambda way: way.__name__)
def test_an_observers_log_that_is_broken_in_one_place_is_noticed(played, way):
    rng = random.Random(SEED)
    for _ in range(BROKEN):
        user, log = rng.choice(list(played.observers.items()))
        log = list(log)
        way(rng, log, [])
        for one_node in (True, False):
            rules = oracle.Rules(played.ledger, played.observers | {user: log}, one_node=one_node)
            assert rules.complaints, (SEED, user)
