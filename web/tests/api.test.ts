// Asking over HTTP: what goes wrong on the way is a problem with a sentence, and a refusal is not asked for again at once.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Problem, api, keepAccessKey, whenRefused } from "../src/api.ts";

const kept = new Map<string, string>();
const storage = { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => void kept.set(key, value) };
Object.defineProperty(globalThis, "sessionStorage", { value: storage });

let asked: (string | null)[] = [];

/** The server from now on. */
function answers(answer: () => Promise<Response>): void {
  globalThis.fetch = (_path, init) => {
    asked.push(new Headers(init?.headers).get("authorization"));
    return answer();
  };
}

const refuses = async (): Promise<Response> => Response.json({ code: "key_missing", detail: "send a key" }, { status: 401 });
const problem = (ask: Promise<unknown>): Promise<Problem> => ask.then(() => assert.fail("it was answered"), (error: unknown) => {
  assert.ok(error instanceof Problem, String(error));
  return error;
});

beforeEach(() => {
  asked = [];
  keepAccessKey("nk_a_b");
});

test("whatever goes wrong is a problem with a sentence", async () => {
  const late = new DOMException("", "TimeoutError");
  const breaking = (error: Error): Response => new Response(new ReadableStream({ start: (stream) => stream.error(error) }));
  const cases: [() => Promise<Response>, number, RegExp][] = [
    [() => Promise.reject(new TypeError("refused")), 0, /cannot be reached/],
    [() => Promise.reject(late), 0, /in time/],
    [async () => new Response("{"), 0, /broke off/],
    [async () => breaking(new TypeError("reset")), 0, /broke off/],
    [async () => breaking(late), 0, /in time/],
    [async () => new Response("<html>", { status: 502, statusText: "Bad Gateway" }), 502, /502 Bad Gateway/],
    [async () => Response.json({ code: "no_trades", detail: "X has not traded yet" }, { status: 404 }), 404, /not traded/],
  ];
  for (const [answer, status, sentence] of cases) {
    answers(answer);
    const found = await problem(api.status());
    assert.equal(found.status, status, String(sentence));
    assert.match(found.message, sentence);
    assert.match((await problem(api.startReplay("x", 1))).message, sentence);
  }
});

test("what was refused is not asked for again until there is another key; an action always is", async () => {
  const told: boolean[] = [];
  whenRefused((_problem, acted) => told.push(acted));
  answers(refuses);
  for (let time = 0; time < 3; time += 1) assert.equal((await problem(api.status())).code, "key_missing");
  assert.equal((await problem(api.replays())).code, "key_missing");
  assert.equal((await problem(api.startReplay("x", 1))).code, "key_missing");
  assert.deepEqual(asked, ["Bearer nk_a_b", "Bearer nk_a_b"]);
  assert.deepEqual(told, [false, true]);
  keepAccessKey("nk_c_d");
  answers(async () => Response.json([]));
  assert.deepEqual(await api.replays(), []);
  assert.equal(asked.at(-1), "Bearer nk_c_d");
});
