// The little DOM the panels need: elements by id, made once, and written to only when something changed.

export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html lacks #${id}`);
  return found;
}

type Attributes = Readonly<Record<string, string>>;

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Writing equal text would still cost a layout. */
export function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A name and its value in a description list. */
export function fact(name: string, title?: string): { node: HTMLElement; value: HTMLElement } {
  const value = make("dd");
  const term = make("dt", {}, title === undefined ? name : make("abbr", { title }, name));
  return { node: make("div", {}, term, value), value };
}

const due = new Set<() => void>();
let requested = false;

/** Draws once in the next frame, however often it is asked for: the stream may be faster than the screen. */
export function draw(task: () => void): void {
  due.add(task);
  if (requested) return;
  requested = true;
  requestAnimationFrame(() => {
    requested = false;
    const tasks = [...due];
    due.clear();
    for (const each of tasks) each();
  });
}

/** Runs `task` at most once in `every_ms`, the last call included. */
export function throttled(every_ms: number, task: () => void): () => void {
  let last = 0;
  let waiting = false;
  return () => {
    if (waiting) return;
    const wait = last + every_ms - performance.now();
    waiting = true;
    window.setTimeout(() => {
      waiting = false;
      last = performance.now();
      draw(task);
    }, Math.max(0, wait));
  };
}

/** Asks again `every_ms` after each answer, so that a slow server is never asked twice at once; at once when the tab is
 * looked at again. Returns a call that asks now. */
export function poll(every_ms: number, ask: () => Promise<void>): () => void {
  let timer: number | undefined;
  let busy = false;
  const run = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    window.clearTimeout(timer);
    try {
      await ask();
    } finally {
      busy = false;
      timer = window.setTimeout(() => void run(), document.hidden ? every_ms * 5 : every_ms);
    }
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) void run();
  });
  void run();
  return () => void run();
}
