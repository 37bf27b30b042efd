// How numbers and instants are written.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../src/format.ts";

const thin = (text: string): string => text.replaceAll(" ", "\u2009");

test("figures", () => {
  const cases: [string, string][] = [
    [format.grouped("1234567.125"), thin("1 234 567.125")],
    [format.grouped("-1234"), thin("-1 234")],
    [format.grouped("999"), "999"],
    [format.count(1234), thin("1 234")],
    [format.count(72.5), "72.5"],
    [format.count(12_345_678), "12.35M"],
    [format.count(null), "–"],
    [format.count(Number.NaN), "–"],
    [format.rate(0), "0"],
    [format.rate(3.14159), "3.1"],
    [format.rate(12_345.6), thin("12 346")],
    [format.price(4795.5, 2), thin("4 795.50")],
    [format.padded("4806", 2), thin("4 806.00")],
    [format.padded("4806.5", 2), thin("4 806.50")],
    [format.padded("0.12345", 2), "0.12345"],
    [format.padded("7", 0), "7"],
    [format.percent(0.1234), "12.3%"],
    [format.percent(undefined), "–"],
  ];
  for (const [actual, expected] of cases) assert.equal(actual, expected);
});

test("durations have three digits and the unit that fits", () => {
  const cases: [number | null, string][] = [
    [0, "0 ns"], [4.2e-8, "42 ns"], [1.44e-6, "1.44 µs"], [3.2e-5, "32 µs"], [0.9999, "1 s"], [0.0123, "12.3 ms"], [2, "2 s"], [null, "–"],
  ];
  for (const [seconds, expected] of cases) assert.equal(format.duration(seconds), expected);
});

test("uptime", () => {
  const cases: [number, string][] = [
    [41_900, "41 s"], [200_000, "3 min 20 s"], [18_720_000, "5 h 12 min"], [273_600_000, "3 d 4 h"],
  ];
  for (const [ms, expected] of cases) assert.equal(format.uptime(ms), expected);
});

test("instants are UTC", () => {
  assert.equal(format.clock(Date.UTC(2024, 0, 2, 14, 30, 5)), "14:30:05");
  assert.equal(format.clockNs(Date.UTC(2024, 0, 2, 14, 30, 5, 42) * 1e6), "14:30:05.042");
  assert.equal(format.day(Date.UTC(2024, 0, 2, 23, 59)), "2024-01-02");
});

test("digits of a tick", () => {
  const cases: [string | null, number][] = [["0.25", 2], ["0.250000000", 2], ["1", 0], ["1.000000000", 0], ["0.01", 2], [null, 2]];
  for (const [tick, expected] of cases) assert.equal(format.tickDecimals(tick), expected, String(tick));
});
