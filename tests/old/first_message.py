"""Sends a message with a boto3 of 2023 and prints what it lists. Arguments: the way, and the server's port.

The ways: `new` uses the two services of today; `legacy` the `chime` namespace with the host prefix switched off;
`prefixed` the same with the prefix, against a name whose three forms lead to loopback, as a hosts file would.
"""

import json
import socket
import sys

import boto3
from botocore.config import Config


def clients(way, port):
    """The client of the identity operations and the one of the messaging operations."""
    if way == "new":
        options = {"endpoint_url": f"http://127.0.0.1:{port}"}
        return boto3.client("chime-sdk-identity", **options), boto3.client("chime-sdk-messaging", **options)
    if way == "legacy":
        config = Config(inject_host_prefix=False)
        client = boto3.client("chime", endpoint_url=f"http://127.0.0.1:{port}", config=config)
        return client, client
    resolve = socket.getaddrinfo
    names = {"chat.test", "identity-chat.test", "messaging-chat.test"}

    def with_hosts(host, *arguments, **options):
        return resolve("127.0.0.1" if host in names else host, *arguments, **options)

    socket.getaddrinfo = with_hosts
    client = boto3.client("chime", endpoint_url=f"http://chat.test:{port}")
    return client, client


def main(way, port):
    identity, messaging = clients(way, port)
    app = identity.create_app_instance(Name="Old")["AppInstanceArn"]
    alice = identity.create_app_instance_user(
        AppInstanceArn=app, AppInstanceUserId="alice", Name="Alice",
    )["AppInstanceUserArn"]
    channel = messaging.create_channel(
        AppInstanceArn=app, Name="Room", Mode="RESTRICTED", Privacy="PRIVATE", ChimeBearer=alice,
    )["ChannelArn"]
    sent = messaging.send_channel_message(
        ChannelArn=channel, Content="hello from 2023", Type="STANDARD", Persistence="PERSISTENT",
        ChimeBearer=alice,
    )
    listed = messaging.list_channel_messages(ChannelArn=channel, ChimeBearer=alice)["ChannelMessages"]
    try:
        messaging.describe_channel(ChannelArn=channel, ChimeBearer=f"{alice}-nobody")
        refusal = None
    except messaging.exceptions.UnauthorizedClientException as error:
        refusal = error.response["Error"]["Message"]
    identity.delete_app_instance(AppInstanceArn=app)
    print(json.dumps({
        "sent": sent["MessageId"], "listed": [[item["MessageId"], item["Content"]] for item in listed],
        "refusal": refusal,
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
