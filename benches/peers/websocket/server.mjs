// The fan-out of the bench `websocket` with Node and `ws`: one text to every client, RATE times a second.
// Usage: node server.mjs RATE; prints its port. Each client first sends one message, which is ignored.
import { WebSocketServer } from "ws";

const rate = Number(process.argv[2]);
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
server.on("listening", () => console.log(server.address().port));

let seq = 0;
const message = () => {
  const now = Math.round((performance.timeOrigin + performance.now()) * 1e3) + "000";
  seq += 1;
  return `{"message_type":"update","topic":"trades.ESH4","epoch":1763600000000,"seq":${seq},"prev_seq":${seq - 1},"ts_ns":${now},"data":{"trades":[{"sequence":${seq},"ts_event_ns":${now},"price":"4810.25","quantity":"2","aggressor":"buy"}]}}`;
};

const start = performance.now();
let sent = 0;
const tick = () => {
  const due = Math.floor(((performance.now() - start) / 1e3) * rate);
  for (; sent < due; sent += 1) {
    const text = Buffer.from(message());
    for (const client of server.clients) client.send(text, { binary: false });
  }
  setTimeout(tick, 1);
};
tick();
