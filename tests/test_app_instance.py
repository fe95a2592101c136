"""App instances: create, describe, list, delete, and the quota of 100."""

import re
import uuid

import pytest

from support import clients
from support.clients import answer_of, everything, refusal, status_of
from support.sigv4 import now
from support.world import World

pytestmark = pytest.mark.any_engine

ARN = re.compile(r"arn:aws:chime:us-east-1:000000000000:app-instance/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}"
                 r"-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture
def identity(server):
    return clients.identity(server)


@pytest.fixture
def create(identity):
    """Creates app instances that are gone when the test ends."""
    made = []

    def create_one(**arguments):
        answer = identity.create_app_instance(**arguments)
        made.append(answer["AppInstanceArn"])
        return answer

    yield create_one
    for arn in made:
        identity.delete_app_instance(AppInstanceArn=arn)


def test_create_answers_201_with_the_arn_only(create):
    answer = create(Name="Anything", ClientRequestToken=str(uuid.uuid4()))
    assert status_of(answer) == 201
    assert list(answer_of(answer)) == ["AppInstanceArn"]
    assert ARN.fullmatch(answer["AppInstanceArn"])


def test_ids_are_made_by_the_service_and_differ(create):
    arns = {create(Name="Same name", ClientRequestToken=str(uuid.uuid4()))["AppInstanceArn"] for _ in range(3)}
    assert len(arns) == 3


def test_describe_shows_what_was_created(create, identity):
    before = now(-1)
    arn = create(Name="Described", Metadata='{"k": 1}', ClientRequestToken=str(uuid.uuid4()))["AppInstanceArn"]
    found = identity.describe_app_instance(AppInstanceArn=arn)
    assert status_of(found) == 200
    instance = found["AppInstance"]
    created = instance.pop("CreatedTimestamp")
    assert before < created < now(1)
    assert instance.pop("LastUpdatedTimestamp") == created
    assert instance == {"AppInstanceArn": arn, "Name": "Described", "Metadata": '{"k": 1}'}


def test_metadata_that_was_not_given_is_left_out(create, identity):
    arn = create(Name="Plain", ClientRequestToken=str(uuid.uuid4()))["AppInstanceArn"]
    assert "Metadata" not in identity.describe_app_instance(AppInstanceArn=arn)["AppInstance"]
    listed = everything(identity.list_app_instances, "AppInstances")
    assert {"AppInstanceArn": arn, "Name": "Plain"} in listed


@pytest.mark.parametrize("name", ["x" * 256, "🏢 Büro", "tab\tand\nnewline", "\u0085\u00a0"])
def test_names_hold_printable_text_of_256_characters(create, identity, name):
    arn = create(Name=name, ClientRequestToken=str(uuid.uuid4()))["AppInstanceArn"]
    assert identity.describe_app_instance(AppInstanceArn=arn)["AppInstance"]["Name"] == name


@pytest.mark.parametrize("name", ["", "x" * 257, "bell\x07", "nul\x00", "\x7f"])
def test_empty_long_and_control_character_names_are_refused(server, name):
    with refusal("BadRequest"):
        clients.identity(server, checked=False).create_app_instance(Name=name, ClientRequestToken="token")


def test_list_shows_summaries(create, identity):
    arn = create(Name="Listed", Metadata="m", ClientRequestToken=str(uuid.uuid4()))["AppInstanceArn"]
    listed = everything(identity.list_app_instances, "AppInstances")
    assert {"AppInstanceArn": arn, "Name": "Listed", "Metadata": "m"} in listed


def test_delete_answers_204_and_hides_everything_below_at_once(server):
    world = World(server)
    alice, bob = world.users("alice", "bob")
    channel = world.channel(alice, bob)
    world.send(channel, alice)
    answer = world.identity.delete_app_instance(AppInstanceArn=world.arn)
    assert status_of(answer) == 204
    assert answer_of(answer) == {}
    with refusal("Forbidden"):
        world.identity.describe_app_instance(AppInstanceArn=world.arn)
    with refusal("Forbidden"):
        world.identity.describe_app_instance_user(AppInstanceUserArn=alice)
    with refusal("Forbidden"):
        world.identity.list_app_instance_users(AppInstanceArn=world.arn)
    with refusal("Unauthorized", clients.BAD_BEARER):
        world.messaging.describe_channel(ChannelArn=channel, ChimeBearer=alice)
    listed = everything(world.identity.list_app_instances, "AppInstances")
    assert world.arn not in [item["AppInstanceArn"] for item in listed]
    with refusal("Forbidden"):
        world.identity.delete_app_instance(AppInstanceArn=world.arn)


@pytest.mark.parametrize("operation", ["describe_app_instance", "delete_app_instance", "list_app_instance_users"])
@pytest.mark.parametrize("arn", [
    "arn:aws:chime:us-east-1:000000000000:app-instance/00000000-0000-4000-8000-000000000000",
    "arn:aws:chime:eu-central-1:000000000000:app-instance/00000000-0000-4000-8000-000000000000",
    "arn:aws:chime:us-east-1:999999999999:app-instance/00000000-0000-4000-8000-000000000000",
], ids=["unknown", "other region", "other account"])
def test_a_missing_app_instance_is_forbidden(identity, operation, arn):
    with refusal("Forbidden"):
        getattr(identity, operation)(AppInstanceArn=arn)


def test_the_101st_app_instance_is_refused_and_a_deletion_frees_the_place(start):
    identity = clients.identity(start(data_dir=":memory:"))

    def create():
        return identity.create_app_instance(Name="One of many", ClientRequestToken=str(uuid.uuid4()))

    arns = [create()["AppInstanceArn"] for _ in range(100)]
    with refusal("ResourceLimitExceeded"):
        create()
    identity.delete_app_instance(AppInstanceArn=arns[0])
    create()
    with refusal("ResourceLimitExceeded"):
        create()


def test_update_replaces_name_and_metadata(create, identity):
    arn = create(Name="Before", Metadata="kept?", ClientRequestToken=str(uuid.uuid4()))["AppInstanceArn"]
    created = identity.describe_app_instance(AppInstanceArn=arn)["AppInstance"]["CreatedTimestamp"]
    answer = identity.update_app_instance(AppInstanceArn=arn, Name="After 🎉", Metadata="line one\nline two")
    assert status_of(answer) == 200
    assert answer_of(answer) == {"AppInstanceArn": arn}
    instance = identity.describe_app_instance(AppInstanceArn=arn)["AppInstance"]
    assert instance.pop("LastUpdatedTimestamp") > created
    assert instance == {"AppInstanceArn": arn, "Name": "After 🎉", "Metadata": "line one\nline two",
                        "CreatedTimestamp": created}
    listed = everything(identity.list_app_instances, "AppInstances")
    assert {"AppInstanceArn": arn, "Name": "After 🎉", "Metadata": "line one\nline two"} in listed


def test_an_update_to_empty_metadata_leaves_none(create, identity):
    arn = create(Name="Named", Metadata="something", ClientRequestToken=str(uuid.uuid4()))["AppInstanceArn"]
    identity.update_app_instance(AppInstanceArn=arn, Name="Named", Metadata="")
    assert "Metadata" not in identity.describe_app_instance(AppInstanceArn=arn)["AppInstance"]


@pytest.mark.parametrize("arguments", [
    {"Name": "x"}, {"Metadata": "x"}, {"Name": "", "Metadata": "x"}, {"Name": "x" * 257, "Metadata": "x"},
    {"Name": "x", "Metadata": "é" * 513}, {"Name": "a\0b", "Metadata": "x"},
])
def test_an_update_that_breaks_a_constraint_changes_nothing(world, arguments):
    with refusal("BadRequest"):
        clients.identity(world.server, checked=False).update_app_instance(AppInstanceArn=world.arn, **arguments)
    assert world.identity.describe_app_instance(AppInstanceArn=world.arn)["AppInstance"]["Name"] == "World"


def test_an_update_of_a_missing_app_instance_is_forbidden(world, alice):
    for arn, name in ((world.arn[:-1] + ("0" if world.arn[-1] != "0" else "1"), "Forbidden"), (alice, "BadRequest")):
        with refusal(name):
            world.identity.update_app_instance(AppInstanceArn=arn, Name="x", Metadata="x")
