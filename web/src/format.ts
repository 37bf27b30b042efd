// Numbers, instants and durations as the page writes them. Pure; every reader gets the same text whatever the locale.

export const NONE = "–";

/** Groups the whole part by thousands with a thin space: 1234567.5 → 1 234 567.5. */
export function grouped(text: string): string {
  const [whole = "", fraction] = text.split(".");
  const spaced = whole.replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");
  return fraction === undefined ? spaced : `${spaced}.${fraction}`;
}

/** A count or quantity, shortened from a million on. */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(2)}G`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  return grouped(String(Math.round(value * 1000) / 1000));
}

/** Events a second. */
export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return value >= 100 || value === 0 ? count(Math.round(value)) : value.toFixed(1);
}

/** Digits behind the point of a decimal text. */
export function decimals(text: string): number {
  const point = text.indexOf(".");
  return point < 0 ? 0 : text.length - point - 1;
}

/** A decimal text with at least so many digits behind the point, so that prices stand below each other. */
export function padded(text: string, digits: number): string {
  const missing = digits - decimals(text);
  if (missing <= 0) return grouped(text);
  return grouped(text.includes(".") ? text : `${text}.`) + "0".repeat(missing);
}

/** Digits behind the point that a price of this tick needs. */
export function tickDecimals(tick: string | null | undefined): number {
  return tick === null || tick === undefined ? 2 : decimals(tick.replace(/0+$/, "").replace(/\.$/, ""));
}

export function price(value: number | null | undefined, digits: number): string {
  return value === null || value === undefined || !Number.isFinite(value) ? NONE : grouped(value.toFixed(digits));
}

/** A share of one as a percentage. */
export function percent(value: number | null | undefined): string {
  return value === null || value === undefined || !Number.isFinite(value) ? NONE : `${(value * 100).toFixed(1)}%`;
}

/** A duration in seconds with three significant digits: 850 ns, 12.3 µs, 4.56 ms, 1.20 s. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE;
  const units: ReadonlyArray<readonly [number, string]> = [
    [1, "s"],
    [1e-3, "ms"],
    [1e-6, "µs"],
  ];
  for (const [size, unit] of units) {
    if (seconds >= size * 0.9995) return `${Number((seconds / size).toPrecision(3))} ${unit}`;
  }
  return `${Math.round(seconds * 1e9)} ns`;
}

/** How long something has been up: 42 s, 3 min 20 s, 5 h 12 min, 3 d 4 h. */
export function uptime(milliseconds: number | null | undefined): string {
  if (milliseconds === null || milliseconds === undefined) return NONE;
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const two = (value: number): string => String(value).padStart(2, "0");

/** The time of day, UTC: 14:30:05. */
export function clock(ms: number): string {
  const at = new Date(ms);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}

/** The time of day with milliseconds, UTC, of an instant in nanoseconds. A JSON number of that size is exact to 256 ns. */
export function clockNs(ns: number): string {
  const ms = Math.floor((ns + 256) / 1e6);
  return `${clock(ms)}.${String(((ms % 1000) + 1000) % 1000).padStart(3, "0")}`;
}

/** The day, UTC: 2026-11-20. */
export function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
