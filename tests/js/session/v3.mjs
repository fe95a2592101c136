// The AWS SDK for JavaScript v3, as the client of a session and for calls.
import * as messaging from "@aws-sdk/client-chime-sdk-messaging";

export function makeClient(options) {
  return new messaging.ChimeSDKMessagingClient(options);
}

export function call(client, operation, input) {
  return client.send(new messaging[`${operation}Command`](input));
}
