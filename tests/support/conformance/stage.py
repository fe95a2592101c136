"""Where the run takes place: one app instance with somebody of every role, another one, and what is gone."""

import uuid

from support import clients
from support.conformance.violations import LEX_ALIAS
from support.world import World

ROLES = ("admin", "moderator", "member", "hidden", "stranger")


class Stage:
    """The cast and its channels. What a conduct needs for itself it makes here, afresh."""

    def __init__(self, server):
        self.server = server
        self.world = World(server, "Stage")
        self.elsewhere = World(server, "Elsewhere")
        self.identity, self.messaging = self.world.identity, self.world.messaging
        self.app = self.world.arn
        self.count = 0
        self.admin, self.moderator, self.member, self.hidden, self.stranger = self.world.users(*ROLES)
        self.world.make_admin(self.admin)
        self.foreigner = self.elsewhere.make_admin(self.elsewhere.user("foreigner"))
        self.foreign_channel = self.elsewhere.channel(self.foreigner, Privacy="PUBLIC")
        self.room = self.channel()
        self._make_what_is_gone()
        self._apps = []

    def _make_what_is_gone(self):
        self.gone_channel = self.channel()
        self.messaging.delete_channel(ChannelArn=self.gone_channel, ChimeBearer=self.moderator)
        self.gone_user = self.user()
        self.identity.delete_app_instance_user(AppInstanceUserArn=self.gone_user)
        gone = World(self.server, "Gone")
        gone.close()
        self.gone_app = gone.arn

    def close(self):
        for app in self._apps:
            self.identity.delete_app_instance(AppInstanceArn=app)
        self.elsewhere.close()
        self.world.close()

    def token(self):
        return str(uuid.uuid4())

    def new_name(self, kind):
        self.count += 1
        return f"{kind}-{self.count}"

    def keep_app(self, app):
        """Remembers an app instance that a conduct made, to be deleted in the end."""
        self._apps.append(app)

    def new_app(self):
        """A fresh app instance, which the caller deletes or keeps."""
        return self.identity.create_app_instance(
            Name="App", Metadata="first", ClientRequestToken=self.token())["AppInstanceArn"]

    def user(self):
        """A fresh user."""
        return self.world.user(self.new_name("user"), "A User")

    def channel(self, **extra):
        """A fresh channel with a moderator, a member and a hidden member."""
        channel = self.world.channel(self.moderator, self.member, **extra)
        self.world.join(channel, self.moderator, self.hidden, kind="HIDDEN")
        return channel

    def bot(self):
        """A fresh bot."""
        return self.identity.create_app_instance_bot(
            AppInstanceArn=self.app, Name="A Bot", Metadata="first", ClientRequestToken=self.token(),
            Configuration=LEX)["AppInstanceBotArn"]

    def endpoint(self, user):
        """A fresh endpoint of a user: its id."""
        return self.identity.register_app_instance_user_endpoint(
            **endpoint_input(user), ClientRequestToken=self.token())["EndpointId"]

    def flow(self):
        """A fresh channel flow."""
        return self.messaging.create_channel_flow(
            AppInstanceArn=self.app, Name="A Flow", Processors=[processor("first")],
            ClientRequestToken=self.token())["ChannelFlowArn"]

    def everything(self, operation, list_name, **arguments):
        return clients.everything(operation, list_name, **arguments)

    def strangers_to(self, member, value, *, bearer):
        """Values in place of one that names a resource: none of them names one that the caller may know of."""
        app = self.app
        nowhere = app.rpartition("/")[0] + f"/{uuid.uuid4()}"
        kind = kind_of(value)
        if kind == "id":
            return ["0" * len(value)]
        if kind == "app-instance":
            foreign = [self.elsewhere.arn] if bearer else []
            return [nowhere, self.gone_app, app.replace(":000000000000:", ":999999999999:"), *foreign]
        gone = {"user": self.gone_user, "channel": self.gone_channel}
        foreign = {"user": self.foreigner, "channel": self.foreign_channel}
        return [
            f"{app}/{kind}/{uuid.uuid4()}",
            f"{nowhere}/{kind}/{value.rpartition('/')[2]}",
            *([gone[kind]] if kind in gone else []),
            *([foreign[kind]] if kind in foreign and bearer else []),
        ]

    def of_another_kind(self, value):
        """A live resource's ARN that is not of the kind that belongs here."""
        return self.app if kind_of(value) == "channel" else self.room

    def bad_bearers(self):
        """What is no live user or bot: malformed, unknown, deleted, another kind of resource."""
        return ["nobody", f"{self.app}/user/nobody", self.gone_user, self.room, f"{self.gone_app}/user/moderator"]

    def snapshot(self):
        """What lists show of the stage, to prove that nothing was written."""
        return [
            self.everything(self.identity.list_app_instances, "AppInstances"),
            self.everything(self.identity.list_app_instance_users, "AppInstanceUsers", AppInstanceArn=self.app),
            self.everything(self.messaging.list_channels, "Channels", AppInstanceArn=self.app, Privacy="PRIVATE",
                            ChimeBearer=self.admin),
            self.world.members(self.room, self.admin),
            self.world.messages(self.room, self.admin),
        ]


def kind_of(value):
    """The kind of resource that an ARN names; anything else is an id."""
    if not value.startswith("arn:"):
        return "id"
    return value.split("/")[2] if value.count("/") >= 3 else "app-instance"


LEX = {"Lex": {
    "LexBotAliasArn": LEX_ALIAS, "LocaleId": "en_US",
    "InvokedBy": {"StandardMessages": "MENTIONS", "TargetedMessages": "ALL"}, "WelcomeIntent": "Welcome",
}}


def endpoint_input(user):
    return {
        "AppInstanceUserArn": user, "Name": "A phone", "Type": "GCM", "AllowMessages": "ALL",
        "ResourceArn": "arn:aws:mobiletargeting:us-east-1:000000000000:apps/0123456789abcdef",
        "EndpointAttributes": {"DeviceToken": uuid.uuid4().hex},
    }


def processor(name):
    function = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    return {"Name": name, "ExecutionOrder": 1, "FallbackAction": "CONTINUE",
            "Configuration": {"Lambda": {"ResourceArn": function, "InvocationType": "ASYNC"}}}
