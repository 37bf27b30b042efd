// Asks for an access key when the platform refuses the page, at most until the reader says "not now".
import { keepAccessKey, type Problem } from "../api.ts";
import { byId, write } from "../dom.ts";

export class Access {
  readonly #dialog = byId("access", HTMLDialogElement);
  readonly #why = byId("access-why", HTMLElement);
  readonly #key = byId("access-key", HTMLInputElement);
  #later = false;

  constructor(onKey: () => void) {
    byId("access-form", HTMLFormElement).addEventListener("submit", () => {
      keepAccessKey(this.#key.value.trim());
      this.#key.value = "";
      onKey();
    });
    byId("access-later", HTMLButtonElement).addEventListener("click", () => {
      this.#later = true;
      this.#dialog.close();
    });
  }

  /** Opens the dialog with the reason, unless it is open already or was put off. */
  ask(why: string): void {
    if (this.#dialog.open || this.#later) return;
    write(this.#why, why);
    this.#dialog.showModal();
  }

  /** `acted`: the reader did something that was refused, so "not now" no longer holds. */
  refused(problem: Problem, acted: boolean): void {
    if (acted) this.#later = false;
    this.ask(problem.message);
  }
}
