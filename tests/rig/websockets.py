"""WebSocket handshakes against a Unix-socket upstream, with echo frames: none torn down.

Opens --count connections, --together at once, through gatepost to an upstream on a Unix socket
that answers the handshake (RFC 6455, checked on both sides) and echoes frames. Each sends frames of several
sizes, some behind the handshake at once and some in slices, gets each back, and closes with a close
frame. Then a tunnel that is idle for longer than every deadline of requests, and a drain: SIGTERM
while tunnels are open must let them go on, and end them by the end of `shutdown_timeout`.
Exit code 1 when one was torn down, answered wrongly or not logged once.

    cargo build --locked && PYTHONDONTWRITEBYTECODE=1 python3 tests/rig/websockets.py --count 2000
"""

import asyncio
import base64
import collections
import hashlib
import os
import random
import signal
import sys
import time

import passing
from rig import must, say

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3.
SIZES = [0, 1, 125, 126, 1000, 65535, 65536, 200_000]
QUICK = "connect: 5s, response: 2s, idle: 2s, body: 2s, write: 2s"
SHUTDOWN = 6  # Seconds.


def accept_for(key):
    return base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()


def frame(opcode, payload, mask=None):
    """A whole message in one frame, RFC 6455 5.2."""
    size, bit = len(payload), 0x80 if mask else 0
    length = bytes([bit | size]) if size < 126 else bytes([bit | 126]) + size.to_bytes(2, "big") if size < 65536 else bytes([bit | 127]) + size.to_bytes(8, "big")
    if mask:
        pad = mask * (size // 4 + 1)
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(pad[:size], "big")).to_bytes(size, "big")
        length += mask
    return bytes([0x80 | opcode]) + length + payload


async def read_frame(reader):
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    mask = await reader.readexactly(4) if second & 0x80 else None
    payload = await reader.readexactly(size)
    if mask:
        pad = mask * (size // 4 + 1)
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(pad[:size], "big")).to_bytes(size, "big")
    return first & 0x0F, payload


def fields(head):
    return {name.lower(): value for name, value in (row.split(": ", 1) for row in head.decode().split("\r\n")[1:-2])}


async def upstream(reader, writer):
    """Echoes frames; `/push` sends one every 0.5 s as well."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        got = fields(head)
        assert got["upgrade"].lower() == "websocket" and "upgrade" in got["connection"].lower(), got
        answer = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_for(got['sec-websocket-key'])}\r\n\r\n"
        # The first frame leaves together with the handshake.
        writer.write(answer.encode() + frame(2, b"hello"))
        while True:
            opcode, payload = await read_frame(reader)
            writer.write(frame(opcode, payload))
            await writer.drain()
            if opcode == 8:
                break
    except (asyncio.IncompleteReadError, OSError, AssertionError):
        pass
    writer.close()


class Client:
    def __init__(self, address, choose):
        self.address, self.choose, self.request_id = address, choose, None

    async def open(self, path="/ws/a", early=b""):
        connect = asyncio.open_connection(*self.address) if isinstance(self.address, tuple) else asyncio.open_unix_connection(self.address)
        self.reader, self.writer = await connect
        key = base64.b64encode(self.choose.randbytes(16)).decode()
        rows = [f"GET {path} HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: keep-alive, Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        self.writer.write("\r\n".join(rows).encode() + early)
        head = await self.reader.readuntil(b"\r\n\r\n")
        must(head.startswith(b"HTTP/1.1 101 "), f"handshake: {head[:200]!r}")
        got = fields(head)
        must(got.get("sec-websocket-accept") == accept_for(key), "Sec-WebSocket-Accept differs")
        must(got.get("upgrade", "").lower() == "websocket" and "upgrade" in got.get("connection", "").lower(), str(got))
        self.request_id = got["x-request-id"]
        must(await read_frame(self.reader) == (2, b"hello"), "the frame behind the handshake")

    def masked(self, opcode, payload):
        return frame(opcode, payload, self.choose.randbytes(4))

    async def echo(self, payload, sliced=False):
        data = self.masked(2, payload)
        if sliced:
            for at in range(0, len(data), max(1, len(data) // 3)):
                self.writer.write(data[at : at + max(1, len(data) // 3)])
                await self.writer.drain()
                await asyncio.sleep(0)
        else:
            self.writer.write(data)
        must(await read_frame(self.reader) == (2, payload), f"the echo of {len(payload)} bytes differs")

    async def close(self):
        self.writer.write(self.masked(8, b"\x03\xe8"))
        must(await read_frame(self.reader) == (8, b"\x03\xe8"), "no close frame")
        must(await self.reader.read() == b"", "bytes after the close frame")
        self.writer.close()


async def one(addresses, number, seen):
    choose = random.Random(number)
    client = Client(choose.choice(addresses), choose)
    early = choose.random() < 0.2
    try:
        first = choose.randbytes(choose.choice(SIZES[:5]))
        await client.open(early=client.masked(2, first) if early else b"")
        if early:
            must(await read_frame(client.reader) == (2, first), "the echo of an early frame")
        for _ in range(choose.choice([1, 1, 2, 4])):
            size = choose.choice(SIZES if number % 50 == 0 else SIZES[:5])
            await client.echo(choose.randbytes(size), choose.random() < 0.2)
        await client.close()
        seen["ids"].append(client.request_id)
    except (OSError, asyncio.IncompleteReadError, passing.Wrong) as wrong:
        seen["wrong"].append(f"{number}: {type(wrong).__name__} {wrong}")


async def many(addresses, count, together):
    seen = {"ids": [], "wrong": []}
    numbers = iter(range(count))

    async def turn():
        for number in numbers:
            await one(addresses, number, seen)

    await asyncio.gather(*(turn() for _ in range(together)))
    return seen


async def idle(address, seconds):
    client = Client(address, random.Random(1))
    await client.open()
    await asyncio.sleep(seconds)
    await client.echo(b"after a pause")
    await client.close()
    return client.request_id


async def drain(address, gatepost, report):
    """Tunnels in use at SIGTERM: one that ends by itself, one that stays."""
    short, long = Client(address, random.Random(2)), Client(address, random.Random(3))
    await short.open()
    await long.open()
    gatepost.child.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    with report.case("drain: an open tunnel goes on after SIGTERM") as notes:
        await asyncio.sleep(1)
        await short.echo(b"still here")
        await short.close()
        notes.append("echo and close after 1 s")
    with report.case("drain: a tunnel that stays ends with shutdown_timeout") as notes:
        while await asyncio.wait_for(long.reader.read(1000), SHUTDOWN + 10):
            pass
        took = time.monotonic() - begun
        must(SHUTDOWN - 2 < took < SHUTDOWN + 3, f"ended after {took:.1f} s of {SHUTDOWN}")
        notes.append(f"after {took:.1f} s")
    with report.case("drain: the process ends with 0"):
        must(await asyncio.to_thread(gatepost.child.wait, 20) == 0, f"exit code {gatepost.child.poll()}")
    return [short.request_id, long.request_id]


async def run(arguments, folder, report):
    server = await asyncio.start_unix_server(upstream, folder / "app.sock", backlog=1024)
    start = lambda: passing.gatepost(arguments.binary, folder, f"unix:{folder}/app.sock", timeouts=QUICK, top=f"shutdown_timeout: {SHUTDOWN}s",
                                     routes="  - { path: /ws/**, access: anonymous, upgrade: websocket }")
    gatepost = await asyncio.to_thread(start)
    addresses = [gatepost.tcp(), str(folder / "public.sock"), str(folder / "public.sock")]
    waiting = asyncio.create_task(idle(addresses[0], arguments.idle))
    begun = time.monotonic()
    seen = await many(addresses, arguments.count, arguments.together)
    seconds = time.monotonic() - begun
    report.check(f"{arguments.count} handshakes", not seen["wrong"], f"{len(seen['ids'])} whole in {seconds:.0f} s" + "".join(f"\n      {text}" for text in seen["wrong"][:5]))
    with report.case(f"a tunnel idle for {arguments.idle:g} s, with deadlines of 2 s"):
        await waiting
    ended = await drain(addresses[0], gatepost, report)
    server.close()
    lines = collections.Counter(line["request_id"] for line in passing.records(folder))
    wrong = [id for id in seen["ids"] if lines[id] != 1]
    report.check("one log line each", not wrong, f"{len(wrong)} without: {wrong[:3]}" if wrong else "")
    report.check("drain: one log line for each tunnel", [lines[id] for id in ended] == [1, 1], f"{[lines[id] for id in ended]} for the closed and the ended one")
    outcomes = collections.Counter((line["status"], line["outcome"], line.get("reason")) for line in passing.records(folder))
    say(f"      {dict(outcomes)}")


def main():
    parser = passing.parser(__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--together", type=int, default=64)
    parser.add_argument("--idle", type=float, default=20)
    arguments = parser.parse_args()
    report = passing.Report()
    with passing.folder(arguments.keep) as folder:
        asyncio.run(run(arguments, folder, report))
    return report.end()


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    passing.run(main)
