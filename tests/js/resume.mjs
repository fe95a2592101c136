// Runs the example of docs/realtime.md: says on stdout what it hears, reads signed URLs from stdin.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

globalThis.WebSocket ??= (await import("ws")).default;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (kind, value) => console.log(JSON.stringify({ [kind]: value }));
const { listen } = await import(pathToFileURL(process.argv[2]));

async function url(parameters) {
  say("sign", parameters);
  return (await lines.next()).value;
}

function hear(type, payload) {
  say("heard", type);
  if (payload?.Content) say("content", payload.Content);
}

await listen(url, hear, () => say("refetch", true));
