"""Channel flows: what they are, which channels have them, and what they make of messages."""

import uuid

import pytest

from support import clients
from support.clients import answer_of, everything, refusal, status_of
from support.world import Fence
from test_concurrency import Refused, race

pytestmark = pytest.mark.any_engine

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:filter"


def processor(fallback="CONTINUE", **extra):
    return {
        "Name": "filter", "ExecutionOrder": 1, "FallbackAction": fallback,
        "Configuration": {"Lambda": {"ResourceArn": FUNCTION, "InvocationType": "ASYNC"}},
    } | extra


def create(world, fallback="CONTINUE", **extra):
    arguments = {
        "AppInstanceArn": world.arn, "Name": "Flow", "Processors": [processor(fallback)],
        "ClientRequestToken": str(uuid.uuid4()),
    } | extra
    return clients.messaging(world.server, checked=False).create_channel_flow(**arguments)


def associate(world, channel, bearer, flow):
    return world.messaging.associate_channel_flow(ChannelArn=channel, ChannelFlowArn=flow, ChimeBearer=bearer)


def disassociate(world, channel, bearer, flow):
    return world.messaging.disassociate_channel_flow(
        ChannelArn=channel, ChannelFlowArn=flow, ChimeBearer=bearer)


def describe_channel(world, channel, bearer):
    return world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=bearer)["Channel"]


def channel_with_flow(world, fallback, *members):
    owner, *others = members
    channel = world.channel(owner, *others)
    associate(world, channel, owner, world.flow(fallback))
    return channel


def test_a_flow_is_described_listed_updated_and_deleted(world):
    answer = create(world, "ABORT", Tags=[{"Key": "a", "Value": "b"}])
    assert status_of(answer) == 201
    flow = answer["ChannelFlowArn"]
    assert flow.startswith(f"{world.arn}/channel-flow/")
    found = world.messaging.describe_channel_flow(ChannelFlowArn=flow)["ChannelFlow"]
    created = found.pop("CreatedTimestamp")
    assert found.pop("LastUpdatedTimestamp") == created
    assert found == {"ChannelFlowArn": flow, "Name": "Flow", "Processors": [processor("ABORT")]}
    listed = everything(world.messaging.list_channel_flows, "ChannelFlows", AppInstanceArn=world.arn)
    assert listed == [found]
    answer = world.messaging.update_channel_flow(ChannelFlowArn=flow, Name="New", Processors=[processor()])
    assert answer_of(answer) == {"ChannelFlowArn": flow}
    found = world.messaging.describe_channel_flow(ChannelFlowArn=flow)["ChannelFlow"]
    assert (found["Name"], found["Processors"]) == ("New", [processor()])
    assert found["CreatedTimestamp"] == created <= found["LastUpdatedTimestamp"]
    assert status_of(world.messaging.delete_channel_flow(ChannelFlowArn=flow)) == 204
    assert everything(world.messaging.list_channel_flows, "ChannelFlows", AppInstanceArn=world.arn) == []


def test_the_same_token_answers_the_same_flow(world):
    first = create(world, ClientRequestToken="token")
    assert create(world, ClientRequestToken="token")["ChannelFlowArn"] == first["ChannelFlowArn"]
    with refusal("Conflict"):
        create(world, ClientRequestToken="token", Name="Other")


@pytest.mark.parametrize("name, processors", [
    ("BadRequest", []),
    ("ResourceLimitExceeded", [processor(), processor(ExecutionOrder=2)]),
    ("BadRequest", [processor(ExecutionOrder=0)]),
    ("BadRequest", [processor(ExecutionOrder=4)]),
    ("BadRequest", [processor("IGNORE")]),
    ("BadRequest", [processor(Name="")]),
    ("BadRequest", [processor(Configuration={"Lambda": {"ResourceArn": FUNCTION, "InvocationType": "SYNC"}})]),
    ("BadRequest", [processor(Configuration={
        "Lambda": {"ResourceArn": "arn:aws:sns:us-east-1:000000000000:x", "InvocationType": "ASYNC"}})]),
])
def test_processors_outside_the_model_or_the_quota_are_refused(world, name, processors):
    with refusal(name):
        create(world, Processors=processors)
    assert everything(world.messaging.list_channel_flows, "ChannelFlows", AppInstanceArn=world.arn) == []


def test_a_flow_that_is_not_there_is_forbidden(world, another_world, alice):
    flow = world.flow()
    world.messaging.delete_channel_flow(ChannelFlowArn=flow)
    for call in (world.messaging.describe_channel_flow, world.messaging.delete_channel_flow,
                 world.messaging.list_channels_associated_with_channel_flow):
        with refusal("Forbidden"):
            call(ChannelFlowArn=flow)
        with refusal("BadRequest"):
            call(ChannelFlowArn=alice)
    with refusal("Forbidden"):
        world.messaging.update_channel_flow(ChannelFlowArn=flow, Name="New", Processors=[processor()])
    channel = world.channel(alice)
    for absent in (flow, another_world.flow()):
        with refusal("NotFound"):
            associate(world, channel, alice, absent)


@pytest.mark.two_nodes
def test_a_channel_has_one_flow_and_moderators_choose_it(world, alice, bob):
    channel = world.channel(alice, bob)
    flow, other = [world.flow() for _ in range(2)]
    with refusal("Forbidden"):
        associate(world, channel, bob, flow)
    with refusal("NotFound"):
        disassociate(world, channel, alice, flow)
    socket = world.connect(bob)
    assert status_of(associate(world, channel, alice, flow)) == 200
    event = socket.next()
    assert (event.type, event.message_type) == ("UPDATE_CHANNEL", "SYSTEM")
    assert event.payload["ChannelFlowArn"] == flow
    assert describe_channel(world, channel, bob)["ChannelFlowArn"] == flow
    for another in (flow, other):
        with refusal("Conflict"):
            associate(world, channel, alice, another)
    with refusal("NotFound"):
        disassociate(world, channel, alice, other)
    with refusal("Forbidden"):
        disassociate(world, channel, bob, flow)
    assert status_of(disassociate(world, channel, alice, flow)) == 204
    assert "ChannelFlowArn" not in socket.next().payload
    assert "ChannelFlowArn" not in describe_channel(world, channel, bob)


def test_the_channels_of_a_flow_are_listed_page_by_page(world, alice):
    flow, other = [world.flow() for _ in range(2)]
    channels = [world.channel(alice, name=f"Room {number}", Privacy="PUBLIC") for number in range(7)]
    for number, channel in enumerate(channels):
        associate(world, channel, alice, other if number == 3 else flow)
    world.messaging.delete_channel(ChannelArn=channels[5], ChimeBearer=alice)
    listed = everything(world.messaging.list_channels_associated_with_channel_flow, "Channels",
                        ChannelFlowArn=flow, MaxResults=2)
    assert {channel["ChannelArn"] for channel in listed} == {channels[number] for number in (0, 1, 2, 4, 6)}
    assert len(listed) == 5
    [only] = everything(world.messaging.list_channels_associated_with_channel_flow, "Channels", ChannelFlowArn=other)
    assert only == {"ChannelArn": channels[3], "Name": "Room 3", "Mode": "RESTRICTED", "Privacy": "PUBLIC"}


def test_a_flow_in_use_is_not_deleted(world, alice):
    flow = world.flow()
    one, other = world.channel(alice), world.channel(alice)
    associate(world, one, alice, flow)
    associate(world, other, alice, flow)
    world.messaging.delete_channel(ChannelArn=one, ChimeBearer=alice)
    with refusal("Conflict"):
        world.messaging.delete_channel_flow(ChannelFlowArn=flow)
    disassociate(world, other, alice, flow)
    world.messaging.delete_channel_flow(ChannelFlowArn=flow)


def test_a_flow_that_is_associated_and_deleted_at_once_is_one_or_the_other(world, alice):
    for _ in range(8):
        flow = world.flow()
        channels = [world.channel(alice) for _ in range(3)]
        calls = [lambda channel=channel: associate(world, channel, alice, flow) for channel in channels]
        deleted, *associated = race([lambda: world.messaging.delete_channel_flow(ChannelFlowArn=flow), *calls])
        if isinstance(deleted, Refused):
            assert deleted == "ConflictException"
            listed = everything(world.messaging.list_channels_associated_with_channel_flow, "Channels",
                                ChannelFlowArn=flow)
            assert len(listed) == sum(not isinstance(one, Refused) for one in associated) > 0
        else:
            assert associated == ["NotFoundException"] * 3
            assert not any("ChannelFlowArn" in describe_channel(world, channel, alice) for channel in channels)


def test_a_flow_that_continues_sends_at_once(world, alice, bob):
    channel = channel_with_flow(world, "CONTINUE", alice, bob)
    before = world.server.metric("failed_invocations_total")
    answer = world.post(channel, alice, "hello")
    assert answer["Status"] == {"Value": "SENT"}
    assert world.contents(channel, bob) == ["hello"]
    assert world.server.metric("failed_invocations_total") == before + 1


@pytest.mark.two_nodes
def test_a_flow_that_aborts_fails_the_message_for_its_sender_alone(world, alice, bob):
    channel = channel_with_flow(world, "ABORT", alice, bob)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(user) for user in (alice, bob)]
    answer = world.post(channel, alice, "hello", Metadata='{"local":1}')
    message_id = answer["MessageId"]
    assert answer["Status"] == {"Value": "PENDING"}
    of_alice, of_bob = fence.before(*sockets)
    assert of_bob == []
    assert [event.type for event in of_alice] == ["PENDING_CREATE_CHANNEL_MESSAGE", "FAILED_CREATE_CHANNEL_MESSAGE"]
    for event, value in zip(of_alice, ("PENDING", "FAILED"), strict=True):
        assert event.message_type == "STANDARD"
        assert event.payload["MessageId"] == message_id
        assert event.payload["Status"] == {"Value": value}
        assert event.payload["Metadata"] == '{"local":1}'
    [listed] = world.messages(channel, alice)
    assert (listed["MessageId"], listed["Status"]) == (message_id, {"Value": "FAILED"})
    found = world.messaging.get_channel_message_status(ChannelArn=channel, MessageId=message_id, ChimeBearer=alice)
    assert found["Status"] == {"Value": "FAILED"}
    assert world.messages(channel, bob) == []
    with refusal("NotFound"):
        world.messaging.get_channel_message(ChannelArn=channel, MessageId=message_id, ChimeBearer=bob)
    assert "LastMessageTimestamp" not in describe_channel(world, channel, alice)
    with refusal("Conflict"):
        world.messaging.update_channel_message(
            ChannelArn=channel, MessageId=message_id, Content="again", ChimeBearer=alice)


@pytest.mark.two_nodes
def test_a_non_persistent_message_that_fails_is_told_and_not_kept(world, alice, bob):
    channel = channel_with_flow(world, "ABORT", alice, bob)
    fence = Fence(world, alice, bob)
    sockets = [world.connect(user) for user in (alice, bob)]
    answer = world.post(channel, alice, "hello", persistence="NON_PERSISTENT")
    assert answer["Status"] == {"Value": "PENDING"}
    of_alice, of_bob = fence.before(*sockets)
    assert of_bob == []
    assert [event.type for event in of_alice] == ["PENDING_CREATE_CHANNEL_MESSAGE", "FAILED_CREATE_CHANNEL_MESSAGE"]
    assert {event.payload["MessageId"] for event in of_alice} == {answer["MessageId"]}
    assert world.messages(channel, alice) == []


def test_control_messages_pass_no_flow(world, alice, bob):
    channel = channel_with_flow(world, "ABORT", alice, bob)
    assert world.post(channel, alice, "typing", kind="CONTROL")["Status"] == {"Value": "SENT"}
    assert world.contents(channel, bob) == ["typing"]


@pytest.mark.two_nodes
def test_an_update_that_fails_leaves_the_old_text(world, alice, bob):
    channel = world.channel(alice, bob)
    message_id = world.send(channel, alice, "old")
    associate(world, channel, alice, world.flow("ABORT"))
    fence = Fence(world, alice, bob)
    sockets = [world.connect(user) for user in (alice, bob)]
    answer = world.messaging.update_channel_message(
        ChannelArn=channel, MessageId=message_id, Content="new", ChimeBearer=alice)
    assert answer["Status"] == {"Value": "PENDING"}
    of_alice, of_bob = fence.before(*sockets)
    assert of_bob == []
    assert [event.type for event in of_alice] == ["PENDING_UPDATE_CHANNEL_MESSAGE", "FAILED_UPDATE_CHANNEL_MESSAGE"]
    assert {event.payload["Content"] for event in of_alice} == {"new"}
    for reader in (alice, bob):
        [found] = world.messages(channel, reader)
        assert (found["Content"], found["Status"]) == ("old", {"Value": "SENT"})
        assert "LastEditedTimestamp" not in found


def test_a_repeat_of_a_failed_send_answers_pending_again(world, alice):
    channel = channel_with_flow(world, "ABORT", alice)
    first, second = [world.post(channel, alice, ClientRequestToken="token") for _ in range(2)]
    assert answer_of(first) == answer_of(second)
    assert len(world.messages(channel, alice)) == 1
