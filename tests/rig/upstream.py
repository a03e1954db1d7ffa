"""The upstream of the soak and the faults: it records what arrives, and misbehaves.

Listens on `--tcp PORT` of loopback or `--unix PATH`, and appends a line to `--record FILE` for every
head that arrives, before it answers: path, X-Auth-Issuer, X-Auth-Subject, and the names of fields
that hold a credential. The answer is a JSON list of the first two and the third if there is one.
Each line on standard input is a mode from then on, answered with `ok`.
"""

import argparse
import asyncio
import json
import os
import socket
import struct
import sys

SECRETS = (b"authorization", b"x-api-key", b"cookie")


class State:
    mode, record = "good", None


class Conversation(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.waiting, self.head = transport, b"", None

    def data_received(self, data):
        self.waiting += data
        while self.head or b"\r\n\r\n" in self.waiting:
            if not self.head:
                self.take_head()
            rest = after_body(self.fields, self.waiting)
            if rest is None:
                return
            self.waiting = rest
            method, self.head = self.head, None
            self.answer(method == b"HEAD")

    def take_head(self):
        head, self.waiting = self.waiting.split(b"\r\n\r\n", 1)
        line, *fields = head.split(b"\r\n")
        self.fields = {name.lower(): value for name, value in (field.split(b": ", 1) for field in fields)}
        self.head, path, _ = line.split(b" ", 2)
        issuer, subject = (self.fields.get(name) for name in (b"x-auth-issuer", b"x-auth-subject"))
        secrets = [name.decode() for name in SECRETS if name in self.fields]
        seen = [path.decode(), issuer and issuer.decode(), subject and subject.decode(), secrets]
        os.write(State.record, json.dumps(seen).encode() + b"\n")
        self.body = json.dumps([seen[1], seen[2], secrets[0] if secrets else None]).encode()

    def answer(self, is_head):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self.body)
        whole = head if is_head else head + self.body
        mode = State.mode
        if mode == "good":
            self.transport.write(whole)
        elif mode == "slow":
            asyncio.get_running_loop().create_task(self.drip(head, whole[len(head):]))
        elif mode == "garbage":
            self.transport.write(b"\x00\xff SMTP ready\r\n\r\n\x01" * 3)
            self.transport.close()
        elif mode == "resetting":
            self.part_of_an_answer()
            # Lingering for no time: the close is a reset.
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif mode == "cutting":
            self.part_of_an_answer()
            self.transport.close()
        # "silent": nothing.

    def part_of_an_answer(self):
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)

    async def drip(self, head, body):
        await asyncio.sleep(0.2)
        self.transport.write(head)
        for piece in (body[: len(body) // 2], body[len(body) // 2 :]):
            await asyncio.sleep(0.1)
            if not self.transport.is_closing():
                self.transport.write(piece)


def after_body(fields, data):
    """What comes after the body; None while it has not ended."""
    if b"transfer-encoding" not in fields:
        length = int(fields.get(b"content-length", 0))
        return data[length:] if len(data) >= length else None
    while b"\r\n" in data:
        size, rest = data.split(b"\r\n", 1)
        size = int(size, 16)
        if len(rest) < size + 2:
            return None
        data = rest[size + 2 :]
        if size == 0:
            return data
    return None


async def serve(arguments):
    loop = asyncio.get_running_loop()
    State.record = os.open(arguments.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if arguments.unix:
        if os.path.exists(arguments.unix):
            os.unlink(arguments.unix)
        await loop.create_unix_server(Conversation, arguments.unix, backlog=1024)
    else:
        await loop.create_server(Conversation, "127.0.0.1", arguments.tcp, reuse_address=True, backlog=1024)
    print("ok", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        State.mode = line.strip()
        print("ok", flush=True)
    # The parent process has ended.
    os._exit(0)


parser = argparse.ArgumentParser()
parser.add_argument("--tcp", type=int)
parser.add_argument("--unix")
parser.add_argument("--record", required=True)
asyncio.run(serve(parser.parse_args()))
