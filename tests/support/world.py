"""An app instance of its own for each test, with the calls that nearly every test makes."""

import uuid

from support import clients
from support.sockets import open_socket


LEX_ALIAS = "arn:aws:lex:us-east-1:111122223333:bot-alias/ABCDEFGHIJ/0123456789"


def lex_configuration(**more):
    """The smallest configuration of a bot that the model allows, and `more`."""
    return {"Lex": {"LexBotAliasArn": LEX_ALIAS, "LocaleId": "en_US"} | more}


class World:
    """One app instance on a server. `close` deletes it, so that a run never meets the quota of 100."""

    def __init__(self, server, name="World"):
        self.server = server
        self.reconnect()
        self.arn = self.identity.create_app_instance(
            Name=name, ClientRequestToken=str(uuid.uuid4()))["AppInstanceArn"]
        self._sockets = []
        self._is_deleted = False

    @property
    def nodes(self):
        """The servers on which it is."""
        return [self.server]

    def sides(self):
        """The world as two nodes show it: one for sockets, one for requests; the same one where there is one node."""
        return [self, self]

    def reconnect(self):
        """Takes clients for the server's present address, which is another one after a restart."""
        self.identity = clients.identity(self.server)
        self.messaging = clients.messaging(self.server)

    def close(self):
        for socket in self._sockets:
            socket.close()
        if not self._is_deleted and self.server.running:
            self.delete()

    def delete(self):
        self.identity.delete_app_instance(AppInstanceArn=self.arn)
        self._is_deleted = True

    def settle(self):
        """Waits until sockets were told of all that was answered; one node tells it in order."""

    def user(self, user_id, name=None, **extra):
        """Creates a user and returns its ARN; the name is the id in title case unless given."""
        return self.identity.create_app_instance_user(
            AppInstanceArn=self.arn, AppInstanceUserId=user_id, Name=name or user_id.title(),
            ClientRequestToken=str(uuid.uuid4()), **extra)["AppInstanceUserArn"]

    def users(self, *user_ids):
        return [self.user(user_id) for user_id in user_ids]

    def bot(self, name="Bot", *, lex=None, **extra):
        """Creates a bot and returns its ARN; `lex` adds to the smallest configuration or replaces parts of it."""
        extra.setdefault("ClientRequestToken", str(uuid.uuid4()))
        return self.identity.create_app_instance_bot(
            AppInstanceArn=self.arn, Name=name, Configuration=lex_configuration(**lex or {}),
            **extra)["AppInstanceBotArn"]

    def make_admin(self, user_arn):
        self.identity.create_app_instance_admin(AppInstanceArn=self.arn, AppInstanceAdminArn=user_arn)
        return user_arn

    def channel(self, bearer, *members, name="Room", **extra):
        """Creates a channel, adds `members` one by one, and returns the channel's ARN."""
        channel = self.messaging.create_channel(
            AppInstanceArn=self.arn, Name=name, ClientRequestToken=str(uuid.uuid4()),
            ChimeBearer=bearer, **extra)["ChannelArn"]
        for member in members:
            self.join(channel, bearer, member)
        return channel

    def join(self, channel, bearer, member, kind="DEFAULT"):
        return self.messaging.create_channel_membership(
            ChannelArn=channel, MemberArn=member, Type=kind, ChimeBearer=bearer)

    def leave(self, channel, bearer, member):
        self.messaging.delete_channel_membership(ChannelArn=channel, MemberArn=member, ChimeBearer=bearer)

    def flow(self, fallback="CONTINUE"):
        """Creates a channel flow of one processor and returns its ARN."""
        function = {"ResourceArn": "arn:aws:lambda:us-east-1:000000000000:function:filter", "InvocationType": "ASYNC"}
        return self.messaging.create_channel_flow(
            AppInstanceArn=self.arn, Name="Flow", ClientRequestToken=str(uuid.uuid4()), Processors=[{
                "Name": "filter", "ExecutionOrder": 1, "FallbackAction": fallback,
                "Configuration": {"Lambda": function}}])["ChannelFlowArn"]

    def post(self, channel, sender, content="hello", *, kind="STANDARD", persistence="PERSISTENT", **extra):
        """Sends a message and returns the whole answer."""
        extra.setdefault("ClientRequestToken", str(uuid.uuid4()))
        return self.messaging.send_channel_message(
            ChannelArn=channel, Content=content, Type=kind, Persistence=persistence,
            ChimeBearer=sender, **extra)

    def send(self, channel, sender, content="hello", **extra):
        """Sends a message and returns its id."""
        return self.post(channel, sender, content, **extra)["MessageId"]

    def messages(self, channel, bearer, **extra):
        """All messages that `bearer` sees, in the listing's order."""
        return clients.everything(self.messaging.list_channel_messages, "ChannelMessages",
                                  ChannelArn=channel, ChimeBearer=bearer, **extra)

    def contents(self, channel, bearer, **extra):
        return [message["Content"] for message in self.messages(channel, bearer, **extra)]

    def members(self, channel, bearer, **extra):
        """The ids of the listed members, sorted: the list has them in the order in which the users were made."""
        listed = clients.everything(self.messaging.list_channel_memberships, "ChannelMemberships",
                                    ChannelArn=channel, ChimeBearer=bearer, **extra)
        return sorted(item["Member"]["Arn"].rpartition("/")[2] for item in listed)

    def connect(self, user_arn, **options):
        """An open socket of a user, closed with the world."""
        socket = open_socket(self.server, user_arn, **options)
        self._sockets.append(socket)
        return socket


class Fence:
    """A channel that a set of users share, to prove that nothing else arrived on their sockets.

    Events leave in commit order, so what a socket was going to get for an earlier call arrives before
    the fence's message. `before` returns those events.
    """

    def __init__(self, world, *users):
        self._world = world
        self._owner = world.user(f"fence-{uuid.uuid4().hex[:8]}")
        self._channel = world.channel(self._owner, *users, name="fence")

    def before(self, *sockets):
        """For each socket the events that came before a fresh message in the fence's channel."""
        mark = uuid.uuid4().hex
        self._world.settle()
        self._world.send(self._channel, self._owner, mark)

        def is_mark(event):
            return event.type == "CREATE_CHANNEL_MESSAGE" and event.payload.get("Content") == mark

        return [[event for event in socket.until(is_mark)[:-1] if not self._own(event)] for socket in sockets]

    def _own(self, event):
        return event.payload is not None and event.payload.get("ChannelArn") == self._channel
