// One tile per engine and one line per bus, the store and each feed: state as word and sign, then the figures.
import type { EngineStatus, Feed, PlatformStatus } from "../api.ts";
import { byId, fact, make, mark, write } from "../dom.ts";
import { NONE, count, duration, percent, rate, uptime } from "../format.ts";

const SIGNS: Record<string, string> = {
  up: "● up", not_ready: "◐ not ready", down: "✕ down", unknown: "○ unknown", degraded: "◐ degraded",
  running: "▶ running", finished: "■ finished", cancelled: "■ cancelled", failed: "✕ failed",
};
const sign = (state: string): string => SIGNS[state] ?? state;

class Tile {
  readonly node: HTMLLIElement;
  readonly #state = make("span", { class: "badge", role: "status" });
  readonly #reason = make("p", { class: "reason" });
  readonly #facts = {
    uptime: fact("Up for"), steps: fact("Steps/s"), lag: fact("Lag", "Star frames behind"), p99: fact("HTTP p99"),
    errors: fact("Errors", "Share of requests answered 5xx"), version: fact("Version"),
  };
  #before: { steps: number; at: number } | null = null;

  constructor(name: string) {
    const facts = make("dl", { class: "facts" }, ...Object.values(this.#facts).map(({ node }) => node));
    this.node = make("li", { class: "tile", "data-engine": name }, make("h3", {}, name), this.#state, facts, this.#reason);
  }

  show(engine: EngineStatus): void {
    mark(this.node, "data-state", engine.state);
    mark(this.#state, "data-state", engine.state);
    write(this.#state, sign(engine.state));
    const { uptime: up, steps, lag, p99, errors, version } = this.#facts;
    write(up.value, uptime(engine.uptime_ms));
    write(steps.value, rate(this.#stepsPerSecond(engine)));
    write(lag.value, count(engine.lag_frames));
    write(p99.value, duration(engine.http?.p99_s));
    write(errors.value, percent(engine.http?.error_rate));
    write(version.value, engine.version ?? NONE);
    write(this.#reason, engine.reasons.join("; "));
  }

  #stepsPerSecond(engine: EngineStatus): number | null {
    const { steps, uptime_ms: at } = engine;
    const before = this.#before;
    if (steps === null || at === null || engine.state === "down") {
      this.#before = null;
      return null;
    }
    this.#before = { steps, at };
    // A restarted engine counts from zero.
    if (before === null || at <= before.at || steps < before.steps) return null;
    return ((steps - before.steps) * 1000) / (at - before.at);
  }
}

function part(name: string, state: string, detail: string): HTMLLIElement {
  return make(
    "li",
    { "data-state": state },
    make("span", { class: "name" }, name),
    make("span", { class: "badge", "data-state": state }, sign(state)),
    make("span", { class: "detail" }, detail),
  );
}

function feedPart(feed: Feed): HTMLLIElement {
  const kind = feed.simulated ? "SIMULATED" : feed.kind;
  const facts = `${kind} ${feed.schema} · ${count(feed.records)} records · ${feed.symbols.slice(0, 6).join(" ")}`;
  return part(`feed ${feed.name}`, feed.state, feed.reason ?? facts);
}

export class Health {
  readonly #engines = byId("engines", HTMLUListElement);
  readonly #parts = byId("parts", HTMLUListElement);
  readonly #state = byId("platform-state", HTMLElement);
  readonly #facts = byId("platform-facts", HTMLElement);
  readonly #tiles = new Map<string, Tile>();
  #partsBefore = "";

  show(status: PlatformStatus): void {
    this.#overall(status.state, `version ${status.version}, up for ${uptime(status.uptime_ms)}`);
    for (const engine of status.engines) {
      let tile = this.#tiles.get(engine.engine);
      if (tile === undefined) {
        tile = new Tile(engine.engine);
        this.#tiles.set(engine.engine, tile);
        this.#engines.append(tile.node);
      }
      tile.show(engine);
    }
    this.#showParts(status);
  }

  /** The gateway itself does not answer: nothing is known of the rest. */
  unreachable(why: string): void {
    this.#overall("unknown", `gateway: ${why}`);
    for (const { node } of this.#tiles.values()) mark(node, "data-state", "unknown");
  }

  #overall(state: string, facts: string): void {
    write(this.#state, sign(state));
    mark(this.#state, "data-state", state);
    write(this.#facts, facts);
  }

  #showParts(status: PlatformStatus): void {
    const { buses, store, feeds } = status;
    const running = feeds.filter(({ state }) => state === "running" || state === "failed").slice(-6);
    const now = JSON.stringify([buses, store, running]);
    if (now === this.#partsBefore) return;
    this.#partsBefore = now;
    this.#parts.replaceChildren(
      ...buses.map(({ bus, transport, state, reason }) => part(`bus ${bus.replace("_", " ")}`, state, reason ?? transport)),
      part("store", store.state, store.reason ?? store.kind),
      ...running.map(feedPart),
    );
  }
}
