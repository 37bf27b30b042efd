// Works the page in a real Chromium as a reader would, against a running platform. Ends with 1 and says why when something is wrong.
//
//   BASE_URL      where the gateway is, for example http://127.0.0.1:8001
//   REPLAY_FILE   a recording that the platform can open; its instruments must not be fed by another source
//   REPLAY_SPEED  one of the speeds on the page; 600 when left out
//   KILL_CMD, START_CMD, KILLED   shell commands that end and start an engine, and its name; that part is left out without them
//   SCREENSHOTS   a folder for pictures; none are taken without it
//   CHROMIUM      the browser; the first on the PATH when left out
import assert from "node:assert/strict";
import { execSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { Watch, faintTexts, launch } from "./browser.ts";

const BASE = (process.env["BASE_URL"] ?? "http://127.0.0.1:8001").replace(/\/$/, "");
const SCREENSHOTS = process.env["SCREENSHOTS"];
/** Generous: a slow machine is no failure. What matters in time is printed. */
const PATIENCE_MS = 30_000;
const PICTURE_BYTES_MAX = 300_000;
const WIDTHS = [1280, 390] as const;
const THEMES = ["dark", "light"] as const;

/** What Tab has to reach. */
const CONTROLS = [
  "a Skip to the market", "#picker", "a API", "#theme", "interval", "#candles", "#classification", "div tape-title",
  "div risk-title", "div Risk alerts", "#replay-path", "#replay-speed", "button Start", "div latency-title",
];

async function step(name: string, action: () => Promise<string | void>): Promise<void> {
  const began = Date.now();
  const detail = await action();
  console.log(`ok ${name}${detail === undefined ? "" : `: ${detail}`} (${Date.now() - began} ms)`);
}

async function picture(page: Page, name: string): Promise<void> {
  if (SCREENSHOTS === undefined) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  const path = join(SCREENSHOTS, `${name}.png`);
  await page.screenshot({ path, animations: "disabled" });
  assert.ok(statSync(path).size < PICTURE_BYTES_MAX, `${path} is larger than ${PICTURE_BYTES_MAX} bytes`);
}

const text = (page: Page, selector: string): Promise<string> => page.locator(selector).innerText();

/** Waits until what `selector` says has had so many different values. */
async function moves(page: Page, selectors: readonly string[], values: number): Promise<void> {
  const seen = new Map(selectors.map((selector) => [selector, new Set<string>()]));
  const end = Date.now() + PATIENCE_MS;
  while ([...seen.values()].some(({ size }) => size < values)) {
    const found = [...seen].map(([selector, { size }]) => `${selector} ${size}`).join(", ");
    assert.ok(Date.now() < end, `different values in ${PATIENCE_MS} ms: ${found}; ${values} of each were expected`);
    for (const [selector, set] of seen) set.add(await text(page, selector));
    await page.waitForTimeout(100);
  }
}

async function opens(page: Page): Promise<void> {
  await page.goto(`${BASE}/`);
  await page.locator('#connection[data-state="open"]').waitFor({ timeout: PATIENCE_MS });
  await page.locator("#engines .tile[data-state='up']").first().waitFor({ timeout: PATIENCE_MS });
}

async function replays(page: Page, file: string): Promise<string> {
  const before = await page.locator("#replays li").count();
  await page.locator("#replay-path").fill(file);
  await page.locator("#replay-speed").selectOption(process.env["REPLAY_SPEED"] ?? "600");
  await page.locator("#replay-form button").click();
  const item = page.locator("#replays li").first();
  await page.waitForFunction((count) => document.querySelectorAll("#replays li").length > count, before, { timeout: PATIENCE_MS });
  assert.equal(await text(page, "#replay-error"), "");
  const symbol = await item.locator(".symbols button").first().innerText({ timeout: PATIENCE_MS });
  await page.waitForFunction((wanted) => (document.querySelector("#picker") as HTMLInputElement).value === wanted, symbol, { timeout: PATIENCE_MS });
  await page.locator("#classification").selectOption("aggressor");
  await moves(page, ["#ladder-rows", "#tape tr:first-child", "#vpin-facts"], 4);
  const progress = await item.locator("progress").evaluate((bar) => (bar as HTMLProgressElement).value);
  assert.ok(progress > 0, "the progress bar of the replay stands at zero");
  assert.match(await text(page, "#candles-legend"), /O .+ H .+ L .+ C /);
  return `${symbol}, progress ${(progress * 100).toFixed(0)}%, ${await text(page, "#rates-legend")}`;
}

/** Asks the risk service as an operator would. */
async function operate(method: string, path: string, body: unknown): Promise<void> {
  const response = await fetch(`${BASE}/api/risk/v1/${path}`, {
    method, headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.text()}`);
}

/** A portfolio that holds some of the replayed instrument, and trading that is stopped. */
async function risks(page: Page): Promise<string> {
  const desk = { portfolio: "desk", book: "index", strategy: "carry" };
  const instrument = await page.locator("#picker").inputValue();
  assert.equal(await text(page, "#risk-legend"), "no portfolio yet");
  await operate("PUT", "portfolios/desk", { currency: "USD", capital: "1000000", books: { index: ["carry"] } });
  await operate("PUT", "scenarios", { instruments: [instrument], returns: [Array.from({ length: 150 }, (_, at) => (at - 60) / 1000)] });
  await operate("POST", "executions", {
    desk, instrument, order_id: "00000000-0000-0000-0000-000000000001", venue: "XSIM", side: "buy", quantity: "3", price: "1", fee: "0",
    trade_id: "00000000-0000-0000-0000-000000000002", ts_event: 1,
  });
  await operate("PUT", "kill-switch?portfolio=desk", { state: "halted", reason: "a walk through the page" });
  const alert = page.locator("#risk-alerts li", { hasText: "kill switch" });
  await alert.waitFor({ timeout: PATIENCE_MS });
  const said = (await alert.innerText()).replace(/\s+/g, " ");
  assert.match(said, /^\d\d:\d\d:\d\d\.\d{3} ▲ hard desk kill switch$/);
  const cells = page.locator("#risk-rows tr[data-portfolio='desk'] td");
  // Neither before the row is there, nor with the measures from before the execution.
  const holds = () => /[1-9]/.test(document.querySelector("#risk-rows td:nth-child(4)")?.textContent ?? "");
  await page.waitForFunction(holds, undefined, { timeout: PATIENCE_MS });
  const [valueAtRisk = NaN, shortfall = NaN, gross = NaN, net = NaN, profit = NaN] = (await cells.allInnerTexts()).map((shown) =>
    Number(shown.replaceAll("\u2009", "")),
  );
  // The second worst of 150 scenarios loses 5.9 % of what is held; next to nothing was paid for it.
  assert.ok(gross > 3 && net === gross, `gross ${gross}, net ${net}`);
  assert.ok(Math.abs(valueAtRisk - 0.059 * gross) < 0.02 && shortfall >= valueAtRisk, `VaR ${valueAtRisk}, ES ${shortfall}`);
  assert.ok(profit > 0 && profit < gross, `P&L ${profit}`);
  assert.match(await text(page, "#risk-legend"), /^VaR and ES at 99\.0%$/);
  return `${(await cells.allInnerTexts()).join(" ")}; ${said}`;
}

async function refusesNonsense(page: Page, watch: Watch): Promise<string> {
  await watch.tolerating(/status of 4\d\d/, async () => {
    await page.locator("#replay-path").fill("/there/is/no/such.dbn");
    await page.locator("#replay-path").press("Enter");
    await page.waitForFunction(() => document.querySelector("#replay-error")?.textContent !== "", undefined, { timeout: PATIENCE_MS });
  });
  const said = await text(page, "#replay-error");
  assert.match(said, /did not start: .*such\.dbn/);
  return said;
}

interface Stop {
  name: string;
  visible: boolean;
}

/** Where Tab leads, from the beginning of the page round to it again. */
async function tabStops(page: Page): Promise<Stop[]> {
  const stops: Stop[] = [];
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await page.reload();
  await page.locator('#connection[data-state="open"]').waitFor({ timeout: PATIENCE_MS });
  for (let press = 0; press < 80; press += 1) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      if (element === null || element === document.body) return null;
      const shown = element instanceof HTMLInputElement && element.type === "radio" ? (element.nextElementSibling ?? element) : element;
      const { outlineStyle, outlineWidth } = getComputedStyle(shown);
      const label = element.getAttribute("aria-label") ?? element.getAttribute("aria-labelledby") ?? element.textContent?.trim() ?? "";
      const named = element.id !== "" ? `#${element.id}` : `${element.tagName.toLowerCase()} ${label}`;
      return { name: element.getAttribute("name") === "interval" ? "interval" : named, visible: outlineStyle !== "none" && outlineWidth !== "0px" };
    });
    if (stop === null || (stops.length > 0 && stop.name === stops[0]?.name)) break;
    stops.push(stop);
  }
  return stops;
}

async function keyboard(page: Page): Promise<string> {
  const stops = await tabStops(page);
  const names = stops.map(({ name }) => name);
  const missing = CONTROLS.filter((name) => !names.includes(name));
  assert.deepEqual(missing, [], `Tab leads to ${names.join(", ")}`);
  assert.deepEqual(stops.filter(({ visible }) => !visible), [], "the focus is not visible there");
  await page.locator("#candles").focus();
  for (const key of ["ArrowLeft", "+", "-", "Home", "End"]) await page.keyboard.press(key);
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "picker");
  await page.locator("#picker-list [role=option]").first().waitFor({ timeout: PATIENCE_MS });
  await page.keyboard.press("ArrowDown");
  const wanted = await text(page, "#picker-list [aria-selected=true] strong");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#picker").inputValue(), wanted);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#picker-list").isVisible(), false);
  await page.locator("#main").focus();
  const before = await page.evaluate(() => document.documentElement.dataset["theme"]);
  await page.keyboard.press("t");
  assert.notEqual(await page.evaluate(() => document.documentElement.dataset["theme"]), before);
  await page.keyboard.press("t");
  return `${stops.length} stops, ${wanted} picked`;
}

async function looks(page: Page): Promise<string> {
  for (const theme of THEMES) {
    await page.evaluate(() => localStorage.removeItem("nautilus-theme"));
    await page.emulateMedia({ colorScheme: theme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: width === 390 ? 1200 : 1000 });
      await page.evaluate(() => scrollTo(0, 0));
      await page.waitForTimeout(700);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `at ${width} px the page is ${wide} px wide`);
      assert.equal(await page.evaluate(() => document.documentElement.dataset["theme"]), theme);
      assert.deepEqual(await faintTexts(page), [], `texts below 4.5 to 1 in ${theme}`);
      await picture(page, `page-${width}-${theme}`);
      if (width === 1280 && theme === "dark") {
        await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
        await page.waitForTimeout(300);
        await picture(page, "page-1280-dark-system");
      }
    }
  }
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 1280, height: 1000 });
  return `${WIDTHS.join(" and ")} px, ${THEMES.join(" and ")}`;
}

async function survives(page: Page, watch: Watch, kill: string, start: string): Promise<string> {
  const engine = process.env["KILLED"] ?? "vpin";
  const tile = (state: string) => page.locator(`.tile[data-engine="${engine}"][data-state="${state}"]`);
  await tile("up").waitFor({ timeout: PATIENCE_MS });
  return watch.tolerating(/Failed to load resource|WebSocket connection/, async () => {
    const killed = Date.now();
    execSync(kill, { stdio: "inherit" });
    await tile("down").waitFor({ timeout: PATIENCE_MS });
    const down = Date.now() - killed;
    assert.match(await tile("down").innerText(), /down/);
    assert.match(await text(page, "#notice"), new RegExp(engine));
    await tile("down").scrollIntoViewIfNeeded();
    await picture(page, "engine-down");
    const started = Date.now();
    execSync(start, { stdio: "inherit" });
    await tile("up").waitFor({ timeout: PATIENCE_MS * 2 });
    const back = Date.now() - started;
    await page.locator('#connection[data-state="open"]').waitFor({ timeout: PATIENCE_MS });
    // What was asked for while it was down is still being answered.
    await page.waitForTimeout(2_500);
    return `${engine} shown down after ${down} ms, up ${back} ms after its start`;
  });
}

async function main(): Promise<void> {
  const browser = await launch();
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 1000 }, colorScheme: "dark", reducedMotion: "reduce" });
    const watch = new Watch(page, BASE);
    await step("opens and connects", () => opens(page));
    const file = process.env["REPLAY_FILE"];
    if (file !== undefined) {
      await step("a replay moves the book, the trades and VPIN", () => replays(page, file));
      await step("measures and alerts of a portfolio", () => risks(page));
    }
    await step("both widths and themes", () => looks(page));
    await step("a replay that cannot start says why", () => refusesNonsense(page, watch));
    await step("everything by keyboard", () => keyboard(page));
    const { KILL_CMD: kill, START_CMD: start } = process.env;
    if (kill !== undefined && start !== undefined) await step("an engine that is killed", () => survives(page, watch, kill, start));
    await step("the API reference", async () => {
      await page.goto(`${BASE}/reference`);
      await page.locator(".opblock").first().waitFor({ timeout: PATIENCE_MS });
      return `${await page.locator(".opblock").count()} operations`;
    });
    assert.deepEqual(watch.findings, [], "the browser complains");
    console.log("ok no console errors, no requests to elsewhere");
  } finally {
    await browser.close();
  }
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? `not ok: ${error.message}\n${error.stack ?? ""}` : error);
  process.exitCode = 1;
}
