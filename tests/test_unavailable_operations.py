"""Operations whose rule is not in this release: routed, decoded and checked, then a clean refusal.

The inputs are the smallest that the model allows, made from botocore's own model, so that an operation
which leaves the list of what is unavailable makes this file fail until it has tests of its own.
"""

import uuid

import botocore.session
import pytest

from support import clients
from support.clients import refusal

AVAILABLE = {
    "CreateAppInstance", "DescribeAppInstance", "ListAppInstances", "DeleteAppInstance",
    "CreateAppInstanceUser", "DescribeAppInstanceUser", "ListAppInstanceUsers", "DeleteAppInstanceUser",
    "CreateAppInstanceAdmin", "CreateChannel", "DescribeChannel", "ListChannels", "DeleteChannel",
    "CreateChannelMembership", "DescribeChannelMembership", "ListChannelMemberships",
    "DeleteChannelMembership", "SendChannelMessage", "ListChannelMessages", "GetChannelMessage",
    "CreateChannelModerator", "DescribeChannelModerator", "ListChannelModerators", "DeleteChannelModerator",
    "CreateChannelBan", "DescribeChannelBan", "ListChannelBans", "DeleteChannelBan",
    "BatchCreateChannelMembership",
    "UpdateChannel", "UpdateChannelReadMarker", "GetChannelMembershipPreferences", "PutChannelMembershipPreferences",
    "ListChannelMembershipsForAppInstanceUser", "DescribeChannelMembershipForAppInstanceUser",
    "ListChannelsModeratedByAppInstanceUser", "DescribeChannelModeratedByAppInstanceUser", "SearchChannels",
    "UpdateAppInstance", "UpdateAppInstanceUser", "UpdateAppInstanceBot",
    "DescribeAppInstanceAdmin", "ListAppInstanceAdmins", "DeleteAppInstanceAdmin",
    "CreateAppInstanceBot", "DescribeAppInstanceBot", "ListAppInstanceBots", "DeleteAppInstanceBot",
    "RegisterAppInstanceUserEndpoint", "DescribeAppInstanceUserEndpoint", "ListAppInstanceUserEndpoints",
    "UpdateAppInstanceUserEndpoint", "DeregisterAppInstanceUserEndpoint",
    "TagResource", "UntagResource", "ListTagsForResource",
    "PutMessagingStreamingConfigurations", "GetMessagingStreamingConfigurations",
    "DeleteMessagingStreamingConfigurations",
    "GetMessagingSessionEndpoint", "UpdateChannelMessage", "RedactChannelMessage", "DeleteChannelMessage",
    "GetChannelMessageStatus", "CreateChannelFlow", "DescribeChannelFlow", "ListChannelFlows",
    "UpdateChannelFlow", "DeleteChannelFlow", "AssociateChannelFlow", "DisassociateChannelFlow",
    "ListChannelsAssociatedWithChannelFlow",
    "PutChannelExpirationSettings", "PutAppInstanceUserExpirationSettings",
    "GetAppInstanceRetentionSettings", "PutAppInstanceRetentionSettings", "ListSubChannels",
}
SERVICES = ("chime-sdk-identity", "chime-sdk-messaging")
MODELS = {name: botocore.session.get_session().get_service_model(name) for name in SERVICES}
OPERATIONS = [(service, name) for service in SERVICES for name in MODELS[service].operation_names]
UNAVAILABLE = [(service, name) for service, name in OPERATIONS if name not in AVAILABLE]

LEX_ALIAS = "arn:aws:lex:us-east-1:000000000000:bot-alias/ABCDEFGHIJ/KLMNOPQRST"
# Values that the constraints of the model ask for, by member name.
TEXTS = {
    "LexBotAliasArn": LEX_ALIAS,
    "LocaleId": "en_US",
    "MessageId": "0" * 64,
    "CallbackId": str(uuid.uuid4()),
    "ClientRequestToken": str(uuid.uuid4()),
}


def text_for(name, arns):
    if name in arns:
        return arns[name]
    if name in TEXTS:
        return TEXTS[name]
    if name == "ResourceArn" or name.endswith("LambdaArn"):
        return "arn:aws:lambda:us-east-1:000000000000:function:processor"
    return "value"


def smallest(shape, name, arns):
    """The smallest value of a shape that the model allows."""
    if shape.type_name == "structure":
        return {member: smallest(shape.members[member], member, arns) for member in shape.required_members}
    if shape.type_name == "list":
        item = smallest(shape.member, name.removesuffix("s"), arns)
        return [item] * max(1, shape.metadata.get("min", 1))
    if shape.type_name == "map":
        return {}
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else text_for(name, arns)
    if shape.type_name == "boolean":
        return False
    assert shape.type_name in ("integer", "long"), shape
    return shape.metadata.get("min", 1)


@pytest.fixture
def arns(world, alice, bob):
    channel = world.channel(alice, bob)
    return {
        "AppInstanceArn": world.arn,
        "AppInstanceUserArn": alice,
        "AppInstanceAdminArn": alice,
        "AppInstanceBotArn": f"{world.arn}/bot/{uuid.uuid4()}",
        "ChannelArn": channel,
        "ChannelFlowArn": f"{world.arn}/channel-flow/{uuid.uuid4()}",
        "ChannelModeratorArn": alice,
        "MemberArn": bob,
        "ResourceARN": channel,
        "ChimeBearer": alice,
    }


def call(server, service, name, arguments, **options):
    client = {"chime-sdk-identity": clients.identity, "chime-sdk-messaging": clients.messaging}[service]
    method = {operation: method for method, operation in client(server).meta.method_to_api_mapping.items()}[name]
    return getattr(client(server, **options), method)(**arguments)


def smallest_input(service, name, arns):
    return smallest(MODELS[service].operation_model(name).input_shape, name, arns)


def ids(parameters):
    return [f"{service.removeprefix('chime-sdk-')}-{name}" for service, name in parameters]


def test_the_model_has_the_operations_that_this_release_knows():
    assert len(MODELS["chime-sdk-identity"].operation_names) == 30
    assert len(MODELS["chime-sdk-messaging"].operation_names) == 51
    assert {name for _, name in OPERATIONS} >= AVAILABLE
    assert len(UNAVAILABLE) == 1


@pytest.mark.parametrize("service, name", UNAVAILABLE, ids=ids(UNAVAILABLE))
def test_a_valid_request_is_told_that_the_operation_is_not_available(server, arns, service, name):
    with refusal("BadRequest", f"{name} is not available in this version"):
        call(server, service, name, smallest_input(service, name, arns))


@pytest.mark.parametrize("service, name", UNAVAILABLE, ids=ids(UNAVAILABLE))
def test_an_invalid_request_is_told_what_is_wrong_instead(server, arns, service, name):
    arguments = smallest_input(service, name, arns)
    shape = MODELS[service].operation_model(name).input_shape
    resource = next(member for member in shape.required_members
                    if member.lower().endswith("arn") and member != "ChimeBearer")
    arguments[resource] = "not-an-arn" * 200
    with refusal("BadRequest") as caught:
        call(server, service, name, arguments, checked=False)
    assert "failed to satisfy constraint" in caught.value.response["Error"]["Message"]
