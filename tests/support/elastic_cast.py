"""The people of the role table in an elastic channel, whose requests name the sub-channel in which they are."""

import contextlib
import copy

from support.roles import Cast

ADDING = {"create_channel_membership", "batch_create_channel_membership"}


class Naming:
    """A messaging client that names a sub-channel wherever that is possible, and in adding members for moderators."""

    def __init__(self, client, sub_channel, moderators):
        self._client, self.sub_channel, self._moderators = client, sub_channel, moderators

    def __getattr__(self, name):
        attribute = getattr(self._client, name)
        operation = self._client.meta.method_to_api_mapping.get(name)
        if operation is None:
            return attribute
        known = self._client.meta.service_model.operation_model(operation).input_shape.members

        def call(**arguments):
            added = arguments.get("MemberArns", [arguments.get("MemberArn")])
            is_fit = "SubChannelId" in known and (name not in ADDING or self._moderators.issuperset(added))
            named = {"SubChannelId": self.sub_channel} if is_fit and self.sub_channel else {}
            return attribute(**arguments, **named)

        return call


class ElasticCast(Cast):
    """An elastic channel, with all its members in one sub-channel. It is deleted in the end: one is the quota."""

    KIND = ("PUBLIC", "RESTRICTED")

    def __init__(self, people):
        self.people, self.world = people, copy.copy(people.world)
        client = people.world.messaging
        self.channel = self.world.channel(
            people.founder, Privacy=self.KIND[0], ModeratorArns=[people.moderator, people.joined_moderator],
            ElasticChannelConfiguration={"MaximumSubChannels": 2, "TargetMembershipsPerSubChannel": 20,
                                         "MinimumMembershipPercentage": 1})
        [only] = client.list_sub_channels(ChannelArn=self.channel, ChimeBearer=people.founder)["SubChannels"]
        self.sub_channel = only["SubChannelId"]
        moderators = {people.founder, people.moderator, people.joined_moderator}
        self.messaging = self.world.messaging = Naming(client, self.sub_channel, moderators)
        for member in self.MEMBERS:
            self.world.join(self.channel, people.founder, self.arn(member))
        self.message = self.world.send(self.channel, people.guest, "hello")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(self.messaging.exceptions.ForbiddenException):  # it is gone already
            self.messaging.delete_channel(ChannelArn=self.channel, ChimeBearer=self.people.admin)

    @contextlib.contextmanager
    def _naming(self, sub_channel):
        before, self.messaging.sub_channel = self.messaging.sub_channel, sub_channel
        try:
            yield
        finally:
            self.messaging.sub_channel = before

    def naming_none(self):
        """Within it requests name no sub-channel, but for those that make what is asked about."""
        return self._naming(None)

    def own_message(self, role):
        with self._naming(self.sub_channel):
            return super().own_message(role)
