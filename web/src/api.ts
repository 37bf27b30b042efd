// The platform's HTTP answers as types, and the one way to ask for them: same origin, bounded in time, with the access key.
import { before } from "./instruments.ts";
import type { Bar, Trade } from "./protocol.ts";

/** An error as the platform writes it (RFC 9457), or one of the way there. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.status = status;
    this.code = code;
  }

  /** The key is missing, wrong, or not enough. */
  get refused(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

const KEY = "nautilus-access-key";
const TIMEOUT_MS = 8_000;

export function accessKey(): string | null {
  return sessionStorage.getItem(KEY);
}

export function keepAccessKey(key: string): void {
  sessionStorage.setItem(KEY, key);
  refusal = null;
}

/** A look that was refused is not asked for again for a while, unless with another key: every refusal stands in the audit log. */
const REFUSED_FOR_MS = 5_000;
let refusal: { problem: Problem; until: number } | null = null;

/** Called with every refusal, so that the page can ask for a key; `acted` when it was more than a look. */
type Refused = (problem: Problem, acted: boolean) => void;
let onRefused: Refused = () => undefined;

export function whenRefused(listener: Refused): void {
  onRefused = listener;
}

async function problemOf(response: Response): Promise<Problem> {
  const fallback = `the server answered ${response.status} ${response.statusText}`.trim();
  try {
    const body = (await response.json()) as { code?: string; detail?: string; title?: string };
    return new Problem(response.status, body.code ?? "unknown", body.detail ?? body.title ?? fallback);
  } catch {
    return new Problem(response.status, "unknown", fallback);
  }
}

async function request(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<Response> {
  if (method === "GET" && refusal !== null && performance.now() < refusal.until) throw refusal.problem;
  const headers: Record<string, string> = { accept: "application/json" };
  const key = accessKey();
  if (key !== null) headers["authorization"] = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(path, {
    method,
    headers,
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch((error: unknown) => {
    throw noAnswer(error, "the server cannot be reached");
  });
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.refused) {
    if (method === "GET") refusal = { problem, until: performance.now() + REFUSED_FOR_MS };
    onRefused(problem, method !== "GET");
  }
  throw problem;
}

function noAnswer(error: unknown, otherwise: string): Problem {
  const late = error instanceof DOMException && error.name === "TimeoutError";
  return new Problem(0, "unreachable", late ? "the server did not answer in time; try again" : otherwise);
}

/** What a good answer says. It may still break off, or be none of the platform's. */
async function said<T>(response: Response): Promise<T> {
  try {
    return (await response.json()) as T;
  } catch (error) {
    throw noAnswer(error, "the server's answer broke off; try again");
  }
}

async function get<T>(path: string): Promise<T> {
  return said<T>(await request("GET", path));
}

const MARKET = "/api/marketdata/v1";
const VPIN = "/api/vpin/v1";
const RISK = "/api/risk/v1";
const part = encodeURIComponent;
/** How many instruments are listed without a search. */
export const INSTRUMENTS_LISTED = 1_000;

export interface Instrument {
  symbol: string;
  venue: string;
  class: string;
  currency: string;
  tick_in_use: string | null;
  state: string;
}

export interface Stats {
  trades: number;
  volume: string;
  vwap: string | null;
  low: string | null;
  high: string | null;
  first: string | null;
  last: string | null;
}

export interface Feed {
  id: number;
  name: string;
  kind: string;
  schema: string;
  simulated: boolean;
  symbols: string[];
  speed: string;
  state: "running" | "finished" | "cancelled" | "failed";
  fraction: number | null;
  records: number;
  skipped: number;
  ts_event_ns: number;
  reason: string | null;
}

export interface VpinReading {
  vpin: number | null;
  cdf: number | null;
  level: string | null;
  buckets: number;
  filled: string;
}

export interface VpinState extends VpinReading {
  instrument: string;
  classification: string;
  by_classification: Record<string, VpinReading>;
  bucket_volume: string | null;
  bucket_volume_source: string;
  calibration_trades_left: number;
  window: number;
}

export interface VpinConfiguration {
  moderate_above: number;
  high_above: number;
}

export interface HistoryBucket {
  bucket: number;
  ts_close_ns: number;
  vpin: number | null;
  cdf: number | null;
}

export interface Stage {
  stage: string;
  count: number;
  p50_s: number | null;
  p90_s: number | null;
  p99_s: number | null;
  p999_s: number | null;
}

export interface EngineStatus {
  engine: string;
  state: "up" | "not_ready" | "down";
  reasons: string[];
  version: string | null;
  uptime_ms: number | null;
  steps: number | null;
  lag_frames: number | null;
  http: { requests: number; errors: number; error_rate: number | null; p50_s: number | null; p99_s: number | null } | null;
  stages: Stage[];
}

export interface PlatformStatus {
  version: string;
  uptime_ms: number;
  state: "up" | "degraded" | "down";
  engines: EngineStatus[];
  buses: { bus: string; transport: string; state: string; reason: string | null }[];
  store: { kind: string; state: string; reason: string | null };
  feeds: Feed[];
  gateway: { stages: Stage[] };
}

export interface Portfolio {
  scope: string;
  currency: string;
}

export const api = {
  status: () => get<PlatformStatus>("/v1/status"),
  instruments: async () => (await get<{ instruments: Instrument[] }>(`${MARKET}/instruments?limit=${INSTRUMENTS_LISTED}`)).instruments,
  instrumentsAfter: async (symbol: string) =>
    (await get<{ instruments: Instrument[] }>(`${MARKET}/instruments?limit=40&after=${part(symbol)}`)).instruments,
  stats: (symbol: string) => get<Stats>(`${MARKET}/stats/${part(symbol)}`),
  trades: async (symbol: string) => (await get<{ trades: Trade[] }>(`${MARKET}/trades/${part(symbol)}?limit=1000`)).trades,
  bars: async (symbol: string, interval: string) =>
    (await get<{ bars: Bar[] }>(`${MARKET}/bars/${part(symbol)}?interval=${part(interval)}&limit=2000`)).bars,
  /** Null while the engine does not know the instrument, which is no error: it has not traded yet. */
  vpin: async (symbol: string): Promise<VpinState | null> => {
    const { instruments } = await get<{ instruments: VpinState[] }>(`${VPIN}/vpin?limit=2&after=${part(before(symbol))}`);
    return instruments.find(({ instrument }) => instrument === symbol) ?? null;
  },
  vpinConfiguration: async (symbol: string) =>
    (await get<{ configuration: VpinConfiguration }>(`${VPIN}/vpin/${part(symbol)}/configuration`)).configuration,
  vpinHistory: async (symbol: string, classification: string) =>
    (await get<{ buckets: HistoryBucket[] }>(
      `${VPIN}/vpin/${part(symbol)}/history?classification=${part(classification)}&limit=1000`,
    )).buckets,
  /** The list begins with the firm. */
  portfolios: async () => (await get<{ portfolios: Portfolio[] }>(`${RISK}/portfolios`)).portfolios.slice(1),
  replays: () => get<Feed[]>(`${MARKET}/replays`),
  startReplay: async (path: string, speed: number | "max") =>
    said<Feed>(await request("POST", `${MARKET}/replays`, { path, speed })),
  cancelReplay: async (id: number) => {
    await request("DELETE", `${MARKET}/replays/${id}`);
  },
};

