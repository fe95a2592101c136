"""The conducts of channels, their flows, streams, tags and settings, and of the session endpoint."""

from support.clients import refusal
from support.conformance.identity import GONE_APP, TAGS, tags_of
from support.conformance.conduct import conduct
from support.conformance.stage import processor

GONE_CHANNEL = {"ChannelArn": "Forbidden"}
GONE_FLOW = {"ChannelFlowArn": "Forbidden"}
STREAMS = [{"DataType": "ChannelMessage",
            "ResourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/chime-messaging-stream"}]


def described(stage, channel):
    return stage.messaging.describe_channel(ChannelArn=channel, ChimeBearer=stage.admin)["Channel"]


def arns(summaries):
    return [summary["ChannelArn"] for summary in summaries]


@conduct("messaging", "CreateChannel", gives=["ChannelArn"],
         unknown=GONE_APP | {"MemberArns": "Forbidden", "ModeratorArns": "Forbidden"})
def create_channel(stage):
    channel_id = stage.new_name("channel")
    given = {
        "AppInstanceArn": stage.app, "Name": "Bells", "Mode": "UNRESTRICTED", "Privacy": "PUBLIC", "Metadata": "new",
        "ClientRequestToken": stage.token(), "Tags": TAGS, "ChannelId": channel_id,
        "MemberArns": [stage.member], "ModeratorArns": [stage.admin], "ChimeBearer": stage.moderator,
    }
    answer = yield given
    assert answer["ChannelArn"] == f"{stage.app}/channel/{channel_id}"
    found = described(stage, answer["ChannelArn"])
    assert {name: found[name] for name in ("Name", "Mode", "Privacy", "Metadata")} == {
        name: given[name] for name in ("Name", "Mode", "Privacy", "Metadata")}
    assert found["CreatedBy"] == {"Arn": stage.moderator, "Name": "Moderator"}
    assert {"member", "moderator"} <= set(stage.world.members(answer["ChannelArn"], stage.moderator))


@conduct("messaging", "DescribeChannel", gives=["Channel"], unknown=GONE_CHANNEL, denied=["stranger"])
def describe_channel(stage):
    answer = yield {"ChannelArn": stage.room, "ChimeBearer": stage.member}
    found = answer["Channel"]
    assert (found["ChannelArn"], found["Name"]) == (stage.room, "Room")
    assert (found["Mode"], found["Privacy"]) == ("RESTRICTED", "PRIVATE")
    assert found["CreatedTimestamp"] <= found["LastUpdatedTimestamp"]


@conduct("messaging", "UpdateChannel", gives=["ChannelArn"], unknown=GONE_CHANNEL,
         denied=["member", "hidden", "stranger"])
def update_channel(stage):
    channel = stage.channel()
    answer = yield {"ChannelArn": channel, "Name": "Renamed", "Mode": "UNRESTRICTED", "Metadata": "second",
                    "ChimeBearer": stage.moderator}
    assert answer["ChannelArn"] == channel
    found = described(stage, channel)
    assert (found["Name"], found["Mode"], found["Metadata"]) == ("Renamed", "UNRESTRICTED", "second")


@conduct("messaging", "DeleteChannel", unknown=GONE_CHANNEL, denied=["member", "hidden", "stranger"])
def delete_channel(stage):
    channel = stage.channel()
    yield {"ChannelArn": channel, "ChimeBearer": stage.moderator}
    with refusal("Forbidden"):
        described(stage, channel)


@conduct("messaging", "ListChannels", gives=["Channels"], unknown=GONE_APP,
         denied=["moderator", "member", "hidden", "stranger"])
def list_channels(stage):
    channel = stage.channel()
    answer = yield {"AppInstanceArn": stage.app, "Privacy": "PRIVATE", "MaxResults": 50, "ChimeBearer": stage.admin}
    assert len(answer["Channels"]) >= 2
    listed = stage.everything(stage.messaging.list_channels, "Channels", AppInstanceArn=stage.app, Privacy="PRIVATE",
                              ChimeBearer=stage.admin)
    assert {channel, stage.room} <= set(arns(listed))
    public = stage.everything(stage.messaging.list_channels, "Channels", AppInstanceArn=stage.app,
                              ChimeBearer=stage.stranger)
    assert channel not in arns(public)


@conduct("messaging", "SearchChannels", gives=["Channels"])
def search_channels(stage):
    user = stage.user()
    channel, other = stage.channel(), stage.channel()
    for room in (channel, other):
        stage.world.join(room, stage.moderator, user)
    stage.world.leave(other, stage.moderator, user)
    answer = yield {"Fields": [{"Key": "MEMBERS", "Operator": "INCLUDES", "Values": [user, stage.member]}],
                    "MaxResults": 50, "ChimeBearer": user}
    assert arns(answer["Channels"]) == [channel]
    exact = stage.messaging.search_channels(
        Fields=[{"Key": "MEMBERS", "Operator": "EQUALS", "Values": [user, stage.member]}], ChimeBearer=user)
    assert exact["Channels"] == [], "the moderator is a member too"


@conduct("messaging", "PutChannelExpirationSettings", gives=["ChannelArn", "ExpirationSettings"],
         unknown=GONE_CHANNEL, denied=["member", "hidden", "stranger"])
def put_channel_expiration_settings(stage):
    channel = stage.channel()
    settings = {"ExpirationDays": 30, "ExpirationCriterion": "LAST_MESSAGE_TIMESTAMP"}
    answer = yield {"ChannelArn": channel, "ExpirationSettings": settings, "ChimeBearer": stage.moderator}
    assert answer == {"ChannelArn": channel, "ExpirationSettings": settings}
    assert described(stage, channel)["ExpirationSettings"] == settings


@conduct("messaging", "ListSubChannels", gives=["ChannelArn", "SubChannels"], unknown=GONE_CHANNEL,
         denied=["member", "stranger"])
def list_sub_channels(stage):
    channel = stage.messaging.create_channel(
        AppInstanceArn=stage.app, Name="Crowd", Mode="RESTRICTED", ClientRequestToken=stage.token(),
        ElasticChannelConfiguration={"MaximumSubChannels": 2, "TargetMembershipsPerSubChannel": 2,
                                     "MinimumMembershipPercentage": 10},
        ChimeBearer=stage.moderator)["ChannelArn"]
    stage.world.join(channel, stage.moderator, stage.member)
    answer = yield {"ChannelArn": channel, "MaxResults": 50, "ChimeBearer": stage.moderator}
    [sub_channel] = answer["SubChannels"]
    assert (answer["ChannelArn"], sub_channel["MembershipCount"]) == (channel, 1)
    # An app instance has one elastic channel at a time.
    stage.messaging.delete_channel(ChannelArn=channel, ChimeBearer=stage.moderator)


@conduct("messaging", "GetMessagingSessionEndpoint", gives=["Endpoint"])
def get_messaging_session_endpoint(stage):
    answer = yield {"NetworkType": "DUAL_STACK"}
    assert answer["Endpoint"] == {"Url": stage.server.authority}


@conduct("messaging", "TagResource", unknown={"ResourceARN": "Forbidden"})
def tag_resource(stage):
    channel = stage.channel()
    yield {"ResourceARN": channel, "Tags": TAGS}
    assert tags_of(stage.messaging, channel) == sorted(TAGS, key=str)


@conduct("messaging", "UntagResource", unknown={"ResourceARN": "Forbidden"})
def untag_resource(stage):
    channel = stage.channel(Tags=TAGS)
    yield {"ResourceARN": channel, "TagKeys": ["stage", "never-there"]}
    assert tags_of(stage.messaging, channel) == TAGS[:1]


@conduct("messaging", "ListTagsForResource", gives=["Tags"], unknown={"ResourceARN": "Forbidden"})
def list_tags_for_resource(stage):
    answer = yield {"ResourceARN": stage.channel(Tags=TAGS)}
    assert sorted(answer["Tags"], key=str) == sorted(TAGS, key=str)


def described_flow(stage, flow):
    return stage.messaging.describe_channel_flow(ChannelFlowArn=flow)["ChannelFlow"]


def associate(stage, channel, flow):
    stage.messaging.associate_channel_flow(ChannelArn=channel, ChannelFlowArn=flow, ChimeBearer=stage.moderator)


@conduct("messaging", "CreateChannelFlow", gives=["ChannelFlowArn"], unknown=GONE_APP)
def create_channel_flow(stage):
    given = {"AppInstanceArn": stage.app, "Name": "Filter", "Processors": [processor("filter")], "Tags": TAGS,
             "ClientRequestToken": stage.token()}
    answer = yield given
    flow = answer["ChannelFlowArn"]
    assert flow.startswith(f"{stage.app}/channel-flow/")
    found = described_flow(stage, flow)
    assert (found["Name"], found["Processors"]) == ("Filter", given["Processors"])


@conduct("messaging", "DescribeChannelFlow", gives=["ChannelFlow"], unknown=GONE_FLOW)
def describe_channel_flow(stage):
    flow = stage.flow()
    answer = yield {"ChannelFlowArn": flow}
    found = answer["ChannelFlow"]
    assert (found["ChannelFlowArn"], found["Name"], found["Processors"]) == (flow, "A Flow", [processor("first")])
    assert found["CreatedTimestamp"] == found["LastUpdatedTimestamp"]


@conduct("messaging", "ListChannelFlows", gives=["ChannelFlows"], unknown=GONE_APP)
def list_channel_flows(stage):
    flow = stage.flow()
    answer = yield {"AppInstanceArn": stage.app, "MaxResults": 50}
    assert {"ChannelFlowArn": flow, "Name": "A Flow", "Processors": [processor("first")]} in answer["ChannelFlows"]


@conduct("messaging", "UpdateChannelFlow", gives=["ChannelFlowArn"], unknown=GONE_FLOW)
def update_channel_flow(stage):
    flow = stage.flow()
    answer = yield {"ChannelFlowArn": flow, "Name": "Renamed", "Processors": [processor("second")]}
    assert answer["ChannelFlowArn"] == flow
    found = described_flow(stage, flow)
    assert (found["Name"], found["Processors"]) == ("Renamed", [processor("second")])


@conduct("messaging", "DeleteChannelFlow", unknown=GONE_FLOW)
def delete_channel_flow(stage):
    flow = stage.flow()
    yield {"ChannelFlowArn": flow}
    with refusal("Forbidden"):
        described_flow(stage, flow)


@conduct("messaging", "AssociateChannelFlow", unknown=GONE_CHANNEL | {"ChannelFlowArn": "NotFound"},
         denied=["member", "hidden", "stranger"])
def associate_channel_flow(stage):
    channel, flow = stage.channel(), stage.flow()
    yield {"ChannelArn": channel, "ChannelFlowArn": flow, "ChimeBearer": stage.moderator}
    assert described(stage, channel)["ChannelFlowArn"] == flow
    with refusal("Conflict"):
        stage.messaging.delete_channel_flow(ChannelFlowArn=flow)


@conduct("messaging", "DisassociateChannelFlow", unknown=GONE_CHANNEL | {"ChannelFlowArn": "NotFound"},
         denied=["member", "hidden", "stranger"])
def disassociate_channel_flow(stage):
    channel, flow = stage.channel(), stage.flow()
    associate(stage, channel, flow)
    yield {"ChannelArn": channel, "ChannelFlowArn": flow, "ChimeBearer": stage.moderator}
    assert "ChannelFlowArn" not in described(stage, channel)
    stage.messaging.delete_channel_flow(ChannelFlowArn=flow)


@conduct("messaging", "ListChannelsAssociatedWithChannelFlow", gives=["Channels"], unknown=GONE_FLOW)
def list_channels_associated_with_channel_flow(stage):
    channel, flow = stage.channel(), stage.flow()
    associate(stage, channel, flow)
    answer = yield {"ChannelFlowArn": flow, "MaxResults": 50}
    assert arns(answer["Channels"]) == [channel]


@conduct("messaging", "ChannelFlowCallback", gives=["ChannelArn", "CallbackId"], unknown=GONE_CHANNEL)
def channel_flow_callback(stage):
    channel, flow = stage.channel(), stage.flow()
    associate(stage, channel, flow)
    message = stage.world.send(channel, stage.member)
    given = {"ChannelArn": channel, "CallbackId": stage.token(),
             "ChannelMessage": {"MessageId": message, "Content": "processed"}}
    answer = yield given
    assert answer == {"ChannelArn": channel, "CallbackId": given["CallbackId"]}
    assert stage.world.contents(channel, stage.member) == ["processed"]


@conduct("messaging", "PutMessagingStreamingConfigurations", gives=["StreamingConfigurations"], unknown=GONE_APP)
def put_messaging_streaming_configurations(stage):
    answer = yield {"AppInstanceArn": stage.app, "StreamingConfigurations": STREAMS}
    assert answer["StreamingConfigurations"] == STREAMS


@conduct("messaging", "GetMessagingStreamingConfigurations", gives=["StreamingConfigurations"], unknown=GONE_APP)
def get_messaging_streaming_configurations(stage):
    answer = yield {"AppInstanceArn": stage.app}
    assert answer["StreamingConfigurations"] == STREAMS


@conduct("messaging", "DeleteMessagingStreamingConfigurations", unknown=GONE_APP)
def delete_messaging_streaming_configurations(stage):
    yield {"AppInstanceArn": stage.app}
    with refusal("NotFound"):
        stage.messaging.get_messaging_streaming_configurations(AppInstanceArn=stage.app)
