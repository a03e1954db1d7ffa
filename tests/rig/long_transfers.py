"""An upload, a download and an event stream that trickle for --seconds: cut by nothing.

Starts the binary with its default timeouts in front of a small server of its own, and moves a piece
every --pause seconds (below every idle limit) over one connection each: a request body with
Content-Length, a chunked one, a response with Content-Length, one until close and a chunked event
stream. Each piece must arrive within two seconds of being sent, every byte must arrive, and the
access log must have one line each, outcome `admitted`. Exit code 1 otherwise.

    cargo build --locked && PYTHONDONTWRITEBYTECODE=1 python3 tests/rig/long_transfers.py --seconds 60
"""

import asyncio
import collections
import sys
import time

import passing
from rig import say

PIECE = 60
LATEST = 2.0  # Seconds that a piece may take.


class Transfer:
    """One transfer: the moments at which pieces were sent and bytes arrived."""

    def __init__(self, name):
        self.name, self.sent, self.latest, self.arrived, self.wrong = name, collections.deque(), 0.0, 0, None
        self.total, self.request_id = 0, None

    def send(self):
        self.sent.append(time.monotonic())
        self.total += PIECE
        return bytes(f"{self.name[:10]:<11}{len(self.name) + self.total:>{PIECE - 13}}\r\n", "ascii")

    def take(self, count):
        self.arrived += count
        while self.sent and self.arrived >= self.total - PIECE * (len(self.sent) - 1):
            self.latest = max(self.latest, time.monotonic() - self.sent.popleft())


class Stage:
    def __init__(self, seconds, pause):
        self.pause, self.pieces = pause, max(2, int(seconds / pause))
        names = ("upload-length", "upload-chunked", "download-length", "download-close", "events")
        self.transfers = {name: Transfer(name) for name in names}

    # -- the upstream

    async def serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return writer.close()
        name = head.split(b" ", 2)[1].decode().strip("/")
        transfer = self.transfers[name]
        try:
            await (self.receive if name.startswith("upload") else self.trickle)(transfer, head, reader, writer)
        except (OSError, asyncio.IncompleteReadError) as broken:
            transfer.wrong = transfer.wrong or f"upstream side: {broken!r}"
        writer.close()

    async def receive(self, transfer, head, reader, writer):
        if b"chunked" in head.lower():
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
                transfer.take(size)
            await reader.readline()
        else:
            for _ in range(self.pieces):
                transfer.take(len(await reader.readexactly(PIECE)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    async def trickle(self, transfer, head, reader, writer):
        framing = {"download-length": f"Content-Length: {self.pieces * PIECE}\r\n", "download-close": "Connection: close\r\n",
                   "events": "Transfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n"}[transfer.name]
        writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n".encode())
        for _ in range(self.pieces):
            await asyncio.sleep(self.pause)
            piece = transfer.send()
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if transfer.name == "events" else piece)
            await writer.drain()
        if transfer.name == "events":
            writer.write(b"0\r\n\r\n")

    # -- the clients

    async def client(self, transfer, address):
        reader, writer = await asyncio.open_connection(*address)
        try:
            await (self.upload if transfer.name.startswith("upload") else self.download)(transfer, reader, writer)
        except (OSError, asyncio.IncompleteReadError, IndexError) as broken:
            transfer.wrong = transfer.wrong or f"client side: {broken!r}"
        writer.close()

    def begin(self, transfer, writer, method, *fields):
        rows = [f"{method} /{transfer.name} HTTP/1.1", "Host: a", *fields, "", ""]
        writer.write("\r\n".join(rows).encode())

    async def upload(self, transfer, reader, writer):
        chunked = transfer.name == "upload-chunked"
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {self.pieces * PIECE}"
        self.begin(transfer, writer, "POST", length)
        for _ in range(self.pieces):
            await asyncio.sleep(self.pause)
            piece = transfer.send()
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        writer.write(b"0\r\n\r\n" if chunked else b"")
        self.answered(transfer, await reader.readuntil(b"\r\n\r\n"))

    async def download(self, transfer, reader, writer):
        self.begin(transfer, writer, "GET")
        head = await reader.readuntil(b"\r\n\r\n")
        self.answered(transfer, head)
        chunked = b"chunked" in head.lower()
        for _ in range(self.pieces):
            if chunked and transfer.name == "download-close":
                size = int(await reader.readline(), 16)
                await reader.readexactly(size + 2)
                transfer.take(size)
            elif chunked:
                size = int(await reader.readline(), 16)
                transfer.take(len(await reader.readexactly(size)))
                await reader.readexactly(2)
            else:
                transfer.take(len(await reader.readexactly(PIECE)))
        rest = await reader.readexactly(5) if chunked else b""
        if rest != (b"0\r\n\r\n" if chunked else b""):
            transfer.wrong = f"bad end: {rest!r}"

    def answered(self, transfer, head):
        rows = dict(row.lower().split(b": ", 1) for row in head.split(b"\r\n")[1:-2])
        transfer.request_id = rows[b"x-request-id"].decode()
        if not head.startswith(b"HTTP/1.1 200"):
            transfer.wrong = f"answered {head[:80]!r}"

    async def run(self, gatepost, folder):
        async def tell():
            while True:
                await asyncio.sleep(600)
                say(f"at {time.monotonic() - begun:.0f} s: " + ", ".join(f"{one.name} {one.arrived}" for one in self.transfers.values()))

        begun = time.monotonic()
        server = await asyncio.start_unix_server(self.serve, folder / "app.sock")
        process = await asyncio.to_thread(gatepost)
        teller = asyncio.create_task(tell())
        address = await asyncio.to_thread(process.tcp)
        await asyncio.gather(*(self.client(one, address) for one in self.transfers.values()))
        teller.cancel()
        server.close()
        return process, time.monotonic() - begun


def main():
    parser = passing.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--pause", type=float, default=5)
    arguments = parser.parse_args()
    report = passing.Report()
    with passing.folder(arguments.keep) as folder:
        stage = Stage(arguments.seconds, arguments.pause)
        # Default timeouts: what is checked is that they cut none of these.
        start = lambda: passing.gatepost(arguments.binary, folder, f"unix:{folder}/app.sock")
        say(f"{len(stage.transfers)} transfers of {stage.pieces} pieces, one every {arguments.pause:g} s")
        process, seconds = asyncio.run(stage.run(start, folder))
        for one in stage.transfers.values():
            with report.case(f"{one.name} for {seconds:.0f} s") as notes:
                passing.must(not one.wrong, one.wrong)
                passing.must(one.arrived == stage.pieces * PIECE, f"{one.arrived} of {stage.pieces * PIECE} bytes")
                passing.must(one.latest < LATEST, f"a piece took {one.latest:.1f} s")
                line = passing.record(folder, one.request_id)
                passing.must((line["outcome"], line["status"]) == ("admitted", 200), str(line))
                notes.append(f"{one.arrived} bytes, the slowest piece took {one.latest * 1000:.0f} ms")
        process.stop()
    return report.end()


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    passing.run(main)
