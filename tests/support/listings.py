"""Every operation that answers in pages, each with a list of 200 items that stay and others that come and go.

A listing is made by a function of its own, named by its operation; what it needs beyond the hall it makes itself, so
an operation that is missing fails the lists that need it and no other.
"""

import itertools
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from support.conformance.operations import OPERATIONS, Operation
from support.conformance.stage import LEX, endpoint_input, processor
from support.world import World

THREADS = 8
# One of six places is for an item that comes and goes, so that they lie between those that stay.
PLACES = range(240)
STAYING = [place for place in PLACES if place % 6 != 5]
PASSING = [place for place in PLACES if place % 6 == 5]
QUOTAS = ("app-instances", "admins", "bots", "endpoints", "flows")
# For the server, since the usual quotas are less than a long list.
SETTINGS = [text for name in QUOTAS for text in ("--quota", f"{name}=1000")]

PAGED = [operation for operation in OPERATIONS if "NextToken" in getattr(operation.input, "members", ())]
LISTINGS = {}


@dataclass
class Listing:
    """One list: how it is asked for, what stays in it, and how something is added and removed again.

    `add` takes a place and returns the key of what it added, `remove` takes that key. `others` are changes of the
    arguments that make it another list.
    """

    operation: Operation
    items: str
    arguments: dict
    key: Callable
    staying: list
    add: Callable
    remove: Callable
    others: list = field(default_factory=list)

    def page(self, server, **more):
        return self.operation.call(server, self.arguments | more)


def listing(service, name):
    """Registers the function that makes the listing of an operation."""
    def register(make):
        LISTINGS[Operation(service, name)] = make
        return make
    return register


def in_threads(function, items):
    """The results of a function that calls the server, for many items at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, items))


class Hall:
    """An app instance with many users and channels. `reader` is in every channel whose place stays."""

    def __init__(self, server):
        self.server = server
        self.world, self.elsewhere = World(server, "Hall"), World(server, "Elsewhere")
        self.identity, self.messaging, self.app = self.world.identity, self.world.messaging, self.world.arn
        self.owner = self.world.make_admin(self.world.user("owner"))
        self.reader = self.world.user("reader")
        self.people = in_threads(lambda place: self.world.user(f"person-{place:03}"), PLACES)
        self.channels = in_threads(self._channel, PLACES)
        self.other_channel = self.world.channel(self.owner, Privacy="PUBLIC")
        in_threads(self.let_in, STAYING)
        self._serial = itertools.count()

    def close(self):
        self.elsewhere.close()
        self.world.close()

    def _channel(self, place):
        return self.world.channel(self.owner, ChannelId=f"channel-{place:03}")

    def token(self):
        return str(uuid.uuid4())

    def new_id(self, kind, place):
        """An id that sorts right behind that of a place."""
        return f"{kind}-{place:03}-{next(self._serial)}"

    def let_in(self, place):
        self.world.join(self.channels[place], self.owner, self.reader)
        return self.channels[place]

    def let_out(self, channel):
        self.world.leave(channel, self.owner, self.reader)

    def full_channel(self):
        """A channel whose members are the people of the places that stay."""
        channel = self.world.channel(self.owner)
        in_threads(lambda place: self.world.join(channel, self.owner, self.people[place]), STAYING)
        return channel

    def staying(self, list_of_places):
        return [list_of_places[place] for place in STAYING]


@listing("identity", "ListAppInstances")
def app_instances(hall):
    def add(place):
        return hall.identity.create_app_instance(
            Name=f"App {place}", ClientRequestToken=hall.token())["AppInstanceArn"]

    return Listing(Operation("identity", "ListAppInstances"), "AppInstances", {}, lambda item: item["AppInstanceArn"],
                   in_threads(add, STAYING), add, lambda app: hall.identity.delete_app_instance(AppInstanceArn=app))


@listing("identity", "ListAppInstanceUsers")
def users(hall):
    return Listing(
        Operation("identity", "ListAppInstanceUsers"), "AppInstanceUsers", {"AppInstanceArn": hall.app},
        lambda item: item["AppInstanceUserArn"], hall.people,
        lambda place: hall.world.user(hall.new_id("person", place)),
        lambda user: hall.identity.delete_app_instance_user(AppInstanceUserArn=user),
        [{"AppInstanceArn": hall.elsewhere.arn}])


@listing("identity", "ListAppInstanceAdmins")
def admins(hall):
    def add(place):
        return hall.world.make_admin(hall.people[place])

    return Listing(
        Operation("identity", "ListAppInstanceAdmins"), "AppInstanceAdmins", {"AppInstanceArn": hall.app},
        lambda item: item["Admin"]["Arn"], in_threads(add, STAYING), add,
        lambda user: hall.identity.delete_app_instance_admin(AppInstanceArn=hall.app, AppInstanceAdminArn=user),
        [{"AppInstanceArn": hall.elsewhere.arn}])


@listing("identity", "ListAppInstanceBots")
def bots(hall):
    def add(place):
        return hall.identity.create_app_instance_bot(
            AppInstanceArn=hall.app, Name=f"Bot {place}", Configuration=LEX,
            ClientRequestToken=hall.token())["AppInstanceBotArn"]

    return Listing(
        Operation("identity", "ListAppInstanceBots"), "AppInstanceBots", {"AppInstanceArn": hall.app},
        lambda item: item["AppInstanceBotArn"], in_threads(add, STAYING), add,
        lambda bot: hall.identity.delete_app_instance_bot(AppInstanceBotArn=bot),
        [{"AppInstanceArn": hall.elsewhere.arn}])


@listing("identity", "ListAppInstanceUserEndpoints")
def endpoints(hall):
    def add(_):
        return hall.identity.register_app_instance_user_endpoint(
            **endpoint_input(hall.reader), ClientRequestToken=hall.token())["EndpointId"]

    return Listing(
        Operation("identity", "ListAppInstanceUserEndpoints"), "AppInstanceUserEndpoints",
        {"AppInstanceUserArn": hall.reader}, lambda item: item["EndpointId"], in_threads(add, STAYING), add,
        lambda endpoint: hall.identity.deregister_app_instance_user_endpoint(
            AppInstanceUserArn=hall.reader, EndpointId=endpoint),
        [{"AppInstanceUserArn": hall.owner}])


@listing("messaging", "ListChannels")
def channels(hall):
    return Listing(
        Operation("messaging", "ListChannels"), "Channels",
        {"AppInstanceArn": hall.app, "Privacy": "PRIVATE", "ChimeBearer": hall.owner},
        lambda item: item["ChannelArn"], hall.channels,
        lambda place: hall.world.channel(hall.owner, ChannelId=hall.new_id("channel", place)),
        lambda channel: hall.messaging.delete_channel(ChannelArn=channel, ChimeBearer=hall.owner),
        [{"Privacy": "PUBLIC"}])


@listing("messaging", "ListChannelMembershipsForAppInstanceUser")
def memberships_of_a_user(hall):
    return Listing(
        Operation("messaging", "ListChannelMembershipsForAppInstanceUser"), "ChannelMemberships",
        {"AppInstanceUserArn": hall.reader, "ChimeBearer": hall.owner},
        lambda item: item["ChannelSummary"]["ChannelArn"], hall.staying(hall.channels), hall.let_in, hall.let_out,
        [{"AppInstanceUserArn": hall.owner}])


@listing("messaging", "SearchChannels")
def search(hall):
    def fields(user):
        return [{"Key": "MEMBERS", "Operator": "INCLUDES", "Values": [user]}]

    return Listing(
        Operation("messaging", "SearchChannels"), "Channels",
        {"Fields": fields(hall.reader), "ChimeBearer": hall.reader}, lambda item: item["ChannelArn"],
        hall.staying(hall.channels), hall.let_in, hall.let_out, [{"Fields": fields(hall.owner)}])


@listing("messaging", "ListChannelsModeratedByAppInstanceUser")
def moderated_channels(hall):
    def add(place):
        hall.messaging.create_channel_moderator(
            ChannelArn=hall.channels[place], ChannelModeratorArn=hall.reader, ChimeBearer=hall.owner)
        return hall.channels[place]

    return Listing(
        Operation("messaging", "ListChannelsModeratedByAppInstanceUser"), "Channels",
        {"AppInstanceUserArn": hall.reader, "ChimeBearer": hall.owner},
        lambda item: item["ChannelSummary"]["ChannelArn"], in_threads(add, STAYING), add,
        lambda channel: hall.messaging.delete_channel_moderator(
            ChannelArn=channel, ChannelModeratorArn=hall.reader, ChimeBearer=hall.owner),
        [{"AppInstanceUserArn": hall.owner}])


@listing("messaging", "ListChannelMemberships")
def members(hall):
    channel = hall.full_channel()

    def add(place):
        hall.world.join(channel, hall.owner, hall.people[place])
        return hall.people[place]

    return Listing(
        Operation("messaging", "ListChannelMemberships"), "ChannelMemberships",
        {"ChannelArn": channel, "ChimeBearer": hall.owner}, lambda item: item["Member"]["Arn"],
        [hall.owner, *hall.staying(hall.people)], add, lambda user: hall.world.leave(channel, hall.owner, user),
        [{"ChannelArn": hall.other_channel}, {"Type": "HIDDEN"}])


@listing("messaging", "ListChannelModerators")
def moderators(hall):
    channel = hall.full_channel()

    def add(place):
        hall.messaging.create_channel_moderator(
            ChannelArn=channel, ChannelModeratorArn=hall.people[place], ChimeBearer=hall.owner)
        return hall.people[place]

    return Listing(
        Operation("messaging", "ListChannelModerators"), "ChannelModerators",
        {"ChannelArn": channel, "ChimeBearer": hall.owner}, lambda item: item["Moderator"]["Arn"],
        [hall.owner, *in_threads(add, STAYING)], add,
        lambda user: hall.messaging.delete_channel_moderator(
            ChannelArn=channel, ChannelModeratorArn=user, ChimeBearer=hall.owner),
        [{"ChannelArn": hall.other_channel}])


@listing("messaging", "ListChannelBans")
def bans(hall):
    channel = hall.world.channel(hall.owner)
    # An admin cannot be banned, and the people may be admins by now.
    outsiders = in_threads(lambda place: hall.world.user(hall.new_id("outsider", place)), PLACES)

    def add(place):
        hall.messaging.create_channel_ban(
            ChannelArn=channel, MemberArn=outsiders[place], ChimeBearer=hall.owner)
        return outsiders[place]

    return Listing(
        Operation("messaging", "ListChannelBans"), "ChannelBans",
        {"ChannelArn": channel, "ChimeBearer": hall.owner}, lambda item: item["Member"]["Arn"],
        in_threads(add, STAYING), add,
        lambda user: hall.messaging.delete_channel_ban(
            ChannelArn=channel, MemberArn=user, ChimeBearer=hall.owner),
        [{"ChannelArn": hall.other_channel}])


@listing("messaging", "ListChannelMessages")
def messages(hall):
    channel = hall.world.channel(hall.owner)

    def add(place):
        return hall.world.send(channel, hall.owner, f"message {place}")

    return Listing(
        Operation("messaging", "ListChannelMessages"), "ChannelMessages",
        {"ChannelArn": channel, "ChimeBearer": hall.owner}, lambda item: item["MessageId"],
        in_threads(add, STAYING), add,
        lambda message: hall.messaging.delete_channel_message(
            ChannelArn=channel, MessageId=message, ChimeBearer=hall.owner),
        [{"ChannelArn": hall.other_channel}, {"SortOrder": "ASCENDING"}, {"NotBefore": "2024-01-01T00:00:00Z"}])


@listing("messaging", "ListSubChannels")
def sub_channels(hall):
    channel = hall.world.channel(hall.owner, ElasticChannelConfiguration={
        "MaximumSubChannels": 100, "TargetMembershipsPerSubChannel": 2, "MinimumMembershipPercentage": 10})
    in_threads(lambda place: hall.world.join(channel, hall.owner, hall.people[place]), STAYING)
    found = hall.messaging.list_sub_channels(ChannelArn=channel, ChimeBearer=hall.owner)["SubChannels"]
    return Listing(
        Operation("messaging", "ListSubChannels"), "SubChannels", {"ChannelArn": channel, "ChimeBearer": hall.owner},
        lambda item: item["SubChannelId"], [item["SubChannelId"] for item in found],
        lambda place: hall.people[place], lambda user: None, [{"ChannelArn": hall.other_channel}])


def new_flow(hall, place):
    return hall.messaging.create_channel_flow(
        AppInstanceArn=hall.app, Name=f"Flow {place}", Processors=[processor("filter")],
        ClientRequestToken=hall.token())["ChannelFlowArn"]


@listing("messaging", "ListChannelFlows")
def flows(hall):
    def add(place):
        return new_flow(hall, place)

    return Listing(
        Operation("messaging", "ListChannelFlows"), "ChannelFlows", {"AppInstanceArn": hall.app},
        lambda item: item["ChannelFlowArn"], in_threads(add, STAYING), add,
        lambda flow: hall.messaging.delete_channel_flow(ChannelFlowArn=flow),
        [{"AppInstanceArn": hall.elsewhere.arn}])


@listing("messaging", "ListChannelsAssociatedWithChannelFlow")
def channels_of_a_flow(hall):
    flow, other_flow = new_flow(hall, 0), new_flow(hall, 1)

    def add(place):
        hall.messaging.associate_channel_flow(
            ChannelArn=hall.channels[place], ChannelFlowArn=flow, ChimeBearer=hall.owner)
        return hall.channels[place]

    return Listing(
        Operation("messaging", "ListChannelsAssociatedWithChannelFlow"), "Channels", {"ChannelFlowArn": flow},
        lambda item: item["ChannelArn"], in_threads(add, STAYING), add,
        lambda channel: hall.messaging.disassociate_channel_flow(
            ChannelArn=channel, ChannelFlowArn=flow, ChimeBearer=hall.owner),
        [{"ChannelFlowArn": other_flow}])
