// The choice of the instrument: a combobox that is searched by typing and worked by keyboard.
import type { Instrument } from "../api.ts";
import { byId, make } from "../dom.ts";
import { matching } from "../instruments.ts";

export class Picker {
  readonly #input = byId("picker", HTMLInputElement);
  readonly #list = byId("picker-list", HTMLUListElement);
  readonly #onPick: (symbol: string) => void;
  readonly #onOpen: () => void;
  readonly #onSearch: (text: string) => void;
  #instruments: readonly Instrument[] = [];
  #shown: readonly Instrument[] = [];
  #active = -1;
  #picked = "";

  constructor(onPick: (symbol: string) => void, onOpen: () => void, onSearch: (text: string) => void) {
    this.#onPick = onPick;
    this.#onOpen = onOpen;
    this.#onSearch = onSearch;
    this.#input.addEventListener("focus", () => {
      this.#input.select();
      this.#onOpen();
    });
    this.#input.addEventListener("click", () => this.#open(""));
    this.#input.addEventListener("input", () => {
      this.#open(this.#input.value);
      this.#onSearch(this.#input.value.trim());
    });
    this.#input.addEventListener("blur", () => this.#close());
    this.#input.addEventListener("keydown", (event) => this.#key(event));
  }

  offer(instruments: readonly Instrument[]): void {
    this.#instruments = instruments;
    if (!this.#list.hidden) this.#open(this.#input.value === this.#picked ? "" : this.#input.value);
  }

  picked(symbol: string): void {
    this.#picked = symbol;
    this.#input.value = symbol;
  }

  focus(): void {
    this.#input.focus();
    this.#open("");
  }

  #open(text: string): void {
    this.#shown = matching(this.#instruments, text);
    this.#active = this.#shown.length === 0 ? -1 : Math.max(0, this.#shown.findIndex(({ symbol }) => symbol === this.#picked));
    this.#list.replaceChildren(...this.#shown.map((instrument, index) => this.#option(instrument, index)));
    if (this.#shown.length === 0) this.#list.append(make("li", { class: "empty", role: "presentation" }, "no instrument like that is known"));
    this.#list.hidden = false;
    this.#input.setAttribute("aria-expanded", "true");
    this.#point();
  }

  #option({ symbol, venue, class: kind, currency, state }: Instrument, index: number): HTMLLIElement {
    const option = make(
      "li", { role: "option", id: `picker-${index}`, "aria-selected": "false" },
      make("strong", {}, symbol), make("span", {}, `${venue} ${kind} ${currency}`), make("span", { class: "badge", "data-state": state }, state),
    );
    // mousedown comes before the field loses the focus, click after.
    option.addEventListener("mousedown", (event) => {
      event.preventDefault();
      this.#pick(symbol);
    });
    return option;
  }

  #point(): void {
    for (const [index, option] of [...this.#list.children].entries()) {
      if (option.getAttribute("role") === "option") option.setAttribute("aria-selected", String(index === this.#active));
    }
    if (this.#active < 0) {
      this.#input.removeAttribute("aria-activedescendant");
      return;
    }
    this.#input.setAttribute("aria-activedescendant", `picker-${this.#active}`);
    this.#list.children[this.#active]?.scrollIntoView({ block: "nearest" });
  }

  #close(): void {
    this.#list.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#input.removeAttribute("aria-activedescendant");
    this.#input.value = this.#picked;
  }

  #pick(symbol: string): void {
    this.picked(symbol);
    this.#close();
    this.#onPick(symbol);
  }

  #key(event: KeyboardEvent): void {
    const move = (by: number): void => {
      if (this.#list.hidden) this.#open("");
      else if (this.#shown.length > 0) this.#active = (this.#active + by + this.#shown.length) % this.#shown.length;
      this.#point();
    };
    switch (event.key) {
      case "ArrowDown":
        move(1);
        break;
      case "ArrowUp":
        move(-1);
        break;
      case "Enter": {
        const symbol = this.#shown[this.#active]?.symbol;
        if (!this.#list.hidden && symbol !== undefined) this.#pick(symbol);
        break;
      }
      case "Escape":
        this.#close();
        break;
      default:
        return;
    }
    event.preventDefault();
  }
}
