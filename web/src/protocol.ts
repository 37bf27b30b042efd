// The messages of docs/websocket.md and the rule that keeps a topic in step. Never touches a socket.

/** Price, quantity and number of orders, as sent. */
export type WireLevel = readonly [price: string, quantity: string, orders: number];

export type BookState = "live" | "syncing" | "stale";

export interface BookData {
  state: BookState;
  sequence: number;
  cleared?: boolean;
  bids: readonly WireLevel[];
  asks: readonly WireLevel[];
  checksum?: number | null;
}

export type Aggressor = "buy" | "sell" | null;

export interface Trade {
  sequence: number;
  ts_event_ns: number;
  price: string;
  quantity: string;
  aggressor: Aggressor;
}

export interface Bar {
  ts_open_ns: number;
  ts_close_ns: number;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
}

export interface VpinBucket {
  classification: string;
  bucket: number;
  ts_event_ns: number;
  vpin: number | null;
  cdf: number | null;
}

export interface Alert {
  classification: string;
  previous: string;
  level: string;
  vpin: number | null;
  cdf: number | null;
  ts_event_ns: number;
}

/** A portfolio's measures. Losses are positive; money is in the portfolio's currency. */
export interface RiskMetric {
  ts_event_ns: number;
  confidence: number;
  var: number | null;
  es: number | null;
  gross: string;
  net: string;
  pnl: string;
}

export interface RiskAlert {
  scope: string;
  kind: string;
  level: string;
  limit: string | null;
  used: string | null;
  ts_event_ns: number;
}

export interface TopicMessage {
  message_type: "snapshot" | "update";
  topic: string;
  epoch: number;
  seq: number;
  prev_seq?: number;
  data: unknown;
}

export type ServerMessage =
  | TopicMessage
  | { message_type: "subscription"; id: number; topics: string[]; rejected?: { topic: string; code: string; detail: string }[] }
  | { message_type: "heartbeat"; count: number }
  | { message_type: "pong"; id: number }
  | { message_type: "system"; event: string; topic?: string; detail?: string }
  | { message_type: "error"; id?: number | null; code: string; detail: string };

/** Where a client stands in a topic. */
export interface Position {
  epoch: number;
  seq: number;
}

/** What to do with a snapshot or an update. `overlap`: part of it was applied before. */
export type Verdict = "replace" | "apply" | "overlap" | "drop" | "resubscribe";

export function judge(position: Position | null, message: TopicMessage): Verdict {
  if (message.message_type === "snapshot") return "replace";
  // Before the first snapshot there is nothing an update could belong to.
  if (position === null) return "drop";
  if (message.epoch !== position.epoch) return "resubscribe";
  if (message.seq <= position.seq) return "drop";
  const previous = message.prev_seq ?? Number.POSITIVE_INFINITY;
  if (previous > position.seq) return "resubscribe";
  return previous < position.seq ? "overlap" : "apply";
}

/** A message, or null for what is none: the page survives a server it does not understand. */
export function parse(text: string): ServerMessage | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "message_type" in value ? (value as ServerMessage) : null;
  } catch {
    return null;
  }
}

export const RECONNECT_FIRST_MS = 250;
export const RECONNECT_MAX_MS = 10_000;

/** How long to wait before attempt `attempt` (from 0): doubling, capped, with half of it left to chance. */
export function backoffMs(attempt: number, random: () => number): number {
  const ceiling = Math.min(RECONNECT_MAX_MS, RECONNECT_FIRST_MS * 2 ** Math.min(attempt, 16));
  return ceiling / 2 + (random() * ceiling) / 2;
}
