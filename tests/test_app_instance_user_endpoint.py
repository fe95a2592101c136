"""Endpoints of users: devices are registered and kept, though nothing is delivered to them yet."""

import concurrent.futures
import re
import uuid

import botocore.exceptions
import pytest

from support import clients
from support.clients import answer_of, everything, pages, refusal, status_of
from support.sigv4 import now
from support.world import World

pytestmark = pytest.mark.any_engine

PUSH_APP = "arn:aws:mobiletargeting:us-east-1:111122223333:apps/0123456789abcdef"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
STATE = {"Status": "INACTIVE", "StatusReason": "INVALID_PINPOINT_ARN"}


def register(world, user, device="device", *, kind="GCM", checked=True, **extra):
    extra = {"ClientRequestToken": str(uuid.uuid4()), "ResourceArn": PUSH_APP,
             "EndpointAttributes": {"DeviceToken": device}} | extra
    return clients.identity(world.server, checked=checked).register_app_instance_user_endpoint(
        AppInstanceUserArn=user, Type=kind, **extra)


def describe(world, user, endpoint):
    return world.identity.describe_app_instance_user_endpoint(
        AppInstanceUserArn=user, EndpointId=endpoint)["AppInstanceUserEndpoint"]


def deregister(world, user, endpoint):
    return world.identity.deregister_app_instance_user_endpoint(AppInstanceUserArn=user, EndpointId=endpoint)


def listed(world, user):
    return everything(world.identity.list_app_instance_user_endpoints, "AppInstanceUserEndpoints",
                      AppInstanceUserArn=user)


def test_register_answers_201_with_an_id_that_the_service_made(world, alice):
    answer = register(world, alice)
    assert status_of(answer) == 201
    assert sorted(answer_of(answer)) == ["AppInstanceUserArn", "EndpointId"]
    assert answer["AppInstanceUserArn"] == alice
    assert UUID.fullmatch(answer["EndpointId"])


@pytest.mark.parametrize("kind", ["APNS", "APNS_SANDBOX", "GCM"])
def test_describe_and_list_show_what_was_registered(world, alice, kind):
    before = now(-1)
    attributes = {"DeviceToken": "t" * 1600, "VoipDeviceToken": "voip"}
    endpoint = register(world, alice, kind=kind, Name="Älice's phone 📱", AllowMessages="NONE",
                        EndpointAttributes=attributes)["EndpointId"]
    summary = {"AppInstanceUserArn": alice, "EndpointId": endpoint, "Name": "Älice's phone 📱", "Type": kind,
               "AllowMessages": "NONE", "EndpointState": STATE}
    found = describe(world, alice, endpoint)
    created = found.pop("CreatedTimestamp")
    assert before < created < now(1)
    assert found.pop("LastUpdatedTimestamp") == created
    assert found == summary | {"ResourceArn": PUSH_APP, "EndpointAttributes": attributes}
    assert listed(world, alice) == [summary]


def test_all_messages_are_allowed_unless_told_otherwise(world, alice):
    found = describe(world, alice, register(world, alice)["EndpointId"])
    assert found["AllowMessages"] == "ALL"
    assert "Name" not in found
    assert found["EndpointAttributes"] == {"DeviceToken": "device"}


@pytest.mark.parametrize("extra", [
    {"kind": "ADM"}, {"ResourceArn": "nowhere"}, {"EndpointAttributes": {}}, {"EndpointAttributes": {"DeviceToken": ""}},
    {"EndpointAttributes": {"DeviceToken": "x" * 1601}}, {"Name": "x" * 1601}, {"AllowMessages": "SOME"},
    {"EndpointAttributes": {"DeviceToken": "x", "VoipDeviceToken": ""}}, {"ClientRequestToken": "x"},
])
def test_what_the_model_forbids_is_refused(world, alice, extra):
    with refusal("BadRequest"):
        register(world, alice, checked=False, **extra)
    assert listed(world, alice) == []


def test_the_same_device_again_is_a_conflict(world, alice, bob):
    first = register(world, alice)["EndpointId"]
    with refusal("Conflict"):
        register(world, alice, Name="again", ResourceArn=PUSH_APP + "0")
    register(world, alice, kind="APNS")
    register(world, alice, device="another")
    register(world, bob)
    assert status_of(deregister(world, alice, first)) == 204
    assert register(world, alice)["EndpointId"] != first
    assert len(listed(world, alice)) == 3


def test_a_token_answers_the_first_endpoint_again(world, alice):
    token = str(uuid.uuid4())
    first = register(world, alice, ClientRequestToken=token)["EndpointId"]
    assert register(world, alice, ClientRequestToken=token)["EndpointId"] == first
    with refusal("Conflict"):
        register(world, alice, device="another", ClientRequestToken=token)
    assert len(listed(world, alice)) == 1


def test_update_changes_name_and_allowed_messages(world, alice):
    endpoint = register(world, alice)["EndpointId"]
    created = describe(world, alice, endpoint)["CreatedTimestamp"]
    answer = world.identity.update_app_instance_user_endpoint(
        AppInstanceUserArn=alice, EndpointId=endpoint, Name="Tablet")
    assert status_of(answer) == 200
    assert answer_of(answer) == {"AppInstanceUserArn": alice, "EndpointId": endpoint}
    world.identity.update_app_instance_user_endpoint(
        AppInstanceUserArn=alice, EndpointId=endpoint, AllowMessages="NONE")
    found = describe(world, alice, endpoint)
    assert (found["Name"], found["AllowMessages"], found["CreatedTimestamp"]) == ("Tablet", "NONE", created)
    assert found["LastUpdatedTimestamp"] > created
    with refusal("BadRequest"):
        clients.identity(world.server, checked=False).update_app_instance_user_endpoint(
            AppInstanceUserArn=alice, EndpointId=endpoint, AllowMessages="SOME")


def test_an_endpoint_that_is_not_the_users_is_forbidden(world, alice, bob):
    endpoint = register(world, alice)["EndpointId"]
    gone = register(world, bob)["EndpointId"]
    deregister(world, bob, gone)
    for user, one in ((bob, endpoint), (bob, gone), (alice, "x"), (alice, str(uuid.uuid4())),
                      (f"{world.arn}/user/nobody", endpoint)):
        for call in (describe, deregister):
            with refusal("Forbidden"):
                call(world, user, one)
        with refusal("Forbidden"):
            world.identity.update_app_instance_user_endpoint(AppInstanceUserArn=user, EndpointId=one, Name="x")
    with refusal("Forbidden"):
        register(world, f"{world.arn}/user/nobody")


def test_the_eleventh_device_is_refused_and_a_deregistered_one_frees_the_place(world, alice):
    endpoints = [register(world, alice, device=str(number))["EndpointId"] for number in range(10)]
    with refusal("ResourceLimitExceeded"):
        register(world, alice, device="eleventh")
    deregister(world, alice, endpoints[4])
    endpoints[4] = register(world, alice, device="eleventh")["EndpointId"]
    for size in (1, 3, 10, 50):
        found = list(pages(world.identity.list_app_instance_user_endpoints, "AppInstanceUserEndpoints",
                           AppInstanceUserArn=alice, MaxResults=size))
        assert [len(page) for page in found[:-1]] == [size] * (len(found) - 1)
        assert [item["EndpointId"] for page in found for item in page] == sorted(endpoints)


def test_of_many_who_register_one_device_at_once_one_does(world, alice):
    def attempt(number):
        try:
            return register(world, alice, Name=str(number))["EndpointId"]
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(16)))
    assert outcomes.count("ConflictException") == 15
    assert [item["EndpointId"] for item in listed(world, alice)] == [
        outcome for outcome in outcomes if outcome != "ConflictException"]


def test_endpoints_go_with_their_user(world, alice):
    endpoint = register(world, alice)["EndpointId"]
    world.identity.delete_app_instance_user(AppInstanceUserArn=alice)
    with refusal("Forbidden"):
        describe(world, alice, endpoint)
    assert world.user("alice") == alice
    assert listed(world, alice) == []
    register(world, alice)


def test_registered_devices_are_counted_and_outlast_a_restart(start):
    server = start()
    world = World(server)
    alice = world.user("alice")
    endpoint = register(world, alice, device="a secret token")["EndpointId"]
    assert server.metric("endpoints_undeliverable_total") == 1
    server.restart()
    world.reconnect()
    assert describe(world, alice, endpoint)["EndpointAttributes"] == {"DeviceToken": "a secret token"}
    with refusal("Conflict"):
        register(world, alice, device="a secret token")
    assert server.metric("endpoints_undeliverable_total") == 0
    assert "a secret token" not in server.whole_log()
