// The AWS SDK for JavaScript v3, driven line by line (lines.mjs).
import * as identity from "@aws-sdk/client-chime-sdk-identity";
import * as messaging from "@aws-sdk/client-chime-sdk-messaging";
import { answer, options } from "./lines.mjs";

const settings = { ...options, maxAttempts: 1 };
const services = {
  identity: [identity, new identity.ChimeSDKIdentityClient(settings)],
  messaging: [messaging, new messaging.ChimeSDKMessagingClient(settings)],
};

await answer(async (service, operation, input) => {
  const [commands, client] = services[service];
  const { $metadata, ...output } = await client.send(new commands[`${operation}Command`](input));
  return { status: $metadata.httpStatusCode, output };
});
