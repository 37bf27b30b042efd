// One WebSocket to the platform: reconnects, resumes, and keeps every topic in step. Never interprets a topic's data.
import { backoffMs, judge, parse, type Position, type ServerMessage, type TopicMessage } from "./protocol.ts";

export type ConnectionState = "connecting" | "open" | "waiting";

export interface TopicOptions {
  conflate_ms: number;
  checksum?: boolean;
}

/** `overlap`: some of it may have been applied before. False asks for a fresh snapshot. */
export type Receive = (data: unknown, how: "snapshot" | "update" | "overlap") => boolean | void;

interface Subscription {
  owner: string;
  options: TopicOptions;
  receive: Receive;
  position: Position | null;
  /** Until then no further snapshot is asked for, so that a broken topic cannot flood the server. */
  quietUntil: number;
}

export interface Counters {
  messages: number;
  connects: number;
  resubscribes: number;
  checksumFailures: number;
  heartbeatsMissed: number;
  unreadable: number;
}

/** Two heartbeats and a little: then the connection is dead whatever TCP says. */
const SILENCE_MAX_MS = 12_000;
const RESUBSCRIBE_EVERY_MS = 1_000;
/** A connection that lived this long starts the next back-off from the beginning. */
const STABLE_MS = 5_000;
const CLOSED_BY_POLICY = 1008;

export class Stream {
  readonly counters: Counters = {
    messages: 0, connects: 0, resubscribes: 0, checksumFailures: 0, heartbeatsMissed: 0, unreadable: 0,
  };
  state: ConnectionState = "waiting";
  readonly #url: string;
  readonly #key: () => string | null;
  readonly #topics = new Map<string, Subscription>();
  readonly #onState: (state: ConnectionState, detail: string) => void;
  readonly #onRefused: (reason: string) => void;
  #socket: WebSocket | null = null;
  #attempt = 0;
  #id = 0;
  #openedAt = 0;
  #heardAt = 0;
  #heartbeat: number | null = null;
  #timer: number | undefined;

  constructor(
    url: string,
    key: () => string | null,
    on: { state: (state: ConnectionState, detail: string) => void; refused: (reason: string) => void },
  ) {
    this.#url = url;
    this.#key = key;
    this.#onState = on.state;
    this.#onRefused = on.refused;
    window.setInterval(() => this.#watch(), 1_000);
    window.addEventListener("online", () => this.reconnect());
  }

  /** Begins anew at once, for example with another key. */
  reconnect(): void {
    window.clearTimeout(this.#timer);
    this.#attempt = 0;
    this.#drop();
    this.#connect();
  }

  /** Topics of `owner` from now on: those that are not named any more are left, new ones are entered. No two owners have
   * the same topic. */
  follow(owner: string, topics: ReadonlyMap<string, { options: TopicOptions; receive: Receive }>): void {
    const left = [...this.#topics].filter(([topic, known]) => known.owner === owner && !topics.has(topic)).map(([topic]) => topic);
    for (const topic of left) this.#topics.delete(topic);
    if (left.length > 0) this.#send({ type: "unsubscribe", topics: left });
    const entered: string[] = [];
    for (const [topic, wanted] of topics) {
      const known = this.#topics.get(topic);
      if (known !== undefined) {
        known.receive = wanted.receive;
        continue;
      }
      this.#topics.set(topic, { ...wanted, owner, position: null, quietUntil: 0 });
      entered.push(topic);
    }
    this.#subscribe(entered);
  }

  #connect(): void {
    const key = this.#key();
    this.#set("connecting", "connecting");
    const socket = new WebSocket(this.#url, key === null ? ["nautilus"] : ["nautilus", `key.${key}`]);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      if (this.#socket === socket) this.#opened();
    });
    socket.addEventListener("message", (event) => {
      if (this.#socket === socket) this.#message(String(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (this.#socket === socket) this.#closed(event.code, event.reason);
    });
  }

  #opened(): void {
    this.counters.connects += 1;
    this.#openedAt = Date.now();
    this.#heardAt = this.#openedAt;
    this.#heartbeat = null;
    this.#set("open", "connected");
    const fresh: string[] = [];
    for (const [topic, { position, options }] of this.#topics) {
      if (position === null) fresh.push(topic);
      else this.#send({ type: "resume", topic, epoch: position.epoch, seq: position.seq, ...options });
    }
    this.#subscribe(fresh);
  }

  #closed(code: number, reason: string): void {
    this.#socket = null;
    if (code === CLOSED_BY_POLICY) this.#onRefused(reason);
    if (this.#openedAt > 0 && Date.now() - this.#openedAt > STABLE_MS) this.#attempt = 0;
    this.#openedAt = 0;
    const wait = backoffMs(this.#attempt, Math.random);
    this.#attempt += 1;
    this.#set("waiting", reason === "" ? "connection lost" : reason);
    this.#timer = window.setTimeout(() => this.#connect(), wait);
  }

  /** Lets the socket go without listening to what it still says. */
  #drop(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Ends a connection on which nothing comes any more. */
  #watch(): void {
    const now = Date.now();
    if (this.state === "open" && now - this.#heardAt > SILENCE_MAX_MS) {
      this.#drop();
      this.#closed(1006, "nothing heard for 12 s");
    }
    for (const [topic, subscription] of this.#topics) {
      // A snapshot that was asked for and did not come is asked for once more; a topic may also not exist yet.
      if (subscription.position === null && subscription.quietUntil > 0 && now > subscription.quietUntil + 4_000) {
        this.#resubscribe(topic, subscription);
      }
    }
  }

  #message(text: string): void {
    this.counters.messages += 1;
    this.#heardAt = Date.now();
    const message = parse(text);
    if (message === null) this.counters.unreadable += 1;
    else this.#take(message);
  }

  #take(message: ServerMessage): void {
    switch (message.message_type) {
      case "snapshot":
      case "update":
        this.#topicMessage(message);
        break;
      case "heartbeat":
        if (this.#heartbeat !== null && message.count > this.#heartbeat + 1) {
          this.counters.heartbeatsMissed += message.count - this.#heartbeat - 1;
        }
        this.#heartbeat = message.count;
        break;
      default:
        // Acknowledgements and events change nothing here: what follows them (a snapshot, updates) does.
        break;
    }
  }

  #topicMessage(message: TopicMessage): void {
    const subscription = this.#topics.get(message.topic);
    // Messages under way when the topic was left.
    if (subscription === undefined) return;
    const verdict = judge(subscription.position, message);
    if (verdict === "drop") return;
    if (verdict === "resubscribe") {
      this.#resubscribe(message.topic, subscription);
      return;
    }
    subscription.position = { epoch: message.epoch, seq: message.seq };
    const how = verdict === "replace" ? "snapshot" : verdict === "apply" ? "update" : "overlap";
    if (subscription.receive(message.data, how) === false) {
      this.counters.checksumFailures += 1;
      this.#resubscribe(message.topic, subscription);
    }
  }

  #resubscribe(topic: string, subscription: Subscription): void {
    subscription.position = null;
    const now = Date.now();
    if (now < subscription.quietUntil) return;
    subscription.quietUntil = now + RESUBSCRIBE_EVERY_MS;
    this.counters.resubscribes += 1;
    this.#subscribe([topic]);
  }

  #subscribe(topics: readonly string[]): void {
    const byOptions = new Map<string, string[]>();
    for (const topic of topics) {
      const options = JSON.stringify(this.#topics.get(topic)?.options);
      byOptions.set(options, [...(byOptions.get(options) ?? []), topic]);
    }
    for (const [options, together] of byOptions) {
      this.#send({ type: "subscribe", topics: together, ...(JSON.parse(options) as TopicOptions) });
    }
  }

  #send(message: Record<string, unknown>): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#id += 1;
    this.#socket.send(JSON.stringify({ ...message, id: this.#id }));
  }

  #set(state: ConnectionState, detail: string): void {
    this.state = state;
    this.#onState(state, detail);
  }
}
