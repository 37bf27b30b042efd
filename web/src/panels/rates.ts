// Messages, trades and market events a second over the last minutes.
import type uPlot from "uplot";
import { byId, mark, write } from "../dom.ts";
import { NONE, clock, count, rate } from "../format.ts";
import { Ring } from "../series.ts";
import type { Counters } from "../stream.ts";
import { palette } from "../theme.ts";
import { Plot, axis, type Options } from "./plot.ts";

const SECONDS_KEPT = 300;

interface Sample {
  at: number;
  messages: number;
  trades: number;
  events: number;
}

/** What was counted since the page was opened. */
export interface Totals {
  trades: number;
  events: number;
}

export class Rates {
  readonly #place = byId("rates", HTMLElement);
  readonly #legend = byId("rates-legend", HTMLElement);
  readonly #facts = byId("stream-facts", HTMLElement);
  readonly #plot: Plot;
  readonly #samples = new Ring<Sample>(SECONDS_KEPT);
  #before: (Sample & { total: true }) | null = null;

  constructor() {
    this.#plot = new Plot(this.#place, () => this.#options());
  }

  /** Takes a sample; called about once a second. Returns trades a second. */
  sample(counters: Counters, totals: Totals): number | null {
    const now = { at: Date.now() / 1000, messages: counters.messages, trades: totals.trades, events: totals.events, total: true as const };
    const before = this.#before;
    this.#before = now;
    if (before === null || now.at <= before.at) return null;
    const seconds = now.at - before.at;
    const last: Sample = {
      at: now.at,
      messages: (now.messages - before.messages) / seconds,
      trades: (now.trades - before.trades) / seconds,
      events: (now.events - before.events) / seconds,
    };
    this.#samples.push(last);
    this.#show(last, counters);
    return last.trades;
  }

  #show(last: Sample, counters: Counters): void {
    const { items } = this.#samples;
    this.#plot.set([
      items.map(({ at }) => at), items.map(({ messages }) => messages), items.map(({ trades }) => trades), items.map(({ events }) => events),
    ]);
    const text = `${rate(last.messages)} messages/s · ${rate(last.trades)} trades/s · ${rate(last.events)} events/s`;
    write(this.#legend, text);
    mark(this.#place, "aria-label", `Rates: ${text}`);
    const { connects, resubscribes, checksumFailures, heartbeatsMissed, unreadable } = counters;
    const facts = [
      `${connects} connects`, `${resubscribes} resubscribed`, `${checksumFailures} checksum failures`,
      `${heartbeatsMissed} heartbeats missed`, `${unreadable} unreadable`,
    ];
    write(this.#facts, `Stream: ${facts.join(", ")}`);
  }

  #options(): Options {
    const line = (label: string, stroke: string, dash?: number[]): uPlot.Series => ({
      label, stroke, width: 1.75, points: { show: false }, value: (_u, value: number | null) => rate(value), ...(dash === undefined ? {} : { dash }),
    });
    return {
      legend: { show: true, live: true },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { y: { range: (_u, _low, high) => [0, Math.max(10, high * 1.1)] } },
      axes: [
        axis({ size: 26, space: 76, values: (_u, splits) => splits.map((seconds) => clock(seconds * 1000)) }),
        axis({ values: (_u, splits) => splits.map((value) => count(value)) }),
      ],
      series: [
        { label: "time", value: (_u, seconds: number | null) => (seconds === null ? NONE : clock(seconds * 1000)) },
        line("messages", palette.text),
        line("trades", palette.sell, [6, 4]),
        line("events", palette.buy, [2, 3]),
      ],
    };
  }
}
