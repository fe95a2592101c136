"""Tags: both services have the same three operations, and either answers for every resource."""

import concurrent.futures

import pytest

from support import clients
from support.clients import answer_of, refusal, status_of

pytestmark = pytest.mark.any_engine

SERVICES = {"identity": clients.identity, "messaging": clients.messaging}


def as_list(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@pytest.fixture(params=SERVICES)
def tagging(request, world):
    """A client of each service."""
    return SERVICES[request.param](world.server)


@pytest.fixture
def resources(world, alice):
    return {"app instance": world.arn, "user": alice, "bot": world.bot(), "channel": world.channel(alice)}


def tags_of(tagging, arn):
    return {tag["Key"]: tag["Value"] for tag in tagging.list_tags_for_resource(ResourceARN=arn)["Tags"]}


@pytest.mark.parametrize("kind", ["app instance", "user", "bot", "channel"])
def test_tags_are_added_replaced_listed_and_removed(tagging, resources, kind):
    arn = resources[kind]
    empty = tagging.list_tags_for_resource(ResourceARN=arn)
    assert status_of(empty) == 200
    assert answer_of(empty) == {"Tags": []}
    answer = tagging.tag_resource(ResourceARN=arn, Tags=as_list({"team": "blue", "größe": "XL 🎈", "Team": "x"}))
    assert status_of(answer) == 204
    assert answer_of(answer) == {}
    tagging.tag_resource(ResourceARN=arn, Tags=as_list({"team": "red"}))
    assert tags_of(tagging, arn) == {"team": "red", "größe": "XL 🎈", "Team": "x"}
    answer = tagging.untag_resource(ResourceARN=arn, TagKeys=["team", "never there"])
    assert status_of(answer) == 204
    assert tags_of(tagging, arn) == {"größe": "XL 🎈", "Team": "x"}


def test_what_one_service_tags_the_other_lists(world, resources):
    for arn in resources.values():
        clients.identity(world.server).tag_resource(ResourceARN=arn, Tags=as_list({"by": "identity"}))
        assert tags_of(clients.messaging(world.server), arn) == {"by": "identity"}


def test_tags_of_the_create_are_listed(world, alice, tagging):
    tags = {"a": "1", "b": "2"}
    for arn in (world.user("tagged", Tags=as_list(tags)), world.bot(Tags=as_list(tags)),
                world.channel(alice, Tags=as_list(tags))):
        assert tags_of(tagging, arn) == tags


def test_fifty_tags_fit(tagging, alice):
    tagging.tag_resource(ResourceARN=alice, Tags=as_list({f"key-{number}": "v" for number in range(50)}))
    with refusal("ResourceLimitExceeded"):
        tagging.tag_resource(ResourceARN=alice, Tags=as_list({"key-7": "changed", "one-more": "v"}))
    assert tags_of(tagging, alice)["key-7"] == "v"
    tagging.tag_resource(ResourceARN=alice, Tags=as_list({"key-7": "changed"}))
    tagging.untag_resource(ResourceARN=alice, TagKeys=["key-8"])
    tagging.tag_resource(ResourceARN=alice, Tags=as_list({"one-more": "v"}))
    found = tags_of(tagging, alice)
    assert len(found) == 50
    assert found["key-7"] == "changed"


@pytest.mark.parametrize("tags", [
    [], [{"Key": "k"}], [{"Value": "v"}], as_list({"": "v"}), as_list({"k": ""}), as_list({"k" * 129: "v"}),
    as_list({"k": "v" * 257}), as_list({"aws:team": "v"}), as_list({"Aws:team": "v"}),
    as_list({"k": "1"}) + as_list({"k": "2"}), as_list({f"key-{number}": "v" for number in range(51)}),
])
def test_tags_that_are_none_are_refused(world, alice, tags):
    with refusal("BadRequest"):
        clients.identity(world.server, checked=False).tag_resource(ResourceARN=alice, Tags=tags)
    assert tags_of(world.identity, alice) == {}


def test_a_resource_that_is_not_there_is_forbidden(world, another_world, tagging):
    gone = world.user("gone")
    world.identity.delete_app_instance_user(AppInstanceUserArn=gone)
    for arn in (gone, f"{world.arn}/bot/none", f"{world.arn}/channel/none", f"{another_world.arn}/user/gone",
                f"{world.arn}/channel-flow/none", "arn:aws:s3:::bucket"):
        with refusal("Forbidden"):
            tagging.tag_resource(ResourceARN=arn, Tags=as_list({"k": "v"}))
        with refusal("Forbidden"):
            tagging.untag_resource(ResourceARN=arn, TagKeys=["k"])
        with refusal("Forbidden"):
            tagging.list_tags_for_resource(ResourceARN=arn)


def test_tags_are_not_inherited_under_a_name_that_is_used_again(world, alice):
    world.identity.tag_resource(ResourceARN=alice, Tags=as_list({"k": "v"}))
    world.identity.delete_app_instance_user(AppInstanceUserArn=alice)
    assert world.user("alice") == alice
    assert tags_of(world.identity, alice) == {}


def test_tags_that_are_put_at_once_all_stay(world, alice):
    def put(number):
        world.identity.tag_resource(ResourceARN=alice, Tags=as_list({f"key-{number}": str(number)}))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(40)))
    assert tags_of(world.identity, alice) == {f"key-{number}": str(number) for number in range(40)}
