"""Moving a store: the commands, a world with a little of everything, and what can be seen of it."""

import re
import uuid

from support import clients
from support.conformance.stage import endpoint_input
from support.server import run
from support.world import World

SUMMARY = re.compile(r"campanile: (\w+ported) (\d+) rows, [\d.]+ MiB, \d+ rows/s in [\d.]+ s")


def place(store):
    """The flags that name a store: a URL or a folder."""
    return ("--database-url", store) if str(store).startswith("postgres://") else ("--data-dir", store)


def move(verb, file, store, key):
    flag = "--output" if verb == "export" else "--input"
    return run("db", verb, flag, file, *place(store), environment={
        "CAMPANILE_ACCESS_KEY_ID": key.id, "CAMPANILE_SECRET_ACCESS_KEY": key.secret})


def moved(verb, file, store, key):
    """Moves and returns the number of rows."""
    done = move(verb, file, store, key)
    assert (done.returncode, done.stdout) == (0, ""), done
    summary = SUMMARY.fullmatch(done.stderr.splitlines()[-1])
    assert summary and summary[1] == f"{verb}ed", done.stderr
    return int(summary[2])


def refused(done, *texts):
    """Ended with one line and exit code 2."""
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    for text in texts:
        assert text in done.stderr, done.stderr


class RichWorld:
    """An app instance with every kind of resource in it, and the requests whose tokens are to be replayed."""

    def __init__(self, server):
        self.world = world = World(server, "Déménagement 🏠")
        self.alice, self.bob, self.carol = world.users("alice", "bob@example.org", "carol")
        self.admin = world.make_admin(world.user("admin", "The Admin", Metadata='{"a": "\\u0000"}'))
        self.app = world.arn
        self.replays = []
        world.identity.put_app_instance_retention_settings(AppInstanceArn=world.arn, AppInstanceRetentionSettings={
            "ChannelRetentionSettings": {"RetentionDays": 4000}})
        world.bot("Bot")
        world.identity.put_app_instance_user_expiration_settings(
            AppInstanceUserArn=world.user("passing"),
            ExpirationSettings={"ExpirationDays": 30, "ExpirationCriterion": "CREATED_TIMESTAMP"})
        world.identity.register_app_instance_user_endpoint(
            **endpoint_input(self.bob), ClientRequestToken=str(uuid.uuid4()))
        world.identity.tag_resource(ResourceARN=world.arn, Tags=[{"Key": "team", "Value": "Türme"}])
        self._channels()
        self._messages()
        self._goodbyes()

    def _channels(self):
        world, messaging = self.world, self.world.messaging
        self.room = world.channel(self.alice, self.bob, name="Raum \N{BELL}", Privacy="PUBLIC", ChannelId="room",
                                  Metadata='{"kind": "room"}', Tags=[{"Key": "floor", "Value": "3"}])
        world.join(self.room, self.alice, self.carol, "HIDDEN")
        messaging.create_channel_moderator(ChannelArn=self.room, ChannelModeratorArn=self.bob, ChimeBearer=self.alice)
        messaging.create_channel_ban(ChannelArn=self.room, MemberArn=world.user("banned"), ChimeBearer=self.alice)
        messaging.update_channel_read_marker(ChannelArn=self.room, ChimeBearer=self.bob)
        messaging.put_channel_membership_preferences(
            ChannelArn=self.room, MemberArn=self.bob, ChimeBearer=self.bob,
            Preferences={"PushNotifications": {"AllowNotifications": "NONE"}})
        self.flow = world.flow()
        self.guarded = world.channel(self.alice, name="Guarded", ExpirationSettings={
            "ExpirationDays": 100, "ExpirationCriterion": "LAST_MESSAGE_TIMESTAMP"})
        messaging.associate_channel_flow(
            ChannelArn=self.guarded, ChannelFlowArn=self.flow, ChimeBearer=self.alice)
        self.elastic = world.channel(self.admin, name="Elastic", ElasticChannelConfiguration={
            "MaximumSubChannels": 3, "TargetMembershipsPerSubChannel": 2, "MinimumMembershipPercentage": 40})
        for user in (self.alice, self.bob, self.carol):
            sub_channel = world.join(self.elastic, self.admin, user)["SubChannelId"]
            world.send(self.elastic, user, f"into {user[-3:]}", SubChannelId=sub_channel)

    def _messages(self):
        world, messaging = self.world, self.world.messaging
        for number in range(30):
            world.send(self.room, self.alice, f"message {number} – \U0001f980 \"quoted\" \\ \n\t line two")
        self.edited = world.send(self.room, self.bob, "first words")
        messaging.update_channel_message(ChannelArn=self.room, MessageId=self.edited, Content="second words",
                                         Metadata='{"m":1}', ContentType="text/plain", ChimeBearer=self.bob)
        self.redacted = world.send(self.room, self.bob, "regretted")
        messaging.redact_channel_message(ChannelArn=self.room, MessageId=self.redacted, ChimeBearer=self.bob)
        messaging.delete_channel_message(
            ChannelArn=self.room, MessageId=world.send(self.room, self.bob, "gone"), ChimeBearer=self.admin)
        world.post(self.room, self.alice, "for Bob", Target=[{"MemberArn": self.bob}])
        world.post(self.room, self.alice, "with attributes", MessageAttributes={"tag": {"StringValues": ["a", "b"]}},
                   PushNotification={"Title": "t", "Body": "b", "Type": "DEFAULT"})
        self._remember(messaging.send_channel_message, ChannelArn=self.room, Content="once", Type="STANDARD",
                       Persistence="PERSISTENT", ChimeBearer=self.alice)
        self._remember(messaging.create_channel, AppInstanceArn=self.app, Name="Once", ChimeBearer=self.alice)
        self._remember(world.identity.create_app_instance_user, AppInstanceArn=self.app, AppInstanceUserId="once",
                       Name="Once")

    def _goodbyes(self):
        """What was deleted, so that jobs may be left, and what was made anew under its name."""
        world = self.world
        world.messaging.delete_channel(ChannelArn=world.channel(self.alice, self.bob), ChimeBearer=self.alice)
        world.identity.delete_app_instance_user(AppInstanceUserArn=world.user("leaver"))
        world.user("leaver", "Another")

    def _remember(self, call, **arguments):
        arguments["ClientRequestToken"] = str(uuid.uuid4())
        self.replays.append((call.__name__, arguments, clients.answer_of(call(**arguments))))

    def answers_again(self):
        """What the remembered requests answer, beside what they answered first."""
        for name, arguments, first in self.replays:
            client = self.world.messaging if hasattr(self.world.messaging, name) else self.world.identity
            yield clients.answer_of(getattr(client, name)(**arguments)), first

    def go_to(self, server):
        self.world.server = server
        self.world.reconnect()

    def seen(self):
        """Every list and describe of the world, from all of its sides."""
        return list(Looking(self).all())


class Looking:
    """Asks for everything there is to be seen."""

    def __init__(self, rich):
        self.rich = rich
        self.identity, self.messaging = rich.world.identity, rich.world.messaging

    def ask(self, client, name, **arguments):
        return name, arguments, clients.answer_of(getattr(client, name)(**arguments))

    def list(self, client, name, items, **arguments):
        found = clients.everything(getattr(client, name), items, MaxResults=7, **arguments)
        return name, arguments, found

    def all(self):
        app, identity = self.rich.app, self.identity
        yield self.ask(identity, "list_app_instances")
        yield self.ask(identity, "describe_app_instance", AppInstanceArn=app)
        yield self.ask(identity, "get_app_instance_retention_settings", AppInstanceArn=app)
        yield self.ask(identity, "list_tags_for_resource", ResourceARN=app)
        yield self.list(identity, "list_app_instance_admins", "AppInstanceAdmins", AppInstanceArn=app)
        yield self.ask(identity, "describe_app_instance_admin", AppInstanceArn=app,
                       AppInstanceAdminArn=self.rich.admin)
        bots = self.list(identity, "list_app_instance_bots", "AppInstanceBots", AppInstanceArn=app)
        yield bots
        for bot in bots[2]:
            bot = bot["AppInstanceBotArn"]
            yield self.ask(identity, "describe_app_instance_bot", AppInstanceBotArn=bot)
            yield self.ask(identity, "list_tags_for_resource", ResourceARN=bot)
        users = self.list(identity, "list_app_instance_users", "AppInstanceUsers", AppInstanceArn=app)
        yield users
        for user in users[2]:
            yield from self.of_user(user["AppInstanceUserArn"])
        yield self.list(self.messaging, "list_channel_flows", "ChannelFlows", AppInstanceArn=app)
        yield self.ask(self.messaging, "describe_channel_flow", ChannelFlowArn=self.rich.flow)
        yield self.ask(self.messaging, "list_tags_for_resource", ResourceARN=self.rich.flow)
        yield self.list(self.messaging, "list_channels_associated_with_channel_flow", "Channels",
                        ChannelFlowArn=self.rich.flow)
        for privacy in ("PUBLIC", "PRIVATE"):
            channels = self.list(self.messaging, "list_channels", "Channels", AppInstanceArn=app, Privacy=privacy,
                                 ChimeBearer=self.rich.admin)
            yield channels
            for channel in channels[2]:
                yield from self.of_channel(channel["ChannelArn"])

    def of_user(self, user):
        yield self.ask(self.identity, "describe_app_instance_user", AppInstanceUserArn=user)
        yield self.ask(self.identity, "list_tags_for_resource", ResourceARN=user)
        endpoints = self.list(self.identity, "list_app_instance_user_endpoints", "AppInstanceUserEndpoints",
                              AppInstanceUserArn=user)
        yield endpoints
        for endpoint in endpoints[2]:
            yield self.ask(self.identity, "describe_app_instance_user_endpoint", AppInstanceUserArn=user,
                           EndpointId=endpoint["EndpointId"])
        messaging = self.messaging
        yield self.list(messaging, "list_channel_memberships_for_app_instance_user", "ChannelMemberships",
                        AppInstanceUserArn=user, ChimeBearer=user)
        yield self.list(messaging, "list_channels_moderated_by_app_instance_user", "Channels",
                        AppInstanceUserArn=user, ChimeBearer=user)
        yield self.list(messaging, "search_channels", "Channels", ChimeBearer=user, Fields=[
            {"Key": "MEMBERS", "Operator": "INCLUDES", "Values": [user]}])

    def of_channel(self, channel):
        messaging = self.messaging
        common = {"ChannelArn": channel, "ChimeBearer": self.rich.admin}
        found = self.ask(messaging, "describe_channel", **common)
        yield found
        yield self.ask(messaging, "list_tags_for_resource", ResourceARN=channel)
        yield from self.of_moderators(common)
        bans = self.list(messaging, "list_channel_bans", "ChannelBans", **common)
        yield bans
        for ban in bans[2]:
            yield self.ask(messaging, "describe_channel_ban", MemberArn=ban["Member"]["Arn"], **common)
        if "ElasticChannelConfiguration" in found[2]["Channel"]:
            parts = self.list(messaging, "list_sub_channels", "SubChannels", **common)
            yield parts
            parts = [{"SubChannelId": part["SubChannelId"]} for part in parts[2]]
        else:
            parts = [{}]
        for part in parts:
            yield from self.of_part(common | part)

    def of_moderators(self, common):
        moderators = self.list(self.messaging, "list_channel_moderators", "ChannelModerators", **common)
        yield moderators
        for moderator in moderators[2]:
            moderator = moderator["Moderator"]["Arn"]
            yield self.ask(self.messaging, "describe_channel_moderator", ChannelModeratorArn=moderator, **common)
            yield self.ask(self.messaging, "describe_channel_moderated_by_app_instance_user",
                           AppInstanceUserArn=moderator, **common)

    def of_part(self, common):
        messaging = self.messaging
        for kind in ("DEFAULT", "HIDDEN"):
            if kind == "HIDDEN" and "SubChannelId" in common:
                continue
            members = self.list(messaging, "list_channel_memberships", "ChannelMemberships", Type=kind, **common)
            yield members
            for member in members[2]:
                member = member["Member"]["Arn"]
                yield self.ask(messaging, "describe_channel_membership", MemberArn=member, **common)
                if "SubChannelId" not in common:
                    own = {"ChannelArn": common["ChannelArn"], "ChimeBearer": member}
                    yield self.ask(messaging, "describe_channel_membership_for_app_instance_user",
                                   AppInstanceUserArn=member, **own)
                    yield self.ask(messaging, "get_channel_membership_preferences", MemberArn=member, **own)
                if kind == "DEFAULT":
                    yield self.list(messaging, "list_channel_messages", "ChannelMessages",
                                    **common | {"ChimeBearer": member})
        messages = self.list(messaging, "list_channel_messages", "ChannelMessages", **common)
        yield messages
        for message in messages[2]:
            yield self.ask(messaging, "get_channel_message", MessageId=message["MessageId"], **common)
