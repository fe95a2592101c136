"""The main job, end to end: an unmodified client sends a message and a signed WebSocket receives it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.clients import answer_of
from support.other_clients import environment

pytestmark = pytest.mark.any_engine

JS = Path(__file__).parent / "js"
AWS = Path(sys.executable).with_name("aws")


def finish(arguments, **options):
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.two_nodes
def test_a_message_sent_with_boto3_arrives_on_a_signed_websocket(world, alice, bob):
    channel = world.channel(alice, bob)
    socket = world.connect(bob)
    sent = world.post(channel, alice, "hello over there")
    event = socket.next()
    assert answer_of(sent) == {
        "ChannelArn": channel, "MessageId": event.payload["MessageId"], "Status": {"Value": "SENT"}}
    assert (event.type, event.message_type) == ("CREATE_CHANNEL_MESSAGE", "STANDARD")
    assert event.payload["Content"] == "hello over there"
    assert event.payload["Sender"] == {"Arn": alice, "Name": "Alice"}


@pytest.mark.two_nodes
def test_a_message_sent_with_the_aws_cli_arrives_on_a_signed_websocket(world, alice, bob):
    def aws(service, operation, *arguments):
        server = world.server
        command = [AWS, service, operation, "--endpoint-url", server.url, "--output", "json", *arguments]
        out = finish(command, env=environment(server))
        return json.loads(out) if out else None

    user = aws("chime-sdk-identity", "create-app-instance-user", "--app-instance-arn", world.arn,
               "--app-instance-user-id", "cli", "--name", "Command Line")["AppInstanceUserArn"]
    channel = world.channel(alice, user, bob)
    socket = world.connect(bob)
    sent = aws("chime-sdk-messaging", "send-channel-message", "--channel-arn", channel, "--chime-bearer", user,
               "--content", "hello from a shell", "--type", "STANDARD", "--persistence", "PERSISTENT")
    event = socket.next()
    assert (event.payload["MessageId"], event.payload["Content"]) == (sent["MessageId"], "hello from a shell")
    assert event.payload["Sender"] == {"Arn": user, "Name": "Command Line"}
    listed = aws("chime-sdk-messaging", "list-channel-messages", "--channel-arn", channel, "--chime-bearer", bob)
    assert [message["MessageId"] for message in listed["ChannelMessages"]] == [sent["MessageId"]]


def test_a_message_sent_with_the_javascript_sdk_arrives_on_a_signed_websocket(server):
    out = finish(["node", "first_message.mjs", server.url], cwd=JS, env=environment(server))
    result = json.loads(out)
    headers = result["frame"]["Headers"]
    assert len(headers.pop("x-campanile-event-id")) == 24
    assert headers == {
        "x-amz-chime-event-type": "CREATE_CHANNEL_MESSAGE", "x-amz-chime-message-type": "STANDARD"}
    payload = json.loads(result["frame"]["Payload"])
    assert payload["MessageId"] == result["sent"]["MessageId"] == result["listed"][0]["MessageId"]
    assert payload["Content"] == result["listed"][0]["Content"] == "hello from JavaScript"
    # The SDK made a Date of the number in the body; the frame carries the same instant as text.
    assert result["listed"][0]["CreatedTimestamp"] == payload["CreatedTimestamp"]
    assert result["refusal"] == {"name": "ForbiddenException", "status": 403, "code": "Forbidden"}
