// The book reducer and its checksum, beside the slow obvious twin.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Book, LEVELS_MAX, depth } from "../src/book.ts";
import { crc32 } from "../src/crc32.ts";
import type { BookData, WireLevel } from "../src/protocol.ts";

const data = (bids: WireLevel[], asks: WireLevel[], more: Partial<BookData> = {}): BookData => ({
  state: "live", sequence: 1, bids, asks, ...more,
});
const prices = (book: Book): [string[], string[]] => [
  book.bids.map(({ priceText }) => priceText),
  book.asks.map(({ priceText }) => priceText),
];

test("CRC-32 is that of zlib", () => {
  const known: [string, number][] = [
    ["", 0],
    ["123456789", 0xcbf43926],
    ["The quick brown fox jumps over the lazy dog", 0x414fa339],
  ];
  for (const [text, expected] of known) assert.equal(crc32(text), expected, text);
});

test("a snapshot replaces, a change is merged, quantity 0 removes", () => {
  const book = new Book();
  book.apply(data([["10.00", "5", 1], ["10.25", "2", 1]], [["11.00", "1", 1], ["10.75", "4", 2]]), true);
  assert.deepEqual(prices(book), [["10.25", "10.00"], ["10.75", "11.00"]]);
  book.apply(data([["10.25", "0", 0], ["10.50", "7", 3]], [["10.75", "9", 3]]), false);
  assert.deepEqual(prices(book), [["10.50", "10.00"], ["10.75", "11.00"]]);
  assert.equal(book.asks[0]?.quantityText, "9");
  assert.equal(book.spread(), 0.25);
  assert.equal(book.mid(), 10.625);
  book.apply(data([["9.00", "1", 1]], []), true);
  assert.deepEqual(prices(book), [["9.00"], []]);
  assert.equal(book.spread(), null);
});

test("cleared empties the book before the change", () => {
  const book = new Book();
  book.apply(data([["10.00", "5", 1]], [["11.00", "1", 1]]), true);
  book.apply(data([], [["12.00", "1", 1]], { cleared: true }), false);
  assert.deepEqual(prices(book), [[], ["12.00"]]);
});

test("applying a change twice does no harm, nor does removing what is not there", () => {
  const change = data([["10.00", "3", 1]], [["11.00", "0", 0]]);
  const book = new Book();
  book.apply(data([["10.00", "5", 1]], [["12.00", "1", 1]]), true);
  book.apply(change, false);
  book.apply(change, false);
  assert.deepEqual(prices(book), [["10.00"], ["12.00"]]);
});

test("negative prices order like others", () => {
  const book = new Book();
  book.apply(data([["-0.25", "1", 1], ["-1.00", "1", 1], ["0.00", "1", 1]], [["0.25", "1", 1]]), true);
  assert.deepEqual(prices(book)[0], ["0.00", "-0.25", "-1.00"]);
});

test("the checksum is over ten asks and ten bids, best first, as sent", () => {
  const book = new Book();
  const bids = Array.from({ length: 12 }, (_, n): WireLevel => [`${99 - n}.00`, `${n + 1}`, 1]);
  const asks = Array.from({ length: 12 }, (_, n): WireLevel => [`${100 + n}.00`, `${n + 1}`, 1]);
  const text = [...asks.slice(0, 10), ...bids.slice(0, 10)].map(([price, quantity]) => `${price}:${quantity}|`).join("");
  assert.equal(book.apply(data(bids, asks, { checksum: crc32(text) }), true), true);
  assert.equal(book.apply(data([["99.00", "7", 1]], [], { checksum: crc32(text) }), false), false);
  assert.equal(book.apply(data([["99.00", "1", 1]], [], { checksum: null }), false), true);
});

test("a random walk of changes equals the twin that sorts a map", () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return seed % below;
  };
  const book = new Book();
  const twin = new Map<string, string>();
  for (let step = 0; step < 5_000; step += 1) {
    const level: WireLevel = [(random(400) / 4).toFixed(2), String(random(3)), 1];
    book.apply(data([level], []), false);
    if (level[1] === "0") twin.delete(level[0]);
    else twin.set(level[0], level[1]);
  }
  const expected = [...twin].sort(([a], [b]) => Number(b) - Number(a));
  assert.deepEqual(book.bids.map(({ priceText, quantityText }) => [priceText, quantityText]), expected);
});

test("levels are bounded; the far end is let go", () => {
  const book = new Book();
  book.apply(data([], Array.from({ length: LEVELS_MAX + 5 }, (_, n): WireLevel => [String(n + 1), "1", 1])), true);
  assert.equal(book.asks.length, LEVELS_MAX);
  assert.equal(book.asks[0]?.priceText, "1");
});

test("depth adds up from the touch and reaches equally far on both sides", () => {
  const book = new Book();
  book.apply(data([["99", "1", 1], ["98", "2", 1], ["10", "100", 1]], [["101", "3", 1], ["102", "4", 1]]), true);
  assert.deepEqual(depth(book.bids, book.asks, 2), [
    { price: 98, bids: 3, asks: null },
    { price: 99, bids: 1, asks: null },
    { price: 101, bids: null, asks: 3 },
    { price: 102, bids: null, asks: 7 },
  ]);
  assert.deepEqual(depth(book.bids, [], 2), []);
});
