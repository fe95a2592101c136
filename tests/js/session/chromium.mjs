// Sessions in headless Chromium, ordered and told as in node.mjs. Each place is a page of its own, served by an
// origin that is not the API's; `clock_ms` is how far the page's clock is off. A place may run a `script` of its own
// in place of sessions, with the `globals` that it needs.
import { createServer } from "node:http";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const executablePath = "/usr/bin/chromium";
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

async function bundle(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL(".", import.meta.url)) },
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    mainFields: ["browser", "module", "main"],
    conditions: ["browser"],
    define: { global: "globalThis" },
    logLevel: "error",
  });
  return outputFiles[0].text;
}

function sessions(sdk) {
  return `import * as sdk from "./${sdk}.mjs"; import { run } from "./page.mjs"; run(sdk);`;
}

async function servePages(scripts) {
  const server = createServer(({ url }, response) => {
    const { name, ext } = path.parse(url);
    const isScript = ext === ".js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? scripts.get(name) : `<!doctype html><script type="module" src="${name}.js"></script>`);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

// Runs in the page, before everything else.
function shiftClock(ms) {
  const Right = Date;
  globalThis.Date = class extends Right {
    constructor(...given) {
      super(...(given.length > 0 ? given : [Right.now() + ms]));
    }
    static now() {
      return Right.now() + ms;
    }
  };
}

async function open({ place, sdk, clock_ms, script, globals }) {
  const name = script ? `script-${places.size}` : sdk;
  if (!scripts.has(name)) {
    scripts.set(name, await bundle(script ?? sessions(sdk)));
  }
  const page = await browser.newPage();
  await page.exposeBinding("tellTest", (_, told) => tell({ place, ...told }));
  page.on("pageerror", (error) => tell({ place, told: "unhandled", reason: String(error) }));
  page.on("console", (message) => tell({ place, told: "console", text: message.text() }));
  if (clock_ms) {
    await page.addInitScript(shiftClock, clock_ms);
  }
  await page.addInitScript((globals) => Object.assign(globalThis, globals), globals ?? {});
  await page.goto(`${origin}/${name}.html`);
  if (!script) {
    await page.waitForFunction(() => globalThis.obeyTest);
  }
  tell({ place, told: "opened" });
  return page;
}

const scripts = new Map();
const server = await servePages(scripts);
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({ executablePath, args });
const places = new Map();
for await (const line of readline.createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.do === "open") {
    places.set(order.place, await open(order));
  } else {
    await places.get(order.place).evaluate((order) => void obeyTest(order), order);
  }
}
await browser.close();
process.exit(0);
