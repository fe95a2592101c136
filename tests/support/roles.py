"""The role table of docs/roles.md as data, and what each of its actions is on the wire."""

import functools
import re
import uuid

from support.conformance.stage import processor
from support.server import ROOT
from support.world import World

# Who acts, and the columns of the table that fit him. A stranger's grants are everybody's.
ROLES = {
    "admin": {"admin"},
    "moderator": {"moderator"},
    "member": {"member"},
    "hidden": {"hidden member"},
    "stranger": set(),
    "joined_admin": {"admin", "member"},
    "joined_moderator": {"moderator", "member"},
}
INSIDERS = {"member", "hidden member"}


def role_table():
    """What docs/roles.md grants: action -> column -> grant."""
    lines = re.findall(r"^\| (.*) \|$", (ROOT / "docs" / "roles.md").read_text(encoding="utf-8"), re.MULTILINE)
    (_, *columns), *rows = [line.split(" | ") for line in lines]
    return {action: dict(zip(columns, grants, strict=True)) for action, *grants in rows}


TABLE = role_table()


# What becomes of each action in an elastic channel.
ELASTIC = {action: columns["in an elastic channel"] for action, columns in TABLE.items()}


def is_allowed(action, role, privacy, mode, is_elastic=False):
    """Whether the best of the grants that fit a role holds in a channel of this kind."""
    columns = ROLES[role]
    holds = {
        "yes": True, "no": False, "public": privacy == "PUBLIC", "unrestricted": mode == "UNRESTRICTED",
        "as a member": bool(columns & INSIDERS), "ordinary": not is_elastic,
    }
    return any(holds[TABLE[action][column]] for column in columns | {"stranger"})


class People:
    """Everybody who acts, in one app instance; their channels are made afresh."""

    def __init__(self, server):
        self.world = World(server, "Roles")
        for name in ("founder", "guest", "outcast", "newcomer", *ROLES):
            setattr(self, name, self.world.user(name))
        for name in ("admin", "joined_admin"):
            self.world.make_admin(getattr(self, name))

    @functools.cached_property
    def flow(self):
        """A channel flow for all channels."""
        return self.world.messaging.create_channel_flow(
            AppInstanceArn=self.world.arn, Name="Flow", Processors=[processor("filter")],
            ClientRequestToken=str(uuid.uuid4()))["ChannelFlowArn"]

    def close(self):
        self.world.close()


class Cast:
    """A channel of a kind in which everybody has his role, a guest who is in it and a newcomer who is not."""

    MEMBERS = ["founder", "guest", "joined_admin", "joined_moderator", "member"]

    def __init__(self, people, privacy, mode):
        self.people, self.world = people, people.world
        self.messaging = people.world.messaging
        self.channel = self.world.channel(
            people.founder, people.member, people.guest, people.joined_admin, Privacy=privacy, Mode=mode,
            ModeratorArns=[people.moderator, people.joined_moderator])
        # A moderator who leaves keeps the role.
        self.world.leave(self.channel, people.moderator, people.moderator)
        self.world.join(self.channel, people.founder, people.hidden, kind="HIDDEN")
        self.message = self.world.send(self.channel, people.guest, "hello")

    def arn(self, role):
        return getattr(self.people, role)

    def own_message(self, role):
        """The id of a message that somebody sent, as a member if only for that."""
        if role not in ROLES:
            return self.message  # who is from elsewhere never sent one
        actor, founder = self.arn(role), self.people.founder
        if "member" in ROLES[role]:
            return self.world.send(self.channel, actor, "own")
        if role == "hidden":
            self.world.leave(self.channel, founder, actor)
        self.world.join(self.channel, founder, actor)
        message = self.world.send(self.channel, actor, "own")
        self.world.leave(self.channel, founder, actor)
        if role == "hidden":
            self.world.join(self.channel, founder, actor, kind="HIDDEN")
        return message

    def members(self):
        return self.world.members(self.channel, self.people.founder)

    def contents(self):
        return self.world.contents(self.channel, self.people.founder)


# Each action in the words of the table: functions of the cast and the name of who acts. What somebody may do is done
# in a channel of its own, unless it only reads.
ACTIONS = {action: [] for action in TABLE}


def action(name):
    def register(act):
        ACTIONS[name].append(act)
        return act
    return register


def only_reads(act):
    return act.__name__.startswith(("describe_", "list_", "get_"))


def messaging(cast, actor, method, **arguments):
    """A call of the messaging service about the cast's channel."""
    return getattr(cast.messaging, method)(ChannelArn=cast.channel, ChimeBearer=cast.arn(actor), **arguments)


@action("describe the channel")
def describe_channel(cast, actor):
    messaging(cast, actor, "describe_channel")


@action("update the channel")
def update_channel(cast, actor):
    messaging(cast, actor, "update_channel", Name="Renamed", Mode="RESTRICTED")


@action("delete the channel")
def delete_channel(cast, actor):
    messaging(cast, actor, "delete_channel")


@action("put expiration settings")
def put_expiration_settings(cast, actor):
    messaging(cast, actor, "put_channel_expiration_settings")


@action("associate or disassociate a channel flow")
def associate_a_flow(cast, actor):
    messaging(cast, actor, "associate_channel_flow", ChannelFlowArn=cast.people.flow)


@action("associate or disassociate a channel flow")
def disassociate_a_flow(cast, actor):
    flow = cast.people.flow
    if "ChannelFlowArn" not in messaging(cast, "founder", "describe_channel")["Channel"]:
        messaging(cast, "founder", "associate_channel_flow", ChannelFlowArn=flow)
    messaging(cast, actor, "disassociate_channel_flow", ChannelFlowArn=flow)


@action("list the sub-channels")
def list_sub_channels(cast, actor):
    messaging(cast, actor, "list_sub_channels")


@action("add somebody else")
def add_somebody(cast, actor):
    cast.world.join(cast.channel, cast.arn(actor), cast.people.newcomer)


@action("add somebody else")
def add_several(cast, actor):
    messaging(cast, actor, "batch_create_channel_membership", MemberArns=[cast.people.newcomer])


@action("add a hidden member")
def add_a_hidden_member(cast, actor):
    cast.world.join(cast.channel, cast.arn(actor), cast.people.newcomer, kind="HIDDEN")


@action("join by himself")
def join(cast, actor):
    cast.world.join(cast.channel, cast.arn(actor), cast.arn(actor))


@action("read the members")
def list_members(cast, actor):
    messaging(cast, actor, "list_channel_memberships")


@action("read the members")
def describe_a_member(cast, actor):
    messaging(cast, actor, "describe_channel_membership", MemberArn=cast.people.guest)


@action("read the hidden members")
def list_hidden_members(cast, actor):
    messaging(cast, actor, "list_channel_memberships", Type="HIDDEN")


@action("remove somebody else")
def remove_somebody(cast, actor):
    cast.world.leave(cast.channel, cast.arn(actor), cast.people.guest)


@action("leave")
def leave(cast, actor):
    cast.world.leave(cast.channel, cast.arn(actor), cast.arn(actor))


@action("make somebody a moderator")
def add_a_moderator(cast, actor):
    messaging(cast, actor, "create_channel_moderator", ChannelModeratorArn=cast.people.guest)


@action("take the role from a moderator")
def remove_a_moderator(cast, actor):
    messaging(cast, actor, "delete_channel_moderator", ChannelModeratorArn=cast.people.founder)


@action("read the moderators")
def list_moderators(cast, actor):
    messaging(cast, actor, "list_channel_moderators")


@action("read the moderators")
def describe_a_moderator(cast, actor):
    messaging(cast, actor, "describe_channel_moderator", ChannelModeratorArn=cast.people.founder)


@action("ban somebody")
def ban_somebody(cast, actor):
    messaging(cast, actor, "create_channel_ban", MemberArn=cast.people.guest)


def banned(cast):
    """The outcast, who is banned."""
    try:
        messaging(cast, "founder", "create_channel_ban", MemberArn=cast.people.outcast)
    except cast.messaging.exceptions.ConflictException:
        pass  # he was before
    return cast.people.outcast


@action("lift a ban")
def lift_a_ban(cast, actor):
    messaging(cast, actor, "delete_channel_ban", MemberArn=banned(cast))


@action("read the bans")
def list_bans(cast, actor):
    messaging(cast, actor, "list_channel_bans")


@action("read the bans")
def describe_a_ban(cast, actor):
    messaging(cast, actor, "describe_channel_ban", MemberArn=banned(cast))


@action("send a message")
def send_a_message(cast, actor):
    cast.world.send(cast.channel, cast.arn(actor))


@action("send a message")
def send_an_unstored_message(cast, actor):
    cast.world.send(cast.channel, cast.arn(actor), persistence="NON_PERSISTENT")


@action("read messages")
def get_a_message(cast, actor):
    messaging(cast, actor, "get_channel_message", MessageId=cast.message)


@action("read messages")
def list_messages(cast, actor):
    messaging(cast, actor, "list_channel_messages")


@action("update his own message")
def update_an_own_message(cast, actor):
    messaging(cast, actor, "update_channel_message", MessageId=cast.own_message(actor), Content="own")


@action("redact his own message")
def redact_an_own_message(cast, actor):
    messaging(cast, actor, "redact_channel_message", MessageId=cast.own_message(actor))


@action("redact somebody else's message")
def redact_a_message(cast, actor):
    messaging(cast, actor, "redact_channel_message", MessageId=cast.message)


@action("delete a message")
def delete_a_message(cast, actor):
    messaging(cast, actor, "delete_channel_message", MessageId=cast.message)


@action("read his own message's status")
def get_the_status_of_an_own_message(cast, actor):
    messaging(cast, actor, "get_channel_message_status", MessageId=cast.own_message(actor))


@action("move his read marker")
def move_the_read_marker(cast, actor):
    messaging(cast, actor, "update_channel_read_marker")


@action("read or put his preferences")
def get_preferences(cast, actor):
    messaging(cast, actor, "get_channel_membership_preferences", MemberArn=cast.arn(actor))


@action("read or put his preferences")
def put_preferences(cast, actor):
    messaging(cast, actor, "put_channel_membership_preferences", MemberArn=cast.arn(actor),
              Preferences={"PushNotifications": {"AllowNotifications": "NONE"}})
