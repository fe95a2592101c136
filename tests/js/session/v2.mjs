// The AWS SDK for JavaScript v2, as the client of a session and for calls.
import ChimeSDKMessaging from "aws-sdk/clients/chimesdkmessaging.js";

export function makeClient(options) {
  return new ChimeSDKMessaging({ ...options, correctClockSkew: true });
}

export function call(client, operation, input) {
  return client[operation[0].toLowerCase() + operation.slice(1)](input).promise();
}
