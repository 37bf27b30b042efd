"""The fan-out of the bench `websocket` with Python and `websockets`: one text to every client, RATE times a second.

Usage: python server.py RATE; prints its port. Each client first sends one message, which is ignored.
"""

import asyncio
import sys
import time

from websockets.asyncio.server import broadcast, serve

RATE = float(sys.argv[1])
CLIENTS = set()


async def client(connection):
    CLIENTS.add(connection)
    try:
        await connection.wait_closed()
    finally:
        CLIENTS.discard(connection)


def message(seq):
    now = time.time_ns()
    return (
        f'{{"message_type":"update","topic":"trades.ESH4","epoch":1763600000000,"seq":{seq},"prev_seq":{seq - 1},'
        f'"ts_ns":{now},"data":{{"trades":[{{"sequence":{seq},"ts_event_ns":{now},"price":"4810.25","quantity":"2",'
        f'"aggressor":"buy"}}]}}}}'
    )


async def main():
    async with serve(client, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        start, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - start) * RATE)
            while sent < due:
                sent += 1
                broadcast(CLIENTS, message(sent))
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)


asyncio.run(main())
