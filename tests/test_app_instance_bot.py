"""App instance bots: their life, their Lex configuration, and that they act as users do."""

import re
import uuid

import pytest

from support import clients
from support.clients import BAD_BEARER, BAD_MEMBER, answer_of, everything, pages, refusal, status_of
from support.sigv4 import now
from support.world import LEX_ALIAS, World, lex_configuration

pytestmark = pytest.mark.any_engine

ARN_TAIL = re.compile(r"/bot/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
FAILED = "bot_invocations_failed_total"


def create(world, configuration, **extra):
    extra.setdefault("ClientRequestToken", str(uuid.uuid4()))
    identity = clients.identity(world.server, checked=False)
    return identity.create_app_instance_bot(AppInstanceArn=world.arn, Configuration=configuration, **extra)


def describe(world, bot):
    return world.identity.describe_app_instance_bot(AppInstanceBotArn=bot)["AppInstanceBot"]


def listed(world, **arguments):
    return everything(world.identity.list_app_instance_bots, "AppInstanceBots", AppInstanceArn=world.arn, **arguments)


def test_create_answers_201_with_an_arn_that_the_service_made(world):
    answer = create(world, lex_configuration())
    assert status_of(answer) == 201
    assert list(answer_of(answer)) == ["AppInstanceBotArn"]
    assert answer["AppInstanceBotArn"].startswith(world.arn)
    assert ARN_TAIL.fullmatch(answer["AppInstanceBotArn"].removeprefix(world.arn))


@pytest.mark.parametrize("more", [
    {},
    {"LocaleId": "de_DE", "WelcomeIntent": "Say_Hello"},
    {"RespondsTo": "STANDARD_MESSAGES"},
    *({"InvokedBy": {"StandardMessages": standard, "TargetedMessages": targeted}}
      for standard in ("AUTO", "ALL", "MENTIONS", "NONE") for targeted in ("ALL", "NONE")),
])
def test_describe_shows_what_was_created(world, more):
    before = now(-1)
    bot = world.bot("Helper 🤖", lex=more, Metadata="{}")
    found = describe(world, bot)
    created = found.pop("CreatedTimestamp")
    assert before < created < now(1)
    assert found.pop("LastUpdatedTimestamp") == created
    assert found == {"AppInstanceBotArn": bot, "Name": "Helper 🤖", "Metadata": "{}",
                     "Configuration": lex_configuration(**more)}


def test_a_bot_needs_no_name(world):
    bot = create(world, lex_configuration())["AppInstanceBotArn"]
    assert not {"Name", "Metadata"} & set(describe(world, bot))
    assert listed(world) == [{"AppInstanceBotArn": bot}]


@pytest.mark.parametrize("configuration", [
    {},
    {"Lex": {}},
    {"Lex": {"LexBotAliasArn": LEX_ALIAS}},
    {"Lex": {"LocaleId": "en_US"}},
    lex_configuration(LexBotAliasArn=LEX_ALIAS.replace("bot-alias", "bot")),
    lex_configuration(LexBotAliasArn=LEX_ALIAS + "0"),
    lex_configuration(LocaleId=""),
    lex_configuration(LocaleId="en US"),
    lex_configuration(WelcomeIntent="Hello 2"),
    lex_configuration(WelcomeIntent="a" * 101),
    lex_configuration(RespondsTo="EVERYTHING"),
    lex_configuration(InvokedBy={"StandardMessages": "ALL"}),
    lex_configuration(InvokedBy={"TargetedMessages": "ALL"}),
    lex_configuration(InvokedBy={"StandardMessages": "auto", "TargetedMessages": "ALL"}),
    lex_configuration(InvokedBy={"StandardMessages": "ALL", "TargetedMessages": "MENTIONS"}),
    lex_configuration(InvokedBy={"StandardMessages": "ALL", "TargetedMessages": "ALL"},
                      RespondsTo="STANDARD_MESSAGES"),
])
def test_a_configuration_that_is_none_is_refused(world, configuration):
    with refusal("BadRequest"):
        create(world, configuration)
    assert listed(world) == []
    bot = world.bot("Sound")
    with refusal("BadRequest"):
        clients.identity(world.server, checked=False).update_app_instance_bot(
            AppInstanceBotArn=bot, Name="x", Metadata="x", Configuration=configuration)
    assert describe(world, bot)["Name"] == "Sound"


def test_a_token_answers_the_first_bot_again(world):
    token = str(uuid.uuid4())
    bot = world.bot("Same", ClientRequestToken=token)
    assert world.bot("Same", ClientRequestToken=token) == bot
    with refusal("Conflict"):
        world.bot("Other", ClientRequestToken=token)
    assert len(listed(world)) == 1


def test_update_replaces_name_and_metadata_and_a_given_configuration(world):
    bot = world.bot("Before", lex={"WelcomeIntent": "Hello"}, Metadata="kept?")
    created = describe(world, bot)["CreatedTimestamp"]
    answer = world.identity.update_app_instance_bot(AppInstanceBotArn=bot, Name="After", Metadata="")
    assert status_of(answer) == 200
    assert answer_of(answer) == {"AppInstanceBotArn": bot}
    found = describe(world, bot)
    assert found.pop("LastUpdatedTimestamp") > created
    assert found == {"AppInstanceBotArn": bot, "Name": "After", "CreatedTimestamp": created,
                     "Configuration": lex_configuration(WelcomeIntent="Hello")}
    world.identity.update_app_instance_bot(
        AppInstanceBotArn=bot, Name="After", Metadata="m", Configuration=lex_configuration(LocaleId="fr_FR"))
    assert describe(world, bot)["Configuration"] == lex_configuration(LocaleId="fr_FR")
    assert listed(world) == [{"AppInstanceBotArn": bot, "Name": "After", "Metadata": "m"}]


def test_a_bot_that_is_not_there(world, another_world, alice):
    missing = f"{world.arn}/bot/{uuid.uuid4()}"
    foreign = another_world.bot().replace(another_world.arn, world.arn)
    for bot in (missing, foreign):
        with refusal("NotFound"):
            describe(world, bot)
        with refusal("Forbidden"):
            world.identity.update_app_instance_bot(AppInstanceBotArn=bot, Name="x", Metadata="x")
        with refusal("Forbidden"):
            world.identity.delete_app_instance_bot(AppInstanceBotArn=bot)
    with refusal("BadRequest"):
        describe(world, alice)
    with refusal("Forbidden"):
        world.identity.list_app_instance_bots(AppInstanceArn=world.arn[:-4] + "0000")


def test_bots_are_listed_in_pages(world):
    bots = sorted(world.bot(f"Bot {number}") for number in range(7))
    for size in (1, 3, 7, 50):
        found = list(pages(world.identity.list_app_instance_bots, "AppInstanceBots",
                           AppInstanceArn=world.arn, MaxResults=size))
        assert all(len(page) <= size for page in found)
        assert [item["AppInstanceBotArn"] for page in found for item in page] == bots, size


def test_a_bot_is_bearer_member_moderator_admin_and_target(world, alice, bob):
    bot = world.bot("Helper")
    channel = world.channel(bot, alice)
    assert world.members(channel, bot) == sorted(["alice", bot.rpartition("/")[2]])
    world.join(channel, bot, bob)
    world.send(channel, bot, "I am a bot")
    [message] = world.messages(channel, alice)
    assert message["Sender"] == {"Arn": bot, "Name": "Helper"}
    world.post(channel, alice, "for the bot", Target=[{"MemberArn": bot}])
    assert world.contents(channel, bot) == ["for the bot", "I am a bot"]
    assert world.contents(channel, bob) == ["I am a bot"]
    others = world.channel(alice, bot)
    with refusal("Forbidden"):
        world.join(others, bot, bob)
    private = world.channel(alice)
    with refusal("Forbidden"):
        world.messages(private, bot)
    world.make_admin(bot)
    assert world.messages(private, bot) == []


def test_a_bot_of_another_app_instance_is_a_stranger(world, another_world, alice):
    foreign = another_world.bot()
    channel = world.channel(alice)
    with refusal("Forbidden", BAD_MEMBER):
        world.join(channel, alice, foreign)
    with refusal("Forbidden"):
        world.messages(channel, foreign)


@pytest.mark.two_nodes
def test_what_a_bot_says_is_heard_on_sockets(world, alice):
    bot = world.bot("Helper")
    channel = world.channel(bot, alice)
    socket = world.connect(alice)
    world.send(channel, bot, "hello")
    event = socket.until(lambda event: event.type == "CREATE_CHANNEL_MESSAGE")[-1]
    assert event.payload["Sender"] == {"Arn": bot, "Name": "Helper"}


@pytest.mark.two_nodes
def test_a_deleted_bot_is_gone_with_its_memberships_and_roles(world, alice):
    bot = world.bot("Helper")
    channel = world.channel(alice, ModeratorArns=[bot])
    world.send(channel, bot, "goodbye")
    world.make_admin(bot)
    socket = world.connect(alice)
    answer = world.identity.delete_app_instance_bot(AppInstanceBotArn=bot)
    assert status_of(answer) == 204
    assert answer_of(answer) == {}
    with refusal("Unauthorized", BAD_BEARER):
        world.send(channel, bot)
    with refusal("NotFound"):
        describe(world, bot)
    assert listed(world) == []
    assert world.members(channel, alice) == ["alice"]
    assert everything(world.identity.list_app_instance_admins, "AppInstanceAdmins", AppInstanceArn=world.arn) == []
    event = socket.until(lambda event: event.type == "DELETE_CHANNEL_MEMBERSHIP")[-1]
    assert event.payload["Member"] == {"Arn": bot, "Name": "Helper"}
    [message] = world.messages(channel, alice)
    assert message["Sender"] == {"Arn": bot, "Name": "Helper"}


def test_the_101st_bot_is_refused_and_a_deleted_one_frees_the_place(world):
    bots = [world.bot() for _ in range(100)]
    with refusal("ResourceLimitExceeded"):
        world.bot()
    world.identity.delete_app_instance_bot(AppInstanceBotArn=bots[7])
    world.bot()


def test_calls_that_nothing_answers_are_counted(start):
    server = start()
    world = World(server)
    alice, bot = world.user("alice"), world.bot("Helper")
    channel = world.channel(alice, bot)
    assert server.metric(FAILED) == 0
    world.send(channel, alice, "nobody is meant")
    assert server.metric(FAILED) == 0
    world.post(channel, alice, "hi", MessageAttributes={"CHIME.mentions": {"StringValues": [bot]}})
    world.post(channel, alice, "psst", Target=[{"MemberArn": bot}])
    assert server.metric(FAILED) == 2
    assert [message["Content"] for message in world.messages(channel, alice)] == ["psst", "hi", "nobody is meant"]
