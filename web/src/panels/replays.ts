// Starts, shows and cancels replays of recordings that lie on the server.
import { Problem, api, type Feed } from "../api.ts";
import { byId, make, mark, poll, write } from "../dom.ts";
import { clock, count, day, percent } from "../format.ts";

const SIGNS: Record<Feed["state"], string> = {
  running: "▶ running", finished: "■ finished", cancelled: "■ cancelled", failed: "✕ failed",
};
const SHOWN = 8;

class Item {
  readonly node: HTMLLIElement;
  readonly #state = make("span", { class: "badge" });
  readonly #bar = make("progress", { max: "1" });
  readonly #detail = make("p", { class: "detail" });
  readonly #symbols = make("span", { class: "symbols" });
  readonly #cancel: HTMLButtonElement;
  readonly #pick: (symbol: string) => void;
  #named = "";

  constructor(feed: Feed, cancel: () => void, pick: (symbol: string) => void) {
    this.#pick = pick;
    const name = `replay ${feed.id}, ${feed.name}`;
    this.#bar.setAttribute("aria-label", `Progress of ${name}`);
    this.#cancel = make("button", { type: "button", class: "button", "aria-label": `Cancel ${name}` }, "Cancel");
    this.#cancel.addEventListener("click", cancel);
    this.node = make(
      "li", { "data-replay": String(feed.id) },
      make("span", { class: "name" }, feed.name), this.#state, this.#symbols, this.#cancel, this.#bar, this.#detail,
    );
  }

  show(feed: Feed): void {
    mark(this.node, "data-state", feed.state);
    mark(this.#state, "data-state", feed.state);
    write(this.#state, SIGNS[feed.state]);
    this.#bar.value = feed.state === "finished" ? 1 : (feed.fraction ?? 0);
    this.#cancel.hidden = feed.state !== "running";
    const at = feed.ts_event_ns === 0 ? "" : ` · at ${day(feed.ts_event_ns / 1e6)} ${clock(feed.ts_event_ns / 1e6)} UTC`;
    const speed = feed.speed === "max" ? "as fast as possible" : `${feed.speed}×`;
    const simulated = feed.simulated ? "SIMULATED · " : "";
    write(this.#detail, feed.reason ?? `${simulated}${percent(feed.fraction)} · ${count(feed.records)} records · ${speed}${at}`);
    this.#showSymbols(feed.symbols.slice(0, 4));
  }

  #showSymbols(symbols: readonly string[]): void {
    if (this.#named === symbols.join()) return;
    this.#named = symbols.join();
    this.#symbols.replaceChildren(
      ...symbols.map((symbol) => {
        const button = make("button", { type: "button", class: "link", "aria-label": `Show ${symbol}` }, symbol);
        button.addEventListener("click", () => this.#pick(symbol));
        return button;
      }),
    );
  }
}

export class Replays {
  readonly #form = byId("replay-form", HTMLFormElement);
  readonly #path = byId("replay-path", HTMLInputElement);
  readonly #speed = byId("replay-speed", HTMLSelectElement);
  readonly #error = byId("replay-error", HTMLElement);
  readonly #news = byId("replay-news", HTMLElement);
  readonly #list = byId("replays", HTMLUListElement);
  readonly #items = new Map<number, Item>();
  readonly #pick: (symbol: string) => void;
  readonly #refresh: () => void;
  /** The replay started here, until its first instrument is known and shown. */
  #awaited: number | null = null;
  #announced = "";

  /** `pick` shows an instrument; `reachable` says whether asking makes sense now. */
  constructor(pick: (symbol: string) => void, reachable: () => boolean) {
    this.#pick = pick;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#start();
    });
    this.#refresh = poll(700, async () => {
      if (!reachable()) return;
      const feeds = await api.replays().catch(() => null);
      if (feeds !== null) this.#show(feeds);
    });
  }

  async #start(): Promise<void> {
    const path = this.#path.value.trim();
    const speed = this.#speed.value === "max" ? "max" : Number(this.#speed.value);
    write(this.#error, "");
    try {
      const feed = await api.startReplay(path, speed);
      this.#awaited = feed.id;
      this.#refresh();
    } catch (error) {
      this.#fail("The replay did not start", error);
    }
  }

  async #cancel(id: number): Promise<void> {
    try {
      await api.cancelReplay(id);
      this.#refresh();
    } catch (error) {
      this.#fail("The replay was not cancelled", error);
    }
  }

  #fail(what: string, error: unknown): void {
    if (!(error instanceof Problem)) throw error;
    write(this.#error, `${what}: ${error.message}`);
  }

  #show(feeds: readonly Feed[]): void {
    const shown = [...feeds].sort((a, b) => b.id - a.id).slice(0, SHOWN);
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, item] of this.#items) {
      if (ids.has(id)) continue;
      item.node.remove();
      this.#items.delete(id);
    }
    for (const feed of [...shown].reverse()) {
      let item = this.#items.get(feed.id);
      if (item === undefined) {
        item = new Item(feed, () => void this.#cancel(feed.id), this.#pick);
        this.#items.set(feed.id, item);
        this.#list.prepend(item.node);
      }
      item.show(feed);
    }
    this.#follow(shown);
  }

  #follow(feeds: readonly Feed[]): void {
    const awaited = feeds.find(({ id }) => id === this.#awaited);
    const first = awaited?.symbols[0];
    if (first !== undefined) {
      this.#awaited = null;
      this.#pick(first);
    }
    const newest = feeds[0];
    const news = newest === undefined ? "" : `${newest.name}: ${newest.state}`;
    if (news === this.#announced) return;
    this.#announced = news;
    write(this.#news, news);
  }
}
