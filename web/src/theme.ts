// Dark or light: the system's choice until the reader makes one. Charts ask here for colours and are told of changes.

const KEY = "nautilus-theme";
type Theme = "dark" | "light";

const prefersLight = window.matchMedia("(prefers-color-scheme: light)");
const listeners: (() => void)[] = [];

function chosen(): Theme | null {
  const value = localStorage.getItem(KEY);
  return value === "dark" || value === "light" ? value : null;
}

export function theme(): Theme {
  return chosen() ?? (prefersLight.matches ? "light" : "dark");
}

/** Colours and font as the style sheet has them. */
export interface Palette {
  text: string;
  muted: string;
  line: string;
  panel: string;
  buy: string;
  sell: string;
  accent: string;
  warn: string;
  font: string;
}

export const palette: Palette = { text: "", muted: "", line: "", panel: "", buy: "", sell: "", accent: "", warn: "", font: "" };

function read(): void {
  const style = getComputedStyle(document.documentElement);
  for (const name of Object.keys(palette) as (keyof Palette)[]) palette[name] = style.getPropertyValue(`--${name}`).trim();
}

export function whenThemeChanges(listener: () => void): void {
  listeners.push(listener);
}

function apply(button: HTMLButtonElement): void {
  const now = theme();
  document.documentElement.dataset["theme"] = now;
  button.textContent = now === "dark" ? "☾ Dark" : "☀ Light";
  button.setAttribute("aria-label", `Theme: ${now}. Switch to ${now === "dark" ? "light" : "dark"}`);
  read();
  for (const listener of listeners) listener();
}

/** Sets the theme up, with the button that switches it. */
export function themed(button: HTMLButtonElement): void {
  button.addEventListener("click", () => {
    localStorage.setItem(KEY, theme() === "dark" ? "light" : "dark");
    apply(button);
  });
  prefersLight.addEventListener("change", () => apply(button));
  apply(button);
}

/** A hexadecimal colour with an opacity, for areas under lines. */
export function faint(colour: string, opacity: number): string {
  const full = colour.length === 4 ? colour.replace(/[0-9a-f]/gi, "$&$&") : colour;
  return full + Math.round(opacity * 255).toString(16).padStart(2, "0");
}
