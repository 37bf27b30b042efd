// Each portfolio's measures as they move, and the newest alerts of the firm. A level is told by a sign and a word.
import type { Portfolio } from "../api.ts";
import { byId, make, mark, throttled, write } from "../dom.ts";
import { NONE, clock, clockNs, count, percent } from "../format.ts";
import type { RiskAlert, RiskMetric } from "../protocol.ts";
import { Ring } from "../series.ts";
import type { Receive, Stream } from "../stream.ts";

/** Portfolios on the page; the service lists all. */
const PORTFOLIOS_SHOWN = 50;
const ALERTS_SHOWN = 50;
const CONFLATE_MS = 500;
const LEVELS: Record<string, string> = { cleared: "▽ cleared", soft: "◇ soft", hard: "▲ hard" };

/** An amount to the hundredth; a gain has a sign too where that is what it says. */
function money(value: string | number | null, signed = false): string {
  if (value === null) return NONE;
  const amount = Math.round(Number(value) * 100) / 100;
  return signed && amount > 0 ? `+${count(amount)}` : count(amount);
}

class Row {
  readonly node: HTMLTableRowElement;
  readonly #cells = { var: cell(), es: cell(), gross: cell(), net: cell(), pnl: cell(), at: cell() };

  constructor({ scope, currency }: Portfolio) {
    const name = make("th", { scope: "row" }, scope, " ", make("span", { class: "currency" }, currency));
    this.node = make("tr", { "data-portfolio": scope }, name, ...Object.values(this.#cells));
  }

  show(metric: RiskMetric): void {
    const cells = this.#cells;
    write(cells.var, money(metric.var));
    write(cells.es, money(metric.es));
    write(cells.gross, money(metric.gross));
    write(cells.net, money(metric.net, true));
    write(cells.pnl, money(metric.pnl, true));
    write(cells.at, clock(metric.ts_event_ns / 1e6));
  }
}

const cell = (): HTMLTableCellElement => make("td", { class: "number" }, NONE);

function alertOf({ scope, kind, level, limit, used, ts_event_ns: at }: RiskAlert): HTMLLIElement {
  const against = limit === null ? "" : ` ${money(used)}, limit ${money(limit)}`;
  return make(
    "li",
    { "data-level": level },
    make("span", { class: "time" }, clockNs(at)),
    make("span", { class: "badge", "data-state": level }, LEVELS[level] ?? level),
    make("span", { class: "name" }, scope),
    make("span", { class: "detail" }, `${kind.replace("_", " ")}${against}`),
  );
}

export class Risk {
  readonly #stream: Stream;
  readonly #legend = byId("risk-legend", HTMLElement);
  readonly #body = byId("risk-rows", HTMLTableSectionElement);
  readonly #list = byId("risk-alerts", HTMLUListElement);
  readonly #rows = new Map<string, Row>();
  #alerts = new Ring<RiskAlert>(ALERTS_SHOWN);
  #confidence: number | null = null;
  #portfolios = 0;
  readonly #drawAlerts = throttled(CONFLATE_MS, () => this.#list.replaceChildren(...this.#alerts.items.toReversed().map(alertOf)));

  constructor(stream: Stream) {
    this.#stream = stream;
    this.portfolios([]);
  }

  /** All that there are, as the service lists them. */
  portfolios(portfolios: readonly Portfolio[]): void {
    this.#portfolios = portfolios.length;
    for (const portfolio of portfolios.slice(0, PORTFOLIOS_SHOWN)) {
      if (this.#rows.has(portfolio.scope) || this.#rows.size >= PORTFOLIOS_SHOWN) continue;
      const row = new Row(portfolio);
      this.#rows.set(portfolio.scope, row);
      this.#body.append(row.node);
    }
    this.#follow();
    this.#label();
  }

  #follow(): void {
    const topic = (receive: Receive) => ({ options: { conflate_ms: CONFLATE_MS }, receive });
    const measures = [...this.#rows].map(([name, row]) => [`risk.${name}`, topic((data) => this.#onMetric(row, data as RiskMetric))] as const);
    const alerts = topic((data, how) => this.#onAlerts((data as { alerts: RiskAlert[] }).alerts, how));
    this.#stream.follow("risk", new Map([...measures, ["risk_alerts.firm", alerts]]));
  }

  #onMetric(row: Row, metric: RiskMetric): void {
    row.show(metric);
    this.#confidence = metric.confidence;
    this.#label();
  }

  #onAlerts(alerts: readonly RiskAlert[], how: "snapshot" | "update" | "overlap"): void {
    if (how === "snapshot") this.#alerts = new Ring(ALERTS_SHOWN);
    // What overlaps may have come before; an alert has no number, but its own time.
    const known = new Set(how === "overlap" ? this.#alerts.items.map((alert) => JSON.stringify(alert)) : []);
    this.#alerts.push(...alerts.filter((alert) => !known.has(JSON.stringify(alert))));
    this.#drawAlerts();
  }

  #label(): void {
    const hidden = this.#portfolios - this.#rows.size;
    const more = hidden > 0 ? ` · ${hidden} portfolios more` : "";
    const text = this.#portfolios === 0 ? "no portfolio yet" : this.#confidence === null ? "no measure yet" : `VaR and ES at ${percent(this.#confidence)}`;
    write(this.#legend, `${text}${more}`);
    mark(this.#body, "data-state", this.#confidence === null ? "none" : "measured");
  }
}
