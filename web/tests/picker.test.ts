// Searching instruments.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Instrument } from "../src/api.ts";
import { before, matching } from "../src/instruments.ts";

const of = (symbol: string, venue = "XCME"): Instrument => ({ symbol, venue, class: "future", currency: "USD", tick_in_use: null, state: "live" });

test("symbols that begin with the text come first, then what holds it", () => {
  const all = [of("NQH4"), of("ESH4"), of("ZES1"), of("SIM01", "XSIM")];
  const found = (text: string): string[] => matching(all, text).map(({ symbol }) => symbol);
  assert.deepEqual(found("es"), ["ESH4", "ZES1"]);
  assert.deepEqual(found("xsim"), ["SIM01"]);
  assert.deepEqual(found(""), ["NQH4", "ESH4", "ZES1", "SIM01"]);
  assert.deepEqual(found("nothing"), []);
});

test("the text before a prefix sorts before all that begins with it, and after what comes earlier", () => {
  for (const [prefix, earlier] of [["ES", "ER9"], ["A", "9Z"], ["SIM0", "SIM-"], ["A!", "A"]] as const) {
    assert.ok(before(prefix) < prefix, prefix);
    assert.ok(before(prefix) >= earlier, prefix);
    assert.doesNotMatch(before(prefix), /["',/` ]/, prefix);
  }
  assert.equal(before("!"), "");
});
