// Candles and buckets: history, live, the one that forms, and a source that starts over.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bar, Trade, VpinBucket } from "../src/protocol.ts";
import { BUCKETS_MAX, Buckets, CANDLES_MAX, Candles, Ring } from "../src/series.ts";

const bar = (second: number, close = "1"): Bar => ({
  ts_open_ns: second * 1e9, ts_close_ns: (second + 60) * 1e9, open: "1", high: "2", low: "1", close, volume: "3",
});
const trade = (second: number, price: string, quantity = "1"): Trade => ({
  sequence: 0, ts_event_ns: second * 1e9, price, quantity, aggressor: null,
});
const times = (candles: Candles): number[] => candles.completed.map(({ time }) => time);

test("history goes under what is already here, in order and once", () => {
  const candles = new Candles("1m");
  candles.complete(bar(120, "9"));
  candles.merge([bar(0), bar(60), bar(120)]);
  assert.deepEqual(times(candles), [0, 60, 120]);
  assert.equal(candles.completed.at(-1)?.close, 9);
});

test("trades form the next candle until it is completed", () => {
  const candles = new Candles("1m");
  candles.merge([bar(0)]);
  for (const each of [trade(59, "100"), trade(61, "5"), trade(62, "7"), trade(63, "4"), trade(119.5, "6", "2.5")]) candles.trade(each);
  assert.deepEqual(candles.forming, { time: 60, open: 5, high: 7, low: 4, close: 6, volume: 5.5 });
  candles.complete(bar(60));
  assert.equal(candles.forming, null);
  assert.deepEqual(times(candles), [0, 60]);
});

test("the candle that forms begins with bars of a finer interval and goes on with trades after them", () => {
  const candles = new Candles("5m");
  candles.merge([bar(0)]);
  candles.seed([bar(240), bar(300, "2"), bar(360, "1.5")]);
  candles.trade(trade(419, "50"));
  candles.trade(trade(420, "4"));
  assert.deepEqual(candles.forming, { time: 300, open: 1, high: 4, low: 1, close: 4, volume: 7 });
});

test("a late completed bar leaves the candle that forms after it", () => {
  const candles = new Candles("1m");
  candles.trade(trade(61, "5"));
  candles.trade(trade(121, "6"));
  candles.complete(bar(60));
  assert.equal(candles.last()?.time, 120);
});

test("a source that starts over takes the later candles with it", () => {
  const candles = new Candles("1m");
  candles.merge([bar(600), bar(660), bar(720)]);
  candles.trade(trade(781, "5"));
  candles.complete(bar(60));
  assert.deepEqual(times(candles), [60]);
  assert.equal(candles.forming, null);
  candles.merge([bar(600), bar(660)]);
  candles.replace([bar(0), bar(60)]);
  assert.deepEqual(times(candles), [0, 60]);
});

test("a chart is told what to draw anew: the end, or everything", () => {
  const candles = new Candles("1m");
  candles.merge([bar(0), bar(60)]);
  assert.equal(candles.changes(60), null);
  assert.deepEqual(candles.changes(60), []);
  candles.complete(bar(120));
  candles.trade(trade(181, "5"));
  assert.deepEqual(candles.changes(60)?.map(({ time }) => time), [120, 180]);
  candles.complete(bar(120, "2"));
  assert.equal(candles.changes(180), null);
  candles.invalidate();
  assert.equal(candles.changes(180), null);
  candles.seed([]);
  assert.equal(candles.changes(180), null, "a candle that was drawn is gone");
});

test("candles, buckets and rings are bounded", () => {
  const candles = new Candles("1m");
  for (let n = 0; n < CANDLES_MAX + 10; n += 1) candles.complete(bar(n * 60));
  assert.equal(candles.completed.length, CANDLES_MAX);
  const buckets = new Buckets();
  for (let n = 0; n < BUCKETS_MAX + 10; n += 1) buckets.add(bucket(n), false);
  assert.equal(buckets.list.length, BUCKETS_MAX);
  const ring = new Ring<number>(3);
  ring.push(1, 2, 3, 4);
  ring.push(5);
  assert.deepEqual(ring.items, [3, 4, 5]);
});

function bucket(number: number, vpin = 0.5): VpinBucket {
  return { classification: "aggressor", bucket: number, ts_event_ns: 0, vpin, cdf: null };
}

test("a bucket that comes twice counts once; numbers that begin again forget the rest", () => {
  const buckets = new Buckets();
  buckets.merge([bucket(1), bucket(2), bucket(3)]);
  buckets.add(bucket(3, 0.9), false);
  assert.deepEqual(buckets.list.map(({ vpin }) => vpin), [0.5, 0.5, 0.9]);
  buckets.add(bucket(2, 0.1), true);
  assert.deepEqual(buckets.list.map(({ bucket }) => bucket), [1, 2]);
  assert.equal(buckets.list.at(-1)?.vpin, 0.1);
});
