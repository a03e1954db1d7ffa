"""Every byte at every place of a request head: exactly one answer each, and the verdicts of others.

Sends 256 requests for each of about 30 places (in the method, target, version, Host, field names and
values, Content-Length, chunk sizes and line ends), each on a connection of its own, through gatepost,
and through nginx and HAProxy where they are installed. Wrong is, for gatepost: other than one
answer with X-Request-Id, or other than one log line for it. A head or body that the client ends early
gets no answer; a body then has its log line. Prints a table of the bytes that each accepts; --table FILE writes it as Markdown.
Exit code 1 when one connection to gatepost went wrong.

    cargo build --locked && PYTHONDONTWRITEBYTECODE=1 python3 tests/rig/every_byte.py
"""

import asyncio
import collections
import pathlib
import shutil
import subprocess
import sys

import passing
import rig
from rig import say

# `@` is the place; the byte is put there, or replaces the `~` after it.
PLACES = {
    "before the request": "@GET /{id} HTTP/1.1\r\nHost: a\r\n\r\n",
    "method, first": "@~ET /{id} HTTP/1.1\r\nHost: a\r\n\r\n",
    "method, within": "G@T /{id} HTTP/1.1\r\nHost: a\r\n\r\n",
    "method, last": "GET@ /{id} HTTP/1.1\r\nHost: a\r\n\r\n",
    "space after method": "GET@~/{id} HTTP/1.1\r\nHost: a\r\n\r\n",
    "target, first": "GET @~{id} HTTP/1.1\r\nHost: a\r\n\r\n",
    "path, within": "GET /{id}@b HTTP/1.1\r\nHost: a\r\n\r\n",
    "path, last": "GET /{id}@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "query": "GET /{id}?a@b HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority of the target": "GET http://a@b/{id} HTTP/1.1\r\nHost: ab\r\n\r\n",
    "scheme of the target": "GET ht@tp://a/{id} HTTP/1.1\r\nHost: a\r\n\r\n",
    "space before version": "GET /{id}@~HTTP/1.1\r\nHost: a\r\n\r\n",
    "version, name": "GET /{id} HT@P/1.1\r\nHost: a\r\n\r\n",
    "version, major": "GET /{id} HTTP/@~.1\r\nHost: a\r\n\r\n",
    "version, dot": "GET /{id} HTTP/1@~1\r\nHost: a\r\n\r\n",
    "version, minor": "GET /{id} HTTP/1.@~\r\nHost: a\r\n\r\n",
    "request line, last": "GET /{id} HTTP/1.1@\r\nHost: a\r\n\r\n",
    "request line, for CR": "GET /{id} HTTP/1.1@~\nHost: a\r\n\r\n",
    "request line, for LF": "GET /{id} HTTP/1.1\r@~Host: a\r\n\r\n",
    "field name, first": "GET /{id} HTTP/1.1\r\nHost: a\r\n@X-Y: b\r\n\r\n",
    "field name, within": "GET /{id} HTTP/1.1\r\nHost: a\r\nX@Y: b\r\n\r\n",
    "field name, last": "GET /{id} HTTP/1.1\r\nHost: a\r\nX-Y@: b\r\n\r\n",
    "for the colon": "GET /{id} HTTP/1.1\r\nHost: a\r\nX-Y@~ b\r\n\r\n",
    "field value, first": "GET /{id} HTTP/1.1\r\nHost: a\r\nX-Y:@b\r\n\r\n",
    "field value, within": "GET /{id} HTTP/1.1\r\nHost: a\r\nX-Y: b@c\r\n\r\n",
    "field line, for CR": "GET /{id} HTTP/1.1\r\nHost: a\r\nX-Y: b@~\n\r\n",
    "field line, for LF": "GET /{id} HTTP/1.1\r\nHost: a\r\nX-Y: b\r@~\r\n\r\n",
    "end of head, for CR": "GET /{id} HTTP/1.1\r\nHost: a\r\n@~\n",
    "Host, first": "GET /{id} HTTP/1.1\r\nHost: @a\r\n\r\n",
    "Host, within": "GET /{id} HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "Host, port": "GET /{id} HTTP/1.1\r\nHost: a:8@0\r\n\r\n",
    "Content-Length, before": "POST /{id} HTTP/1.1\r\nHost: a\r\nContent-Length: @5\r\n\r\nhello",
    "Content-Length, after": "POST /{id} HTTP/1.1\r\nHost: a\r\nContent-Length: 5@\r\n\r\nhello",
    "Transfer-Encoding, after": "POST /{id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked@\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunk size, before": "POST /{id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n@5\r\nhello\r\n0\r\n\r\n",
    "chunk size, after": "POST /{id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5@\r\nhello\r\n0\r\n\r\n",
    "chunk extension": "POST /{id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a@b\r\nhello\r\n0\r\n\r\n",
    "chunk data, for CR": "POST /{id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello@~\n0\r\n\r\n",
    "trailer": "POST /{id} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX@: y\r\n\r\n",
}
# RFC 9112 8: what ends before it is complete is not answered. A head that has no end is no request either.
NO_END = "end of head, for CR"
# A larger length or size: the body has no end, and the request one log line.
NO_BODY_END = ("Content-Length, before", "Content-Length, after", "chunk size, before", "chunk size, after")
TOGETHER = 64  # Connections at once.


def request(place, byte, id):
    before, after = PLACES[place].format(id=id).encode("latin-1").split(b"@", 1)
    return before + bytes([byte]) + after.removeprefix(b"~")


async def upstream(reader, writer):
    """Answers every head at once; bodies are read as far as the next blank line."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"chunked" in head.lower():
                await reader.readuntil(b"0\r\n")
                while await reader.readline() != b"\r\n":
                    pass
            elif b"\r\ncontent-length: 5" in head.lower():
                await reader.readexactly(5)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        pass
    writer.close()


async def exchange(address, data):
    """Everything that comes back after the client has ended its side."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 15)
    except OSError:
        return b"reset"
    except asyncio.TimeoutError:
        return b"open"
    finally:
        writer and writer.close()


def answers(data):
    """[(status, request id)] of the answers in `data`; None where it does not begin with one."""
    found = []
    while data.startswith(b"HTTP/1."):
        head, _, rest = data.partition(b"\r\n\r\n")
        fields = dict(row.lower().split(b": ", 1) for row in head.split(b"\r\n")[1:])
        status, length = int(head[9:12]), int(fields.get(b"content-length", 0))
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            length = rest.find(b"0\r\n\r\n") + 5
        data = rest[length:]
        found.append((status, fields.get(b"x-request-id", b"").decode()))
    return found if not data else None


async def try_all(address):
    gate, found = asyncio.Semaphore(TOGETHER), {}

    async def one(place, byte, number):
        async with gate:
            found[place, byte] = await exchange(address, request(place, byte, f"i{number}"))

    pairs = [(place, byte) for place in PLACES for byte in range(256)]
    await asyncio.gather(*(one(*pair, number) for number, pair in enumerate(pairs)))
    return found


def verdict(data):
    """The status, or how the connection ended without one."""
    found = answers(data)
    return "-" if not data or data == b"reset" else "open" if data == b"open" else "other" if not found else str(found[0][0])


def ranges(numbers):
    """`09 20-7e`"""
    rows = []
    for number in sorted(numbers):
        if rows and rows[-1][1] == number - 1:
            rows[-1][1] = number
        else:
            rows.append([number, number])
    return " ".join(f"{low:02x}" if low == high else f"{low:02x}-{high:02x}" for low, high in rows) or "none"


# ---- The peers --------------------------------------------------------------------------------

NGINX = """\
user root; daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.error;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://unix:{folder}/app.sock:; proxy_http_version 1.1; proxy_ignore_client_abort on;
    client_header_timeout 2s; client_body_timeout 2s; proxy_read_timeout 2s; }} }} }}
"""
HAPROXY = """\
global
  maxconn 1000
defaults
  mode http
  timeout client 2s
  timeout server 2s
  timeout connect 2s
frontend in
  bind 127.0.0.1:{port}
  default_backend app
backend app
  server app unix@{folder}/app.sock
"""


def peers(folder):
    """{name: (address, child)} of those that are installed."""
    found, path = {}, "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
    for name, text, words in (("nginx", NGINX, ["-c"]), ("haproxy", HAPROXY, ["-f"])):
        if program := shutil.which(name, path=path):
            port = rig.socket.create_server(("127.0.0.1", 0))
            number = port.getsockname()[1]
            port.close()
            file = folder / f"{name}.conf"
            file.write_text(text.format(folder=folder, port=number))
            child = subprocess.Popen([program, *words, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            found[name] = (("127.0.0.1", number), child)
    return found


def reachable(address):
    try:
        rig.Wire(address).close()
        return True
    except OSError:
        return False


# ---- The judgement ----------------------------------------------------------------------------


def judge(report, found, records):
    lines = collections.Counter(line["request_id"] for line in records)
    paths = collections.Counter(line["path"] for line in records)
    for place_number, place in enumerate(PLACES):
        wrong = []
        for byte in range(256):
            data = found[place, byte]
            answered = answers(data)
            if not data and (place == NO_END or place in NO_BODY_END and paths[f"/i{256 * place_number + byte}"] == 1):
                continue
            if not answered or not all(id and lines[id] == 1 for _, id in answered):
                wrong.append(f"{byte:02x} {answered and [lines[id] for _, id in answered]} {data[:40]!r}")
            elif len(answered) != 1 and not more(place, byte, answered):
                wrong.append(f"{byte:02x}: {[status for status, _ in answered]}")
        report.check(place, not wrong, "; ".join(wrong[:6]) + (f" and {len(wrong) - 6} more" if len(wrong) > 6 else ""))


def more(place, byte, answered):
    """The changed length leaves bytes that are a request of their own: answered with 400."""
    changed = place.startswith(("Content-Length", "chunk", "Transfer-Encoding")) and chr(byte).isdigit()
    return changed and len(answered) == 2 and answered[1][0] == 400


def table(verdicts):
    names = list(verdicts)
    rows = ["| place | " + " | ".join(f"{name}: bytes admitted" for name in names) + " | refusals of gatepost |",
            "|---" * (len(names) + 2) + "|"]
    for place in PLACES:
        admitted = [ranges({byte for byte in range(256) if verdicts[name][place, byte] == "200"}) for name in names]
        refused = collections.Counter(verdicts["gatepost"][place, byte] for byte in range(256))
        rest = ", ".join(f"{status}: {count}" for status, count in sorted(refused.items()) if status != "200")
        rows.append(f"| {place} | " + " | ".join(admitted) + f" | {rest} |")
    return "\n".join(rows)


async def run(arguments, folder, report):
    await asyncio.start_unix_server(upstream, folder / "app.sock", backlog=1024)
    (folder / "app.sock").chmod(0o777)
    gatepost = await asyncio.to_thread(passing.gatepost, arguments.binary, folder, f"unix:{folder}/app.sock")
    others = peers(folder)
    try:
        found = {"gatepost": await try_all(gatepost.tcp())}
        for name, (address, child) in others.items():
            for _ in range(600):
                if reachable(address) or child.poll() is not None:
                    break
                await asyncio.sleep(0.05)
            if not reachable(address):
                say(f"skip  {name}: it does not start")
                continue
            found[name] = await try_all(address)
    finally:
        for _, child in others.values():
            child.terminate()
    await asyncio.to_thread(gatepost.stop)
    judge(report, found["gatepost"], passing.records(folder))
    return {name: {pair: verdict(data) for pair, data in one.items()} for name, one in found.items()}


def main():
    parser = passing.parser(__doc__)
    parser.add_argument("--table", type=pathlib.Path)
    arguments = parser.parse_args()
    report = passing.Report()
    with passing.folder(arguments.keep) as folder:
        verdicts = asyncio.run(run(arguments, folder, report))
    text = table(verdicts)
    if arguments.table:
        arguments.table.write_text(text + "\n")
    say("\n" + text)
    return report.end()


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    passing.run(main)
