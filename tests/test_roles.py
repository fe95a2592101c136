"""Who may do what in a channel: docs/roles.md, row by row, for every role in every kind of channel.

Whom the table does not name is answered 403 with the known text, and nothing is changed.
"""

import itertools

import pytest

from support.clients import NO_ACCESS, refusal
from support.elastic_cast import ElasticCast
from support.roles import ACTIONS, ELASTIC, INSIDERS, ROLES, TABLE, Cast, People, is_allowed, messaging, only_reads

pytestmark = pytest.mark.any_engine

KINDS = list(itertools.product(("PRIVATE", "PUBLIC"), ("RESTRICTED", "UNRESTRICTED")))
# Actions that only elastic channels know: whoever may take them is told so in an ordinary channel.
ELASTIC_ALONE = {action for action in TABLE if ELASTIC[action] == "there alone"}
IN_A_SUB_CHANNEL = [action for action in TABLE if ELASTIC[action] == "sub-channel"]
ORDINARY = [action for action in TABLE if action not in ELASTIC_ALONE]


@pytest.fixture(scope="module")
def people(server):
    people = People(server)
    yield people
    people.close()


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request):
    return request.param


def roles_for(action):
    """Who can try: a member cannot join, and who is none has nothing to leave; that ends in another refusal."""
    inside = {role for role in ROLES if ROLES[role] & INSIDERS}
    unfit = {"join by himself": inside, "leave": {"admin", "moderator"}}.get(action, set())
    return [role for role in ROLES if role not in unfit]


def test_every_row_of_the_table_is_an_action():
    assert all(ACTIONS.values()) and ELASTIC_ALONE


@pytest.mark.parametrize("action", TABLE)
def test_the_table_refuses_whom_it_does_not_name(people, kind, action):
    cast = Cast(people, *kind)
    refused = [role for role in roles_for(action) if not is_allowed(action, role, *kind)]
    for role, act in itertools.product(refused, ACTIONS[action]):
        with refusal("Forbidden", NO_ACCESS):
            act(cast, role)
    assert cast.members() == Cast.MEMBERS
    assert set(cast.contents()) <= {"hello", "own"}


@pytest.mark.parametrize("action", ORDINARY)
def test_the_table_allows_whom_it_names(people, kind, action):
    shared = Cast(people, *kind)
    for role, act in itertools.product(roles_for(action), ACTIONS[action]):
        if is_allowed(action, role, *kind):
            act(shared if only_reads(act) else Cast(people, *kind), role)


def played_in_an_elastic_channel(action):
    """Who takes an action in which way, and whether the table allows it; nobody is a hidden member there."""
    roles = [role for role in roles_for(action) if role != "hidden"]
    return [(role, act, is_allowed(action, role, *ElasticCast.KIND, is_elastic=True))
            for role, act in itertools.product(roles, ACTIONS[action])]


@pytest.mark.parametrize("action", TABLE)
def test_the_table_refuses_whom_it_does_not_name_in_an_elastic_channel(people, action):
    with ElasticCast(people) as cast:
        for role, act, allowed in played_in_an_elastic_channel(action):
            if not allowed:
                with refusal("Forbidden", NO_ACCESS):
                    act(cast, role)
        assert cast.members() == ElasticCast.MEMBERS
        assert set(cast.contents()) <= {"hello", "own"}


@pytest.mark.parametrize("action", [action for action in TABLE if ELASTIC[action] != "none"])
def test_the_table_allows_whom_it_names_in_an_elastic_channel(people, action):
    allowed = [(role, act) for role, act, allowed in played_in_an_elastic_channel(action) if allowed]
    with ElasticCast(people) as cast:
        for role, act in allowed:
            if only_reads(act):
                act(cast, role)
    for role, act in allowed:
        if not only_reads(act):
            with ElasticCast(people) as cast:
                act(cast, role)


@pytest.mark.parametrize("action", [action for action in TABLE if ELASTIC[action] == "none"])
def test_what_elastic_channels_do_not_have_is_refused_to_the_allowed(people, action):
    with ElasticCast(people) as cast:
        for role, act, allowed in played_in_an_elastic_channel(action):
            if allowed:
                with refusal("BadRequest"):
                    act(cast, role)


@pytest.mark.parametrize("action", IN_A_SUB_CHANNEL)
def test_what_is_in_a_sub_channel_needs_its_id(people, action):
    # Nobody knows whose message it is.
    judged = {"redact somebody else's message": "redact his own message"}.get(action, action)
    with ElasticCast(people) as cast, cast.naming_none():
        for role, act, _ in played_in_an_elastic_channel(action):
            allowed = is_allowed(judged, role, *ElasticCast.KIND, is_elastic=True)
            with refusal("BadRequest" if allowed else "Forbidden"):
                act(cast, role)


@pytest.mark.parametrize("action", sorted(ELASTIC_ALONE))
def test_what_only_elastic_channels_know_is_refused_to_the_allowed_in_others(people, action):
    cast = Cast(people, *KINDS[0])
    allowed = [role for role in roles_for(action) if is_allowed(action, role, *KINDS[0])]
    assert "admin" in allowed
    for role, act in itertools.product(allowed, ACTIONS[action]):
        with refusal("BadRequest"):
            act(cast, role)


def test_the_admin_of_another_app_instance_is_a_stranger(people, another_world, kind):
    cast = Cast(people, *kind)
    cast.people = Outside(people, another_world.make_admin(another_world.user("outsider")))
    for action in TABLE:
        for act in ACTIONS[action]:
            with refusal("Forbidden"):
                act(cast, "outsider")


class Outside:
    """The people and somebody who is not among them."""

    def __init__(self, people, outsider):
        self._people, self.outsider = people, outsider

    def __getattr__(self, name):
        return getattr(self._people, name)


@pytest.mark.parametrize("role", ROLES)
def test_nobody_updates_or_asks_what_became_of_what_somebody_else_wrote(people, kind, role):
    cast = Cast(people, *kind)
    for ask in ({"method": "update_channel_message", "Content": "mine now"}, {"method": "get_channel_message_status"}):
        with refusal("Forbidden", NO_ACCESS):
            messaging(cast, role, **ask, MessageId=cast.message)
    assert cast.contents() == ["hello"]


@pytest.mark.parametrize("role", [role for role in ROLES if role != "member"])
def test_nobody_sees_or_changes_the_preferences_of_somebody_else(people, kind, role):
    cast = Cast(people, *kind)
    for method, more in (("get_channel_membership_preferences", {}),
                         ("put_channel_membership_preferences", {"Preferences": {}})):
        with refusal("Forbidden", NO_ACCESS):
            messaging(cast, role, method, MemberArn=people.member, **more)


def test_who_joins_a_public_channel_by_himself_takes_part(people):
    cast = Cast(people, "PUBLIC", "RESTRICTED")
    cast.world.join(cast.channel, people.stranger, people.stranger)
    assert "stranger" in cast.members()
    cast.world.send(cast.channel, people.stranger)


def test_who_is_in_a_channel_and_joins_is_told_so(people, kind):
    cast = Cast(people, *kind)
    for role in ("member", "hidden", "joined_moderator"):
        with refusal("Conflict"):
            cast.world.join(cast.channel, cast.arn(role), cast.arn(role))


def test_nobody_joins_as_a_hidden_member_by_himself(people, kind):
    cast = Cast(people, *kind)
    with refusal("Forbidden", NO_ACCESS):
        cast.world.join(cast.channel, people.stranger, people.stranger, kind="HIDDEN")


@pytest.mark.parametrize("role", ["joined_admin", "joined_moderator", "member", "hidden"])
def test_who_has_left_sends_no_more(people, kind, role):
    cast = Cast(people, *kind)
    cast.world.leave(cast.channel, cast.arn(role), cast.arn(role))
    with refusal("Forbidden", NO_ACCESS):
        cast.world.send(cast.channel, cast.arn(role))


def test_an_admin_sends_once_he_is_a_member(people, kind):
    cast = Cast(people, *kind)
    cast.world.join(cast.channel, people.admin, people.admin)
    cast.world.send(cast.channel, people.admin, "now I may")
    assert cast.contents() == ["now I may", "hello"]
