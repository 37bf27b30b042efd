// Wires the page: one stream, one instrument, the panels, and what is asked for every second.
import { INSTRUMENTS_LISTED, Problem, accessKey, api, whenRefused, type Feed, type Instrument, type PlatformStatus } from "./api.ts";
import { byId, mark, poll, write } from "./dom.ts";
import { clock } from "./format.ts";
import { before } from "./instruments.ts";
import { Market } from "./market.ts";
import { Access } from "./panels/access.ts";
import { Health } from "./panels/health.ts";
import { Latency } from "./panels/latency.ts";
import { Picker } from "./panels/picker.ts";
import { Rates } from "./panels/rates.ts";
import { Replays } from "./panels/replays.ts";
import { Risk } from "./panels/risk.ts";
import { Stream } from "./stream.ts";
import { themed } from "./theme.ts";

const CONNECTION = { open: "● connected", connecting: "◐ connecting", waiting: "✕ reconnecting" } as const;

themed(byId("theme", HTMLButtonElement));

const connection = byId("connection", HTMLElement);
const notice = byId("notice", HTMLElement);
const simulated = byId("simulated", HTMLElement);
const scheme = location.protocol === "https:" ? "wss" : "ws";

const stream = new Stream(`${scheme}://${location.host}/ws`, accessKey, {
  state: (state, detail) => {
    write(connection, CONNECTION[state]);
    mark(connection, "data-state", state);
    connection.title = detail;
  },
  refused: (reason) => access.ask(reason === "" ? "the connection was refused: the key expired or lacks the scope read" : reason),
});
const access = new Access(() => {
  stream.reconnect();
  refreshInstruments();
});
whenRefused((problem, acted) => access.refused(problem, acted));

const market = new Market(stream);
const health = new Health();
const latency = new Latency();
const rates = new Rates();
const risk = new Risk(stream);

let instruments: readonly Instrument[] = [];
let feeds: readonly Feed[] = [];
let down: ReadonlySet<string> = new Set();
/** Chosen before it was known: by the address or by a replay that just began. */
let wanted = new URLSearchParams(location.search).get("instrument");
let wantedTries = 0;
const WANTED_TRIES_MAX = 25;

function show(symbol: string): void {
  const instrument = instruments.find((known) => known.symbol === symbol);
  wanted = instrument === undefined ? symbol : null;
  wantedTries = 0;
  if (instrument === undefined) {
    refreshInstruments();
    return;
  }
  if (market.symbol === symbol) return;
  picker.picked(symbol);
  market.use(instrument);
  history.replaceState(null, "", `?instrument=${encodeURIComponent(symbol)}`);
  document.title = `${symbol} · Nautilus`;
  label();
}

function label(): void {
  const venue = instruments.find(({ symbol }) => symbol === market.symbol)?.venue;
  simulated.hidden = venue !== "XSIM" && !feeds.some((feed) => feed.simulated && feed.symbols.includes(market.symbol ?? ""));
}

/** What cannot be shown, in a sentence; nothing while all is well. */
function notify(status: PlatformStatus): void {
  const sentences = status.engines
    .filter(({ state }) => state === "down")
    .map(({ engine }) => `${engine} does not answer; what depends on it stands still`);
  if (instruments.length === 0) sentences.push("no market data yet; start a replay below or the simulator");
  const text = sentences.join(". ");
  write(notice, text);
  notice.hidden = text === "";
}

/** A venue may have more instruments than are listed: what is typed is looked up too. */
async function search(text: string): Promise<void> {
  if (text === "" || instruments.length < INSTRUMENTS_LISTED) return;
  const found = await api.instrumentsAfter(before(text.toUpperCase())).catch(() => []);
  const known = new Set(instruments.map(({ symbol }) => symbol));
  instruments = [...instruments, ...found.filter(({ symbol }) => !known.has(symbol))];
  picker.offer(instruments);
}

const picker = new Picker(show, () => refreshInstruments(), (text) => void search(text));
const replays = new Replays(show, () => !down.has("marketdata"));

const refreshInstruments = poll(5_000, async () => {
  if (down.has("marketdata")) return;
  instruments = await api.instruments().catch(() => instruments);
  picker.offer(instruments);
  if (wanted !== null && instruments.some(({ symbol }) => symbol === wanted)) show(wanted);
  else if (wanted !== null && wantedTries < WANTED_TRIES_MAX) {
    // A replay names its instruments a moment before the engine knows them.
    wantedTries += 1;
    window.setTimeout(refreshInstruments, 400);
  } else if (market.symbol === null && instruments[0] !== undefined) show(instruments[0].symbol);
  label();
});

poll(1_000, async () => {
  try {
    const status = await api.status();
    down = new Set(status.engines.filter(({ state }) => state === "down").map(({ engine }) => engine));
    feeds = status.feeds;
    health.show(status);
    latency.show([...status.engines, { engine: "gateway", ...status.gateway }]);
    notify(status);
    label();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    health.unreachable(error.message);
  }
});

poll(1_000, async () => {
  const { symbol } = market;
  if (symbol === null) return;
  const none = (): null => null;
  const [stats, vpin] = await Promise.all([
    // An instrument that has not traded has no statistics.
    down.has("marketdata") || !market.traded() ? null : api.stats(symbol).catch(() => market.untraded()),
    down.has("vpin") ? null : api.vpin(symbol).catch(none),
  ]);
  if (market.symbol !== symbol) return;
  if (stats !== null) market.stats(stats);
  market.vpin(vpin);
});

poll(5_000, async () => {
  if (down.has("risk")) return;
  const portfolios = await api.portfolios().catch(() => null);
  if (portfolios !== null) risk.portfolios(portfolios);
});

window.setInterval(() => market.tape.speed(rates.sample(stream.counters, market.totals)), 1_000);

const time = byId("clock", HTMLTimeElement);
const tick = (): void => write(time, clock(Date.now()));
tick();
window.setInterval(tick, 250);

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement && event.target.type !== "radio";
  if (typing || event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") picker.focus();
  else if (event.key === "t") byId("theme", HTMLButtonElement).click();
  else return;
  event.preventDefault();
});

void replays;
stream.reconnect();
