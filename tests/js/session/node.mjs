// Sessions in Node. A line of standard input is an order, a line of standard output is what was told.
import readline from "node:readline";
import WebSocket from "ws";
import { countSockets, obey } from "./session.mjs";
import * as v2 from "./v2.mjs";
import * as v3 from "./v3.mjs";

const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

// What a browser has and Node 20 does not.
globalThis.WebSocket = WebSocket;
globalThis.CloseEvent ??= class CloseEvent extends Event {
  constructor(type, { code, reason, wasClean, ...init }) {
    super(type, init);
    Object.assign(this, { code, reason, wasClean });
  }
};
countSockets(tell);
process.on("unhandledRejection", (reason) => tell({ told: "unhandled", reason: reason?.code ?? String(reason) }));

const places = new Map();
for await (const line of readline.createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.do === "open") {
    places.set(order.place, obey({ v2, v3 }[order.sdk], (told) => tell({ place: order.place, ...told })));
    tell({ place: order.place, told: "opened" });
  } else {
    places.get(order.place)(order);
  }
}
process.exit(0);
