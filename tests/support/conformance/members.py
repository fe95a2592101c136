"""The conducts of memberships, moderators, bans, preferences and read markers."""

from support.clients import refusal
from support.conformance.channel import GONE_CHANNEL, arns
from support.conformance.conduct import conduct
from support.sigv4 import now

GONE_MEMBER = GONE_CHANNEL | {"MemberArn": "Forbidden"}
NO_MEMBER = {"MemberArn": "Forbidden"}
MEMBER_NOT_FOUND = {"MemberArn": "NotFound"}
GONE_MODERATOR = GONE_CHANNEL | {"ChannelModeratorArn": "Forbidden"}


def identity(user):
    """How a user of the cast is shown."""
    return {"Arn": user, "Name": user.rpartition("/")[2].title()}


def banned(stage, channel):
    """A fresh user who is banned from a channel."""
    user = stage.user()
    stage.messaging.create_channel_ban(ChannelArn=channel, MemberArn=user, ChimeBearer=stage.moderator)
    return user


def promoted(stage, channel):
    """A fresh member who is a moderator of a channel."""
    user = stage.user()
    stage.world.join(channel, stage.moderator, user)
    stage.messaging.create_channel_moderator(
        ChannelArn=channel, ChannelModeratorArn=user, ChimeBearer=stage.moderator)
    return user


def own_membership(stage, channel, user):
    return stage.messaging.describe_channel_membership_for_app_instance_user(
        ChannelArn=channel, AppInstanceUserArn=user, ChimeBearer=user)["ChannelMembership"]


@conduct("messaging", "CreateChannelMembership", gives=["ChannelArn", "Member"], unknown=GONE_MEMBER,
         denied=["member", "hidden", "stranger"])
def create_channel_membership(stage):
    channel, user = stage.channel(), stage.user()
    answer = yield {"ChannelArn": channel, "MemberArn": user, "Type": "DEFAULT", "ChimeBearer": stage.moderator}
    assert answer == {"ChannelArn": channel, "Member": {"Arn": user, "Name": "A User"}}
    stage.world.send(channel, user)


@conduct("messaging", "BatchCreateChannelMembership", gives=["BatchChannelMemberships"], unknown=GONE_CHANNEL,
         denied=["member", "hidden", "stranger"])
def batch_create_channel_membership(stage):
    channel, users = stage.channel(), [stage.user(), stage.user()]
    nobody = f"{stage.app}/user/nobody"
    answer = yield {"ChannelArn": channel, "MemberArns": [users[0], nobody, users[1]], "Type": "DEFAULT",
                    "ChimeBearer": stage.moderator}
    batch = answer["BatchChannelMemberships"]
    assert (batch["ChannelArn"], batch["Type"]) == (channel, "DEFAULT")
    assert batch["InvitedBy"] == identity(stage.moderator)
    assert [member["Arn"] for member in batch["Members"]] == users
    [error] = answer["Errors"]
    assert error["MemberArn"] == nobody and error["ErrorCode"] and error["ErrorMessage"]
    for user in users:
        stage.world.send(channel, user)


@conduct("messaging", "DescribeChannelMembership", gives=["ChannelMembership"], unknown=GONE_CHANNEL,
         absent=MEMBER_NOT_FOUND, denied=["stranger"])
def describe_channel_membership(stage):
    answer = yield {"ChannelArn": stage.room, "MemberArn": stage.member, "ChimeBearer": stage.member}
    found = answer["ChannelMembership"]
    assert (found["ChannelArn"], found["Member"], found["Type"]) == (stage.room, identity(stage.member), "DEFAULT")
    assert found["InvitedBy"] == identity(stage.moderator)


@conduct("messaging", "DescribeChannelMembershipForAppInstanceUser", gives=["ChannelMembership"],
         unknown=GONE_CHANNEL, absent={"AppInstanceUserArn": "Forbidden"}, denied=["moderator", "hidden", "stranger"])
def describe_channel_membership_for_app_instance_user(stage):
    answer = yield {"ChannelArn": stage.room, "AppInstanceUserArn": stage.member, "ChimeBearer": stage.admin}
    found = answer["ChannelMembership"]
    assert found["ChannelSummary"]["ChannelArn"] == stage.room
    assert found["AppInstanceUserMembershipSummary"]["Type"] == "DEFAULT"
    assert own_membership(stage, stage.room, stage.hidden)["AppInstanceUserMembershipSummary"]["Type"] == "HIDDEN"


@conduct("messaging", "ListChannelMemberships", gives=["ChannelArn", "ChannelMemberships"], unknown=GONE_CHANNEL,
         denied=["member", "hidden", "stranger"])
def list_channel_memberships(stage):
    answer = yield {"ChannelArn": stage.room, "Type": "HIDDEN", "MaxResults": 50, "ChimeBearer": stage.moderator}
    assert answer == {"ChannelArn": stage.room, "ChannelMemberships": [{"Member": identity(stage.hidden)}]}
    assert stage.world.members(stage.room, stage.member) == ["member", "moderator"]


@conduct("messaging", "ListChannelMembershipsForAppInstanceUser", gives=["ChannelMemberships"],
         unknown={"AppInstanceUserArn": "Forbidden"}, denied=["moderator", "hidden", "stranger"])
def list_channel_memberships_for_app_instance_user(stage):
    user, channel = stage.user(), stage.channel()
    stage.world.join(channel, stage.moderator, user)
    answer = yield {"AppInstanceUserArn": user, "MaxResults": 50, "ChimeBearer": stage.admin}
    [item] = answer["ChannelMemberships"]
    assert item["ChannelSummary"]["ChannelArn"] == channel
    assert item["AppInstanceUserMembershipSummary"]["Type"] == "DEFAULT"
    own = stage.messaging.list_channel_memberships_for_app_instance_user(ChimeBearer=user)
    assert own["ChannelMemberships"] == answer["ChannelMemberships"]


@conduct("messaging", "DeleteChannelMembership", unknown=GONE_CHANNEL, absent=NO_MEMBER, denied=["hidden", "stranger"])
def delete_channel_membership(stage):
    channel = stage.channel()
    yield {"ChannelArn": channel, "MemberArn": stage.member, "ChimeBearer": stage.moderator}
    assert stage.world.members(channel, stage.moderator) == ["moderator"]
    with refusal("Forbidden"):
        stage.world.send(channel, stage.member)


@conduct("messaging", "UpdateChannelReadMarker", gives=["ChannelArn"], unknown=GONE_CHANNEL,
         denied=["admin", "stranger"])
def update_channel_read_marker(stage):
    channel = stage.channel()
    before = now(-1)
    answer = yield {"ChannelArn": channel, "ChimeBearer": stage.member}
    assert answer == {"ChannelArn": channel}
    marker = own_membership(stage, channel, stage.member)["AppInstanceUserMembershipSummary"]["ReadMarkerTimestamp"]
    assert before < marker < now(1)


PREFERENCES = {"PushNotifications": {
    "AllowNotifications": "FILTERED", "FilterRule": '{"type": [{"anything-but": ["noise"]}]}'}}


@conduct("messaging", "PutChannelMembershipPreferences", gives=["ChannelArn", "Member", "Preferences"],
         unknown=GONE_CHANNEL, absent=NO_MEMBER, denied=["admin", "moderator", "stranger"])
def put_channel_membership_preferences(stage):
    channel = stage.channel()
    given = {"ChannelArn": channel, "MemberArn": stage.member, "ChimeBearer": stage.member}
    answer = yield given | {"Preferences": PREFERENCES}
    assert answer == {"ChannelArn": channel, "Member": identity(stage.member), "Preferences": PREFERENCES}
    assert stage.messaging.get_channel_membership_preferences(**given)["Preferences"] == PREFERENCES


@conduct("messaging", "GetChannelMembershipPreferences", gives=["ChannelArn", "Member", "Preferences"],
         unknown=GONE_CHANNEL, absent=NO_MEMBER, denied=["admin", "moderator", "stranger"])
def get_channel_membership_preferences(stage):
    answer = yield {"ChannelArn": stage.room, "MemberArn": stage.member, "ChimeBearer": stage.member}
    assert (answer["ChannelArn"], answer["Member"]) == (stage.room, identity(stage.member))
    assert answer["Preferences"]["PushNotifications"]["AllowNotifications"] == "ALL"


@conduct("messaging", "CreateChannelModerator", gives=["ChannelArn", "ChannelModerator"],
         unknown=GONE_MODERATOR,
         denied=["member", "hidden", "stranger"])
def create_channel_moderator(stage):
    channel = stage.channel()
    answer = yield {"ChannelArn": channel, "ChannelModeratorArn": stage.member, "ChimeBearer": stage.moderator}
    assert answer == {"ChannelArn": channel, "ChannelModerator": identity(stage.member)}
    stage.world.join(channel, stage.member, stage.user())
    with refusal("Conflict"):
        stage.messaging.create_channel_moderator(
            ChannelArn=channel, ChannelModeratorArn=stage.member, ChimeBearer=stage.moderator)


@conduct("messaging", "DescribeChannelModerator", gives=["ChannelModerator"], unknown=GONE_CHANNEL,
         absent={"ChannelModeratorArn": "NotFound"}, denied=["member", "hidden", "stranger"])
def describe_channel_moderator(stage):
    channel = stage.channel()
    user = promoted(stage, channel)
    answer = yield {"ChannelArn": channel, "ChannelModeratorArn": user, "ChimeBearer": stage.admin}
    found = answer["ChannelModerator"]
    assert (found["ChannelArn"], found["Moderator"]["Arn"]) == (channel, user)
    assert found["CreatedBy"] == identity(stage.moderator) and found["CreatedTimestamp"]
    with refusal("NotFound"):
        stage.messaging.describe_channel_moderator(
            ChannelArn=channel, ChannelModeratorArn=stage.member, ChimeBearer=stage.admin)


@conduct("messaging", "ListChannelModerators", gives=["ChannelArn", "ChannelModerators"], unknown=GONE_CHANNEL,
         denied=["member", "hidden", "stranger"])
def list_channel_moderators(stage):
    channel = stage.channel()
    user = promoted(stage, channel)
    answer = yield {"ChannelArn": channel, "MaxResults": 50, "ChimeBearer": stage.moderator}
    assert answer["ChannelArn"] == channel
    assert {item["Moderator"]["Arn"] for item in answer["ChannelModerators"]} == {stage.moderator, user}


@conduct("messaging", "DeleteChannelModerator", unknown=GONE_CHANNEL,
         absent={"ChannelModeratorArn": "Forbidden"}, denied=["member", "hidden", "stranger"])
def delete_channel_moderator(stage):
    channel = stage.channel()
    user = promoted(stage, channel)
    yield {"ChannelArn": channel, "ChannelModeratorArn": user, "ChimeBearer": stage.moderator}
    assert user.rpartition("/")[2] in stage.world.members(channel, stage.moderator), "the membership stays"
    with refusal("Forbidden"):
        stage.world.join(channel, user, stage.user())


@conduct("messaging", "ListChannelsModeratedByAppInstanceUser", gives=["Channels"],
         unknown={"AppInstanceUserArn": "Forbidden"}, denied=["moderator", "member", "stranger"])
def list_channels_moderated_by_app_instance_user(stage):
    channel = stage.channel()
    user = promoted(stage, channel)
    answer = yield {"AppInstanceUserArn": user, "MaxResults": 50, "ChimeBearer": stage.admin}
    assert arns(item["ChannelSummary"] for item in answer["Channels"]) == [channel]
    own = stage.messaging.list_channels_moderated_by_app_instance_user(ChimeBearer=user)
    assert own["Channels"] == answer["Channels"]


@conduct("messaging", "DescribeChannelModeratedByAppInstanceUser", gives=["Channel"],
         unknown=GONE_CHANNEL, absent={"AppInstanceUserArn": "Forbidden"}, denied=["stranger"])
def describe_channel_moderated_by_app_instance_user(stage):
    answer = yield {"ChannelArn": stage.room, "AppInstanceUserArn": stage.moderator, "ChimeBearer": stage.admin}
    assert answer["Channel"]["ChannelSummary"]["ChannelArn"] == stage.room
    with refusal("Forbidden"):
        stage.messaging.describe_channel_moderated_by_app_instance_user(
            ChannelArn=stage.room, AppInstanceUserArn=stage.member, ChimeBearer=stage.member)


@conduct("messaging", "CreateChannelBan", gives=["ChannelArn", "Member"], unknown=GONE_MEMBER,
         denied=["member", "hidden", "stranger"])
def create_channel_ban(stage):
    channel = stage.channel()
    answer = yield {"ChannelArn": channel, "MemberArn": stage.member, "ChimeBearer": stage.moderator}
    assert answer == {"ChannelArn": channel, "Member": identity(stage.member)}
    assert stage.world.members(channel, stage.moderator) == ["moderator"], "he is no member any more"
    with refusal("Forbidden"):
        stage.world.join(channel, stage.moderator, stage.member)


@conduct("messaging", "DescribeChannelBan", gives=["ChannelBan"], unknown=GONE_CHANNEL, absent=MEMBER_NOT_FOUND,
         denied=["member", "hidden", "stranger"])
def describe_channel_ban(stage):
    channel = stage.channel()
    user = banned(stage, channel)
    answer = yield {"ChannelArn": channel, "MemberArn": user, "ChimeBearer": stage.moderator}
    found = answer["ChannelBan"]
    assert (found["ChannelArn"], found["Member"]["Arn"]) == (channel, user)
    assert found["CreatedBy"] == identity(stage.moderator) and found["CreatedTimestamp"]
    with refusal("NotFound"):
        stage.messaging.describe_channel_ban(
            ChannelArn=channel, MemberArn=stage.member, ChimeBearer=stage.moderator)


@conduct("messaging", "ListChannelBans", gives=["ChannelArn", "ChannelBans"], unknown=GONE_CHANNEL,
         denied=["member", "hidden", "stranger"])
def list_channel_bans(stage):
    channel = stage.channel()
    users = {banned(stage, channel), banned(stage, channel)}
    answer = yield {"ChannelArn": channel, "MaxResults": 50, "ChimeBearer": stage.moderator}
    assert answer["ChannelArn"] == channel
    assert {item["Member"]["Arn"] for item in answer["ChannelBans"]} == users


@conduct("messaging", "DeleteChannelBan", unknown=GONE_CHANNEL, absent=NO_MEMBER,
         denied=["member", "hidden", "stranger"])
def delete_channel_ban(stage):
    channel = stage.channel()
    user = banned(stage, channel)
    yield {"ChannelArn": channel, "MemberArn": user, "ChimeBearer": stage.moderator}
    assert user.rpartition("/")[2] not in stage.world.members(channel, stage.moderator)
    stage.world.join(channel, stage.moderator, user)
