"""Pages of every list: each item once, no token on the last page, tokens of other lists refused."""

import pytest

from support.clients import everything, pages, refusal
from support.http import call, label
from support.world import World

pytestmark = pytest.mark.any_engine


def lists(world, bearer, channel):
    """Every list operation of this release: name -> (operation, list member, arguments)."""
    return {
        "app instances": (world.identity.list_app_instances, "AppInstances", {}),
        "users": (world.identity.list_app_instance_users, "AppInstanceUsers", {"AppInstanceArn": world.arn}),
        "channels": (world.messaging.list_channels, "Channels",
                     {"AppInstanceArn": world.arn, "Privacy": "PRIVATE", "ChimeBearer": bearer}),
        "public channels": (world.messaging.list_channels, "Channels",
                            {"AppInstanceArn": world.arn, "ChimeBearer": bearer}),
        "members": (world.messaging.list_channel_memberships, "ChannelMemberships",
                    {"ChannelArn": channel, "ChimeBearer": bearer}),
        "hidden members": (world.messaging.list_channel_memberships, "ChannelMemberships",
                           {"ChannelArn": channel, "ChimeBearer": bearer, "Type": "HIDDEN"}),
        "messages": (world.messaging.list_channel_messages, "ChannelMessages",
                     {"ChannelArn": channel, "ChimeBearer": bearer}),
    }


NAMES = ["app instances", "users", "channels", "public channels", "members", "hidden members", "messages"]


@pytest.fixture
def full(world, another_world, alice):
    """A world in which every list has several items; returns all of its lists."""
    world.make_admin(alice)
    people = [world.user(f"person-{number}") for number in range(6)]
    channel = world.channel(alice, *people[:3])
    for person in people[3:]:
        world.join(channel, alice, person, kind="HIDDEN")
    for number in range(3):
        world.channel(alice, ChannelId=f"private-{number}")
        world.channel(alice, ChannelId=f"public-{number}", Privacy="PUBLIC")
        world.send(channel, alice, f"message {number}")
    return lists(world, alice, channel)


@pytest.mark.parametrize("name", NAMES)
def test_one_item_at_a_time_gives_each_item_once_and_ends_without_a_token(full, name):
    operation, member, arguments = full[name]
    whole = everything(operation, member, **arguments)
    assert len(whole) >= (2 if name == "app instances" else 3)
    single = list(pages(operation, member, MaxResults=1, **arguments))
    assert [item for page in single for item in page] == whole
    assert all(len(page) == 1 for page in single[:-1])


# Behind the last listed member hidden ones follow, so that list may end with an empty page.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "members"])
def test_a_page_that_just_fits_has_no_token(full, name):
    operation, member, arguments = full[name]
    count = len(everything(operation, member, **arguments))
    assert "NextToken" not in operation(MaxResults=count, **arguments)
    assert "NextToken" in operation(MaxResults=count - 1, **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_token_of_another_list_or_filter_is_refused(full, name):
    tokens = {other: operation(MaxResults=1, **arguments)["NextToken"]
              for other, (operation, _, arguments) in full.items()}
    operation, _, arguments = full[name]
    for other in set(NAMES) - {name}:
        with refusal("BadRequest"):
            operation(NextToken=tokens[other], **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_made_up_or_changed_token_is_refused(full, name):
    operation, _, arguments = full[name]
    token = operation(MaxResults=1, **arguments)["NextToken"]
    changed = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    for wrong in (changed, token + "A", token[:-1], "AAAA", "not a token", "🎫"):
        with refusal("BadRequest"):
            operation(NextToken=wrong, **arguments)


def test_a_token_outlives_a_restart(start):
    server = start()
    world = World(server)
    World(server, "Second")
    alice = world.make_admin(world.user("alice"))
    channel = world.channel(alice, world.user("bob"), Privacy="PUBLIC")
    for name in ("zoe", "yan"):
        world.join(channel, alice, world.user(name), kind="HIDDEN")
    for number in range(2):
        world.channel(alice, ChannelId=f"private-{number}")
        world.channel(alice, ChannelId=f"public-{number}", Privacy="PUBLIC")
        world.send(channel, alice, str(number))

    def rest(name, token):
        operation, member, arguments = lists(world, alice, channel)[name]
        return everything(operation, member, NextToken=token, **arguments)

    tokens = {name: operation(MaxResults=1, **arguments)["NextToken"]
              for name, (operation, _, arguments) in lists(world, alice, channel).items()}
    before = {name: rest(name, token) for name, token in tokens.items()}
    assert all(before.values())
    server.restart()
    world.reconnect()
    assert {name: rest(name, token) for name, token in tokens.items()} == before


def test_an_empty_token_is_no_token(server, world, alice):
    channel = world.channel(alice)
    answer = call(server, "GET", f"/channels/{label(channel)}/memberships?next-token=", bearer=alice)
    assert (answer.status, len(answer.json()["ChannelMemberships"])) == (200, 1)
