// Finding instruments by what a reader types, and where a symbol stands in the order of symbols. Pure.
import type { Instrument } from "./api.ts";

const SHOWN = 40;

/** Instruments whose symbol, venue or class holds the text, those that begin with it first. */
export function matching(instruments: readonly Instrument[], text: string): Instrument[] {
  const wanted = text.trim().toUpperCase();
  const first = instruments.filter(({ symbol }) => symbol.toUpperCase().startsWith(wanted));
  const rest = instruments.filter(
    ({ symbol, venue, class: kind }) =>
      !symbol.toUpperCase().startsWith(wanted) && `${symbol} ${venue} ${kind}`.toUpperCase().includes(wanted),
  );
  return [...first, ...rest].slice(0, SHOWN);
}

/** Visible ASCII that no symbol may hold. */
const NOT_IN_SYMBOLS = "\"',/`";
const FIRST_VISIBLE = 0x21;

/** A legal symbol just before all that begin with `text`; empty when there is none. */
export function before(text: string): string {
  const start = text.slice(0, -1);
  let code = text.charCodeAt(text.length - 1) - 1;
  while (code >= FIRST_VISIBLE && NOT_IN_SYMBOLS.includes(String.fromCharCode(code))) code -= 1;
  return code < FIRST_VISIBLE ? start : `${start}${String.fromCharCode(code)}~`;
}
