// What an app does with amazon-chime-sdk-js: orders in, and out whatever its observers and promises are told.
// The same file runs in Node and, bundled, in a page. `sdk` is v2.mjs or v3.mjs; `tell` takes one object.
import {
  DefaultMessagingSession,
  MessagingSessionConfiguration,
  PrefetchOn,
  PrefetchSortBy,
} from "amazon-chime-sdk-js";

// Tells of every connect, whoever makes it: the client's own word for it cannot be trusted to be complete.
export function countSockets(tell) {
  globalThis.WebSocket = class extends globalThis.WebSocket {
    constructor(url, protocols) {
      super(url, protocols);
      tell({ session: new URL(url).searchParams.get("sessionId"), told: "socket" });
    }
  };
}

export function obey(sdk, tell) {
  const sessions = new Map();

  function start({ session: id, userArn, options, ...settings }) {
    const client = sdk.makeClient(options);
    const configuration = new MessagingSessionConfiguration(userArn, id, undefined, client);
    if (settings.prefetch) {
      configuration.prefetchOn = PrefetchOn.Connect;
      configuration.prefetchSortBy = PrefetchSortBy[settings.prefetch];
    }
    const told = (what, more) => tell({ session: id, told: what, ...more });
    const session = new DefaultMessagingSession(configuration, logger(told));
    session.addObserver({
      messagingSessionDidStartConnecting: (reconnecting) => told("connecting", { reconnecting }),
      messagingSessionDidStart: () => told("started"),
      messagingSessionDidReceiveMessage: ({ type, headers, payload }) => told("message", { type, headers, payload }),
      messagingSessionDidStop: (event) => told("stopped", end(event)),
    });
    sessions.set(id, session);
    session.start().then(
      () => told("resolved"),
      (event) => told("rejected", end(event)),
    );
  }

  async function call({ call: id, operation, input, options }) {
    const told = await sdk.call(sdk.makeClient(options), operation, input).then(
      (output) => ({ output }),
      (error) => ({ error: { name: error.code ?? error.name, message: error.message } }),
    );
    tell({ call: id, told: "answer", ...told });
  }

  return (order) => {
    switch (order.do) {
      case "start":
        return start(order);
      case "stop":
        return sessions.get(order.session).stop();
      case "call":
        return call(order);
    }
  };
}

// A close event as it comes from a socket, or whatever else came in its place.
function end(event) {
  return { event: event?.type ?? String(event), code: event?.code, reason: event?.reason, clean: event?.wasClean };
}

function logger(told) {
  const silent = () => {};
  const error = (text) => told("error", { text: String(text) });
  return { debug: silent, info: silent, warn: silent, error, setLogLevel: silent, getLogLevel: silent };
}
