"""The conducts of the identity operations. None of them has a bearer."""

from support.clients import refusal
from support.conformance.conduct import conduct
from support.conformance.stage import LEX, endpoint_input

GONE_APP = {"AppInstanceArn": "Forbidden"}
GONE_USER = {"AppInstanceUserArn": "Forbidden"}
GONE_BOT = {"AppInstanceBotArn": "Forbidden"}
TAGS = [{"Key": "team", "Value": "bells"}, {"Key": "stage", "Value": "test"}]


def described_app(stage, app):
    return stage.identity.describe_app_instance(AppInstanceArn=app)["AppInstance"]


def described_user(stage, user):
    return stage.identity.describe_app_instance_user(AppInstanceUserArn=user)["AppInstanceUser"]


def described_bot(stage, bot):
    return stage.identity.describe_app_instance_bot(AppInstanceBotArn=bot)["AppInstanceBot"]


def tags_of(client, resource):
    return sorted(client.list_tags_for_resource(ResourceARN=resource)["Tags"], key=str)


@conduct("identity", "CreateAppInstance", gives=["AppInstanceArn"])
def create_app_instance(stage):
    given = {"Name": "Bell tower", "Metadata": "öffentlich", "ClientRequestToken": stage.token(), "Tags": TAGS}
    answer = yield given
    stage.keep_app(answer["AppInstanceArn"])
    found = described_app(stage, answer["AppInstanceArn"])
    assert (found["Name"], found["Metadata"]) == ("Bell tower", "öffentlich")
    assert stage.identity.create_app_instance(**given)["AppInstanceArn"] == answer["AppInstanceArn"]


@conduct("identity", "DescribeAppInstance", gives=["AppInstance"], unknown=GONE_APP)
def describe_app_instance(stage):
    answer = yield {"AppInstanceArn": stage.app}
    assert (answer["AppInstance"]["AppInstanceArn"], answer["AppInstance"]["Name"]) == (stage.app, "Stage")
    assert answer["AppInstance"]["CreatedTimestamp"] == answer["AppInstance"]["LastUpdatedTimestamp"]


@conduct("identity", "ListAppInstances", gives=["AppInstances"])
def list_app_instances(stage):
    answer = yield {"MaxResults": 50}
    assert len(answer["AppInstances"]) >= 2
    listed = stage.everything(stage.identity.list_app_instances, "AppInstances")
    assert {"AppInstanceArn": stage.app, "Name": "Stage"} in listed


@conduct("identity", "UpdateAppInstance", gives=["AppInstanceArn"], unknown=GONE_APP)
def update_app_instance(stage):
    app = stage.new_app()
    stage.keep_app(app)
    answer = yield {"AppInstanceArn": app, "Name": "Renamed", "Metadata": "second"}
    assert answer["AppInstanceArn"] == app
    found = described_app(stage, app)
    assert (found["Name"], found["Metadata"]) == ("Renamed", "second")
    assert found["LastUpdatedTimestamp"] >= found["CreatedTimestamp"]


@conduct("identity", "DeleteAppInstance", unknown=GONE_APP)
def delete_app_instance(stage):
    app = stage.new_app()
    yield {"AppInstanceArn": app}
    with refusal("Forbidden"):
        described_app(stage, app)


@conduct("identity", "CreateAppInstanceUser", gives=["AppInstanceUserArn"], unknown=GONE_APP)
def create_app_instance_user(stage):
    user_id = stage.new_name("somebody@example.com:")
    answer = yield {"AppInstanceArn": stage.app, "AppInstanceUserId": user_id, "Name": "Zoë", "Metadata": "new",
                    "ClientRequestToken": stage.token(), "Tags": TAGS}
    assert answer["AppInstanceUserArn"] == f"{stage.app}/user/{user_id}"
    found = described_user(stage, answer["AppInstanceUserArn"])
    assert (found["Name"], found["Metadata"]) == ("Zoë", "new")


@conduct("identity", "DescribeAppInstanceUser", gives=["AppInstanceUser"], unknown=GONE_USER)
def describe_app_instance_user(stage):
    answer = yield {"AppInstanceUserArn": stage.member}
    found = answer["AppInstanceUser"]
    assert (found["AppInstanceUserArn"], found["Name"]) == (stage.member, "Member")
    assert found["CreatedTimestamp"] == found["LastUpdatedTimestamp"]


@conduct("identity", "ListAppInstanceUsers", gives=["AppInstanceArn", "AppInstanceUsers"], unknown=GONE_APP)
def list_app_instance_users(stage):
    answer = yield {"AppInstanceArn": stage.app, "MaxResults": 50}
    assert answer["AppInstanceArn"] == stage.app
    assert {"AppInstanceUserArn": stage.member, "Name": "Member"} in answer["AppInstanceUsers"]


@conduct("identity", "UpdateAppInstanceUser", gives=["AppInstanceUserArn"], unknown=GONE_USER)
def update_app_instance_user(stage):
    user = stage.user()
    answer = yield {"AppInstanceUserArn": user, "Name": "Renamed", "Metadata": "second"}
    assert answer["AppInstanceUserArn"] == user
    assert (described_user(stage, user)["Name"], described_user(stage, user)["Metadata"]) == ("Renamed", "second")


@conduct("identity", "DeleteAppInstanceUser", unknown=GONE_USER)
def delete_app_instance_user(stage):
    user = stage.user()
    yield {"AppInstanceUserArn": user}
    with refusal("Forbidden"):
        described_user(stage, user)


@conduct("identity", "PutAppInstanceUserExpirationSettings", gives=["AppInstanceUserArn", "ExpirationSettings"],
         unknown=GONE_USER)
def put_app_instance_user_expiration_settings(stage):
    settings = {"ExpirationDays": 30, "ExpirationCriterion": "CREATED_TIMESTAMP"}
    user = stage.user()
    answer = yield {"AppInstanceUserArn": user, "ExpirationSettings": settings}
    assert answer == {"AppInstanceUserArn": user, "ExpirationSettings": settings}
    assert described_user(stage, user)["ExpirationSettings"] == settings


@conduct("identity", "CreateAppInstanceAdmin", gives=["AppInstanceAdmin", "AppInstanceArn"],
         unknown=GONE_APP | {"AppInstanceAdminArn": "Forbidden"})
def create_app_instance_admin(stage):
    user = stage.user()
    answer = yield {"AppInstanceArn": stage.app, "AppInstanceAdminArn": user}
    assert answer == {"AppInstanceArn": stage.app, "AppInstanceAdmin": {"Arn": user, "Name": "A User"}}
    stage.messaging.list_channels(AppInstanceArn=stage.app, Privacy="PRIVATE", ChimeBearer=user)


@conduct("identity", "DescribeAppInstanceAdmin", gives=["AppInstanceAdmin"], unknown=GONE_APP,
         absent={"AppInstanceAdminArn": "Forbidden"})
def describe_app_instance_admin(stage):
    answer = yield {"AppInstanceArn": stage.app, "AppInstanceAdminArn": stage.admin}
    found = answer["AppInstanceAdmin"]
    assert (found["Admin"], found["AppInstanceArn"]) == ({"Arn": stage.admin, "Name": "Admin"}, stage.app)
    assert found["CreatedTimestamp"]


@conduct("identity", "ListAppInstanceAdmins", gives=["AppInstanceArn", "AppInstanceAdmins"], unknown=GONE_APP)
def list_app_instance_admins(stage):
    answer = yield {"AppInstanceArn": stage.app, "MaxResults": 50}
    assert answer["AppInstanceArn"] == stage.app
    assert {"Admin": {"Arn": stage.admin, "Name": "Admin"}} in answer["AppInstanceAdmins"]


@conduct("identity", "DeleteAppInstanceAdmin", unknown=GONE_APP, absent={"AppInstanceAdminArn": "Forbidden"})
def delete_app_instance_admin(stage):
    user = stage.world.make_admin(stage.user())
    yield {"AppInstanceArn": stage.app, "AppInstanceAdminArn": user}
    assert described_user(stage, user)["AppInstanceUserArn"] == user, "the user stays"
    with refusal("Forbidden"):
        stage.messaging.list_channels(AppInstanceArn=stage.app, Privacy="PRIVATE", ChimeBearer=user)


@conduct("identity", "CreateAppInstanceBot", gives=["AppInstanceBotArn"], unknown=GONE_APP)
def create_app_instance_bot(stage):
    answer = yield {"AppInstanceArn": stage.app, "Name": "Bell bot", "Metadata": "new",
                    "ClientRequestToken": stage.token(), "Tags": TAGS, "Configuration": LEX}
    bot = answer["AppInstanceBotArn"]
    assert bot.startswith(f"{stage.app}/bot/")
    found = described_bot(stage, bot)
    assert (found["Name"], found["Metadata"], found["Configuration"]) == ("Bell bot", "new", LEX)


def refusal_of_a_bot(stage, bot):
    """Only of an app instance that is there can be told that it has no such bot."""
    return "NotFound" if bot.startswith(f"{stage.app}/") else "Forbidden"


@conduct("identity", "DescribeAppInstanceBot", gives=["AppInstanceBot"],
         unknown={"AppInstanceBotArn": refusal_of_a_bot})
def describe_app_instance_bot(stage):
    bot = stage.bot()
    answer = yield {"AppInstanceBotArn": bot}
    found = answer["AppInstanceBot"]
    assert (found["AppInstanceBotArn"], found["Name"], found["Metadata"]) == (bot, "A Bot", "first")
    assert found["Configuration"] == LEX
    assert found["CreatedTimestamp"] == found["LastUpdatedTimestamp"]


@conduct("identity", "ListAppInstanceBots", gives=["AppInstanceArn", "AppInstanceBots"], unknown=GONE_APP)
def list_app_instance_bots(stage):
    bot = stage.bot()
    answer = yield {"AppInstanceArn": stage.app, "MaxResults": 50}
    assert answer["AppInstanceArn"] == stage.app
    assert {"AppInstanceBotArn": bot, "Name": "A Bot", "Metadata": "first"} in answer["AppInstanceBots"]


@conduct("identity", "UpdateAppInstanceBot", gives=["AppInstanceBotArn"], unknown=GONE_BOT)
def update_app_instance_bot(stage):
    bot = stage.bot()
    answer = yield {"AppInstanceBotArn": bot, "Name": "Renamed", "Metadata": "second"}
    assert answer["AppInstanceBotArn"] == bot
    found = described_bot(stage, bot)
    assert (found["Name"], found["Metadata"], found["Configuration"]) == ("Renamed", "second", LEX)


@conduct("identity", "DeleteAppInstanceBot", unknown=GONE_BOT)
def delete_app_instance_bot(stage):
    bot = stage.bot()
    yield {"AppInstanceBotArn": bot}
    listed = stage.everything(stage.identity.list_app_instance_bots, "AppInstanceBots", AppInstanceArn=stage.app)
    assert bot not in [item["AppInstanceBotArn"] for item in listed]


@conduct("identity", "RegisterAppInstanceUserEndpoint", gives=["AppInstanceUserArn", "EndpointId"],
         unknown=GONE_USER)
def register_app_instance_user_endpoint(stage):
    user = stage.user()
    given = endpoint_input(user) | {"ClientRequestToken": stage.token()}
    answer = yield given
    assert answer["AppInstanceUserArn"] == user
    found = stage.identity.describe_app_instance_user_endpoint(
        AppInstanceUserArn=user, EndpointId=answer["EndpointId"])["AppInstanceUserEndpoint"]
    for member in ("Name", "Type", "ResourceArn", "EndpointAttributes", "AllowMessages"):
        assert found[member] == given[member]


@conduct("identity", "DescribeAppInstanceUserEndpoint", gives=["AppInstanceUserEndpoint"],
         unknown=GONE_USER | {"EndpointId": "Forbidden"})
def describe_app_instance_user_endpoint(stage):
    user = stage.user()
    endpoint = stage.endpoint(user)
    answer = yield {"AppInstanceUserArn": user, "EndpointId": endpoint}
    found = answer["AppInstanceUserEndpoint"]
    assert (found["AppInstanceUserArn"], found["EndpointId"], found["Name"]) == (user, endpoint, "A phone")
    # No push service is reached, so whether the endpoint is of use is the server's to say.
    assert found["EndpointState"]["Status"] in ("ACTIVE", "INACTIVE")
    assert found["CreatedTimestamp"] == found["LastUpdatedTimestamp"]


@conduct("identity", "ListAppInstanceUserEndpoints", gives=["AppInstanceUserEndpoints"], unknown=GONE_USER)
def list_app_instance_user_endpoints(stage):
    user = stage.user()
    endpoints = {stage.endpoint(user), stage.endpoint(user)}
    answer = yield {"AppInstanceUserArn": user, "MaxResults": 50}
    assert {item["EndpointId"] for item in answer["AppInstanceUserEndpoints"]} == endpoints


@conduct("identity", "UpdateAppInstanceUserEndpoint", gives=["AppInstanceUserArn", "EndpointId"],
         unknown=GONE_USER | {"EndpointId": "Forbidden"})
def update_app_instance_user_endpoint(stage):
    user = stage.user()
    endpoint = stage.endpoint(user)
    answer = yield {"AppInstanceUserArn": user, "EndpointId": endpoint, "Name": "Old phone", "AllowMessages": "NONE"}
    assert answer == {"AppInstanceUserArn": user, "EndpointId": endpoint}
    found = stage.identity.describe_app_instance_user_endpoint(
        AppInstanceUserArn=user, EndpointId=endpoint)["AppInstanceUserEndpoint"]
    assert (found["Name"], found["AllowMessages"]) == ("Old phone", "NONE")


@conduct("identity", "DeregisterAppInstanceUserEndpoint", unknown=GONE_USER | {"EndpointId": "Forbidden"})
def deregister_app_instance_user_endpoint(stage):
    user = stage.user()
    kept, endpoint = stage.endpoint(user), stage.endpoint(user)
    yield {"AppInstanceUserArn": user, "EndpointId": endpoint}
    left = stage.everything(stage.identity.list_app_instance_user_endpoints, "AppInstanceUserEndpoints",
                            AppInstanceUserArn=user)
    assert [item["EndpointId"] for item in left] == [kept]


@conduct("identity", "PutAppInstanceRetentionSettings", gives=["AppInstanceRetentionSettings"], unknown=GONE_APP)
def put_app_instance_retention_settings(stage):
    app = stage.new_app()
    stage.keep_app(app)
    settings = {"ChannelRetentionSettings": {"RetentionDays": 30}}
    answer = yield {"AppInstanceArn": app, "AppInstanceRetentionSettings": settings}
    assert answer["AppInstanceRetentionSettings"] == settings
    found = stage.identity.get_app_instance_retention_settings(AppInstanceArn=app)
    assert found["AppInstanceRetentionSettings"] == settings


@conduct("identity", "GetAppInstanceRetentionSettings", gives=["AppInstanceRetentionSettings"], unknown=GONE_APP)
def get_app_instance_retention_settings(stage):
    answer = yield {"AppInstanceArn": stage.app}
    assert answer["AppInstanceRetentionSettings"].get("ChannelRetentionSettings", {}) == {}
    assert "InitiateDeletionTimestamp" not in answer


@conduct("identity", "TagResource", unknown={"ResourceARN": "Forbidden"})
def tag_resource(stage):
    user = stage.user()
    yield {"ResourceARN": user, "Tags": TAGS}
    assert tags_of(stage.identity, user) == sorted(TAGS, key=str)


@conduct("identity", "UntagResource", unknown={"ResourceARN": "Forbidden"})
def untag_resource(stage):
    user = stage.user()
    stage.identity.tag_resource(ResourceARN=user, Tags=TAGS)
    yield {"ResourceARN": user, "TagKeys": ["stage", "never-there"]}
    assert tags_of(stage.identity, user) == TAGS[:1]


@conduct("identity", "ListTagsForResource", gives=["Tags"], unknown={"ResourceARN": "Forbidden"})
def list_tags_for_resource(stage):
    user = stage.world.user(stage.new_name("tagged"), Tags=TAGS)
    answer = yield {"ResourceARN": user}
    assert sorted(answer["Tags"], key=str) == sorted(TAGS, key=str)
