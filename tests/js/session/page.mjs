// Sessions in a page. `tellTest` is bound by chromium.mjs, and `obeyTest` is what it calls.
import { countSockets, obey } from "./session.mjs";

export function run(sdk) {
  addEventListener("unhandledrejection", ({ reason }) =>
    tellTest({ told: "unhandled", reason: reason?.code ?? String(reason) }),
  );
  countSockets(tellTest);
  globalThis.obeyTest = obey(sdk, tellTest);
}
