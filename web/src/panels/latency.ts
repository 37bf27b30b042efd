// Percentiles of every engine and stage: four marks on a logarithmic track, and the figures beside it.
import type { Stage } from "../api.ts";
import { byId, make, write } from "../dom.ts";
import { count, duration } from "../format.ts";

const NAMES: Record<string, string> = {
  step: "step", star_hop: "star hop", market_data_latency: "market data", store_commit: "store commit", fan_out: "fan-out", proxy: "proxy",
};
const LOWEST = -6;
const HIGHEST = 1;

/** Where a duration lies on the track, in percent: 1 µs at the left, 10 s at the right. */
function position(seconds: number): number {
  const share = (Math.log10(Math.max(seconds, 1e-9)) - LOWEST) / (HIGHEST - LOWEST);
  return Math.min(100, Math.max(0, share * 100));
}

class Row {
  readonly node: HTMLTableRowElement;
  readonly #range = make("span", { class: "range" });
  readonly #marks = ["p50", "p90", "p99", "p999"].map((name) => make("span", { class: `mark ${name}` }));
  readonly #cells = Array.from({ length: 5 }, () => make("td", { class: "number" }));

  constructor(engine: string, stage: string) {
    const track = make("td", { class: "track" }, make("span", { class: "rail", "aria-hidden": "true" }, this.#range, ...this.#marks));
    this.node = make(
      "tr", {},
      make("th", { scope: "row" }, engine),
      make("td", { class: "stage" }, NAMES[stage] ?? stage.replaceAll("_", " ")),
      track,
      ...this.#cells,
    );
  }

  show(stage: Stage): void {
    const values = [stage.p50_s, stage.p90_s, stage.p99_s, stage.p999_s];
    values.forEach((value, index) => {
      const mark = this.#marks[index];
      const cell = this.#cells[index];
      if (mark !== undefined) {
        mark.hidden = value === null;
        if (value !== null) mark.style.left = `${position(value).toFixed(2)}%`;
      }
      if (cell !== undefined) write(cell, duration(value));
    });
    const last = this.#cells[4];
    if (last !== undefined) write(last, count(stage.count));
    const low = position(stage.p50_s ?? 0);
    const high = position(stage.p999_s ?? stage.p99_s ?? stage.p50_s ?? 0);
    this.#range.style.left = `${low.toFixed(2)}%`;
    this.#range.style.width = `${Math.max(0, high - low).toFixed(2)}%`;
  }
}

export class Latency {
  readonly #body = byId("latency", HTMLTableSectionElement);
  readonly #rows = new Map<string, Row>();

  show(engines: readonly { engine: string; stages: readonly Stage[] }[]): void {
    const seen = new Set<string>();
    for (const { engine, stages } of engines) {
      for (const stage of stages) {
        const key = `${engine} ${stage.stage}`;
        seen.add(key);
        let row = this.#rows.get(key);
        if (row === undefined) {
          row = new Row(engine, stage.stage);
          this.#rows.set(key, row);
          this.#body.append(row.node);
        }
        row.show(stage);
      }
    }
    for (const [key, row] of this.#rows) {
      // An engine that is down says nothing: what it said last would be taken for now.
      if (seen.has(key)) continue;
      row.node.remove();
      this.#rows.delete(key);
    }
  }
}
