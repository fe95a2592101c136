// Creates an app instance, two users and a channel with the AWS SDK for JavaScript v3, opens a signed
// WebSocket, sends a message, and prints as JSON what was sent, received and listed, and how a refusal looks.
import { createHash, createHmac } from "node:crypto";
import {
  ChimeSDKIdentityClient,
  CreateAppInstanceCommand,
  CreateAppInstanceUserCommand,
  DeleteAppInstanceCommand,
} from "@aws-sdk/client-chime-sdk-identity";
import {
  ChimeSDKMessagingClient,
  CreateChannelCommand,
  CreateChannelMembershipCommand,
  GetMessagingSessionEndpointCommand,
  ListChannelMessagesCommand,
  SendChannelMessageCommand,
} from "@aws-sdk/client-chime-sdk-messaging";
import { SignatureV4 } from "@smithy/signature-v4";
import WebSocket from "ws";

const region = process.env.AWS_REGION;
const credentials = {
  accessKeyId: process.env.AWS_ACCESS_KEY_ID,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
};
const options = { endpoint: process.argv[2], region, credentials };
const identity = new ChimeSDKIdentityClient(options);
const messaging = new ChimeSDKMessagingClient(options);

class Sha256 {
  constructor(secret) {
    this.hash = secret ? createHmac("sha256", secret) : createHash("sha256");
  }
  update(data) {
    this.hash.update(data);
  }
  async digest() {
    return this.hash.digest();
  }
}

async function signedUrl(host, userArn) {
  const signer = new SignatureV4({ service: "chime", region, credentials, sha256: Sha256 });
  const request = {
    method: "GET",
    protocol: "ws:",
    hostname: host,
    path: "/connect",
    headers: { host },
    query: { sessionId: "js-smoke", userArn },
  };
  const signed = await signer.presign(request, { expiresIn: 10 });
  return `ws://${host}/connect?${new URLSearchParams(signed.query)}`;
}

const { AppInstanceArn } = await identity.send(new CreateAppInstanceCommand({ Name: "JavaScript" }));
const user = async (id, name) => {
  const input = { AppInstanceArn, AppInstanceUserId: id, Name: name };
  return (await identity.send(new CreateAppInstanceUserCommand(input))).AppInstanceUserArn;
};
const [alice, bob] = [await user("alice", "Alice"), await user("bob", "Bob")];
const channel = { ChimeBearer: alice };
channel.ChannelArn = (
  await messaging.send(new CreateChannelCommand({ AppInstanceArn, Name: "Room", ChimeBearer: alice }))
).ChannelArn;
await messaging.send(new CreateChannelMembershipCommand({ ...channel, MemberArn: bob, Type: "DEFAULT" }));

const { Endpoint } = await messaging.send(new GetMessagingSessionEndpointCommand({}));
const frames = [];
const socket = new WebSocket(await signedUrl(Endpoint.Url, bob));
const established = deferred();
const received = deferred();
socket.on("message", (data) => {
  frames.push(JSON.parse(data.toString()));
  (frames.length === 1 ? established : received).resolve();
});
socket.on("close", (code) => [established, received].forEach((wait) => wait.reject(new Error(`closed ${code}`))));

function deferred() {
  const wait = {};
  wait.promise = new Promise((resolve, reject) => Object.assign(wait, { resolve, reject }));
  return wait;
}

await established.promise;
const sent = await messaging.send(
  new SendChannelMessageCommand({
    ...channel,
    Content: "hello from JavaScript",
    Type: "STANDARD",
    Persistence: "PERSISTENT",
  }),
);
await received.promise;
const { ChannelMessages } = await messaging.send(new ListChannelMessagesCommand(channel));
const refusal = await messaging
  .send(new ListChannelMessagesCommand({ ...channel, ChannelArn: `${channel.ChannelArn}-unknown` }))
  .catch((error) => ({ name: error.name, status: error.$metadata.httpStatusCode, code: error.Code }));
socket.removeAllListeners("close");
socket.close();
await identity.send(new DeleteAppInstanceCommand({ AppInstanceArn }));
console.log(JSON.stringify({ sent, frame: frames[1], listed: ChannelMessages, refusal }));
