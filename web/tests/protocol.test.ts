// Keeping in step with a topic, and what is no message at all.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RECONNECT_MAX_MS, backoffMs, judge, parse, type Position, type TopicMessage, type Verdict } from "../src/protocol.ts";

const update = (epoch: number, prev_seq: number, seq: number): TopicMessage => ({
  message_type: "update", topic: "books.X", epoch, seq, prev_seq, data: null,
});

test("an update belongs after what one has when prev_seq <= seq of mine < seq", () => {
  const at: Position = { epoch: 1, seq: 10 };
  const cases: [string, Position | null, TopicMessage, Verdict][] = [
    ["the next", at, update(1, 10, 11), "apply"],
    ["several at once", at, update(1, 10, 15), "apply"],
    ["a conflated stretch that begins before", at, update(1, 7, 12), "overlap"],
    ["known", at, update(1, 9, 10), "drop"],
    ["older", at, update(1, 3, 4), "drop"],
    ["a gap", at, update(1, 11, 12), "resubscribe"],
    ["another start of the engine", at, update(2, 10, 11), "resubscribe"],
    ["before the snapshot", null, update(1, 10, 11), "drop"],
    ["a snapshot", at, { ...update(2, 0, 3), message_type: "snapshot" }, "replace"],
    ["an update that does not say where it belongs", at, { message_type: "update", topic: "t", epoch: 1, seq: 11, data: null }, "resubscribe"],
  ];
  for (const [name, position, message, expected] of cases) assert.equal(judge(position, message), expected, name);
});

test("what is no message is null", () => {
  for (const text of ["", "{", "null", "7", '"text"', "[]", "{}"]) assert.equal(parse(text), null, text);
  assert.deepEqual(parse('{"message_type":"pong","id":4}'), { message_type: "pong", id: 4 });
});

test("back-off doubles, is capped and leaves half to chance", () => {
  assert.equal(backoffMs(0, () => 0), 125);
  assert.equal(backoffMs(0, () => 1), 250);
  assert.equal(backoffMs(3, () => 1), 2_000);
  assert.equal(backoffMs(1_000_000, () => 1), RECONNECT_MAX_MS);
});
