"""Clients as they are in use, in front of gatepost: curl, HAProxy, nginx, wrk or ab, requests, fetch, PHP.

The upstream counts what a body has, and answers with the length, the framing and the method that it saw.
Each client sends requests with and without a body, in its own way of keeping connections;
HAProxy and nginx pass on to gatepost with their default settings, under requests in parallel and
after pauses around their timeouts. A client that is not installed is skipped. Wrong is an answer that
differs, a request without its one log line, or a failed request of the load. Exit code 1 then.

    cargo build --locked && PYTHONPATH=target/rig PYTHONDONTWRITEBYTECODE=1 python3 tests/rig/downstreams.py
"""

import asyncio
import concurrent.futures
import http.client
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time

import passing
import upstreams
from rig import eventually, must, say

UPLOAD = 3_000_000
NGINX = upstreams.NGINX.replace("proxy_http_version 1.1; proxy_buffering off;", "{settings}").replace("keepalive_timeout 1s;", "")
HAPROXY = """\
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 5s
frontend in
  bind 127.0.0.1:{port}
  default_backend app
backend app
  server app 127.0.0.1:{app}
"""
FETCH = """
const base = process.argv[1];
const out = [];
for (let n = 0; n < 20; n++) out.push(await (await fetch(base + '/f' + n)).text());
out.push(await (await fetch(base + '/p', { method: 'POST', body: 'x'.repeat(%d) })).text());
const stream = new ReadableStream({ start(c) { for (let n = 0; n < 50; n++) c.enqueue(new TextEncoder().encode('y'.repeat(1000))); c.close(); } });
out.push(await (await fetch(base + '/s', { method: 'POST', body: stream, duplex: 'half' })).text());
console.log(JSON.stringify(out.map((text) => JSON.parse(text))));
""" % UPLOAD
PHP = """
$out = []; $curl = curl_init();
foreach ([null, 'abc', str_repeat('x', %d), null] as $body) {
  curl_setopt_array($curl, [CURLOPT_URL => $argv[1] . '/php', CURLOPT_RETURNTRANSFER => true, CURLOPT_POST => $body !== null, CURLOPT_HTTPGET => $body === null]);
  if ($body !== null) curl_setopt($curl, CURLOPT_POSTFIELDS, $body);
  $out[] = json_decode(curl_exec($curl));
}
echo json_encode($out);
""" % UPLOAD


# ---- The upstream -----------------------------------------------------------------------------


async def answer(reader, writer):
    try:
        while head := (await reader.readuntil(b"\r\n\r\n")).lower():
            if b"expect: 100-continue" in head:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            count, framing = 0, "none"
            if b"transfer-encoding: chunked" in head:
                framing = "chunked"
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                    count += size
                await reader.readline()
            elif length := re.search(rb"\r\ncontent-length: (\d+)", head):
                framing, count = "length", int(length[1])
                left = count
                while left:
                    left -= len(await reader.read(min(left, 1 << 16))) or 1 << 60
                    must(left >= 0, "the body has no end")
            method = head.split(b" ")[0].decode().upper()
            body = json.dumps([method, count, framing]).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + (b"" if method == "HEAD" else body))
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError, passing.Wrong):
        pass
    writer.close()


def serve(path):
    async def forever():
        server = await asyncio.start_unix_server(answer, path, backlog=1024)
        await server.serve_forever()

    asyncio.run(forever())


# ---- The clients ------------------------------------------------------------------------------


class Missing(Exception):
    pass


def program(*names):
    for name in names:
        if found := shutil.which(name, path=f"{upstreams.PATHS}:{os.environ['PATH']}"):
            return found
    raise Missing(" or ".join(names))


def run(words, data=None, seconds=120):
    ended = subprocess.run(words, input=data, capture_output=True, timeout=seconds)
    must(ended.returncode == 0, f"{words[0]} ended with {ended.returncode}: {ended.stderr[-200:]!r}")
    return ended.stdout.decode()


def curl(url, notes):
    tool = [program("curl"), "-sS", "--fail-with-body", "--max-time", "60"]
    body, cases = b"b" * UPLOAD, 0
    for version in ("--http1.1", "--http1.0"):
        for words, data, right in (
            ([], None, ["GET", 0, "none"]),
            (["--data-binary", "@-"], body, ["POST", UPLOAD, "length"]),
            (["--data-binary", "@-", "-H", "Expect: 100-continue"], body, ["POST", UPLOAD, "length"]),
            (["--data-binary", "@-", "-H", "Expect:"], body, ["POST", UPLOAD, "length"]),
            (["-H", "Connection: keep-alive"], None, ["GET", 0, "none"]),
        ):
            seen = json.loads(run([*tool, version, *words, url + "/c"], data))
            must(seen == right, f"{version} {words}: {seen}")
            cases += 1
    seen = json.loads(run([*tool, "-T", "-", "-X", "POST", url + "/c"], body))
    must(seen == ["POST", UPLOAD, "chunked"], f"chunked: {seen}")
    run([*tool, "-I", url + "/c"])
    for version in ("--http1.1", "--http1.0"):
        keep = ["-H", "Connection: keep-alive"] if version == "--http1.0" else []
        used = run([*tool, version, *keep, "-w", "\n%{num_connects}\n", *[f"{url}/k{n}" for n in range(5)]])
        connects = sum(int(line) for line in used.splitlines() if line.isdigit())
        must(connects == 1, f"{version}: {connects} connections for 5 requests")
    notes.append(f"{cases + 2} requests, 5 on one connection, also with HTTP/1.0")


def requests_(url, notes):
    try:
        import requests
    except ImportError:
        raise Missing("requests")
    session = requests.Session()
    for number in range(30):
        must(session.get(f"{url}/r{number}").json() == ["GET", 0, "none"], "GET")
    must(session.post(url + "/r", data=b"x" * UPLOAD).json() == ["POST", UPLOAD, "length"], "POST")
    must(session.post(url + "/r", data=iter([b"x" * 1000] * 100)).json() == ["POST", 100_000, "chunked"], "POST in chunks")
    must(session.head(url + "/r").status_code == 200, "HEAD")
    notes.append(f"requests {requests.__version__}")


def fetch(url, _):
    seen = json.loads(run([program("node"), "--input-type=module", "-e", FETCH, url]))
    right = [["GET", 0, "none"]] * 20 + [["POST", UPLOAD, "length"], ["POST", 50_000, "chunked"]]
    must(seen == right, str([one for one, other in zip(seen, right) if one != other][:3]))


def php(url, _):
    tool = program("php")
    if "curl" not in run([tool, "-m"]).split():
        raise Missing("php-curl")
    seen = json.loads(run([tool, "-r", PHP, url]))
    must(seen == [["GET", 0, "none"], ["POST", 3, "length"], ["POST", UPLOAD, "length"], ["GET", 0, "none"]], str(seen))


def load(url, notes):
    tool = program("wrk", "ab")
    if tool.endswith("wrk"):
        text = run([tool, "-c", "32", "-t", "2", "-d", "5", url + "/w"])
        must("Socket errors" not in text and "Non-2xx" not in text, text)
        notes.append("wrk: " + re.search(r"Requests/sec: *([\d.]+)", text)[1] + " requests/s")
        return
    for words in (["-k"], []):
        text = run([tool, "-q", *words, "-c", "32", "-n", "5000", url + "/w"])
        must(re.search(r"Failed requests: +0\b", text) and "Non-2xx" not in text, text[-600:])
        notes.append(f"ab {' '.join(words)}: " + re.search(r"Requests per second: +([\d.]+)", text)[1] + " requests/s")


def through(port, notes):
    """Requests in parallel through a proxy, then pauses around the usual idle limits of its pool."""
    def caller(number):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for turn in range(100):
            body = b"z" * (number * turn) if turn % 3 else None
            connection.request("POST" if body is not None else "GET", f"/t{number}", body)
            got = connection.getresponse()
            seen = json.loads(got.read())
            must(got.status == 200 and seen[1] == len(body or b""), f"{got.status} {seen}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(caller, range(8)))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for pause in (0, 1, 4, 4.2, 5, 6):
        time.sleep(pause)
        connection.request("GET", "/pause")
        got = connection.getresponse()
        must((got.status, got.read()) == (200, b'["GET", 0, "none"]'), f"{got.status} after {pause} s")
    connection.request("POST", "/chunks", iter([b"c" * 1000] * 100), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    got = connection.getresponse()
    seen = json.loads(got.read())
    must(seen[1] == 100_000, f"chunks: {seen}")
    notes.append("807 requests")


def proxy(folder, gatepost_port, name, text, words, **settings):
    port = upstreams.free_port()
    file = folder / f"{port}.conf"
    for key, value in {"folder": folder, "port": port, "app": gatepost_port, **settings}.items():
        text = text.replace("{%s}" % key, str(value))
    file.write_text(text.replace("{{", "{").replace("}}", "}"))
    child = subprocess.Popen([*words, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(f"{name} on its port", lambda: upstreams.answers(port), 20)
    return port, child


def proxies(folder, port, report):
    kinds = {
        "HAProxy": ("haproxy", HAPROXY, ["-f"], {}),
        "nginx, HTTP/1.0 to gatepost": ("nginx", NGINX, ["-c"], {"settings": ""}),
        "nginx, HTTP/1.1 to gatepost": ("nginx", NGINX, ["-c"], {"settings": 'proxy_http_version 1.1; proxy_set_header Connection "";'}),
    }
    for name, (tool, text, words, settings) in kinds.items():
        try:
            found = program(tool)
        except Missing as missing:
            say(f"skip  {name}: {missing} is missing")
            continue
        with report.case(name) as notes:
            mine, child = proxy(folder, port, name, text, [found, *words], **settings)
            try:
                through(mine, notes)
            finally:
                child.terminate()
                child.wait()


def main():
    parser = passing.parser(__doc__)
    arguments = parser.parse_args()
    report = passing.Report()
    with passing.folder(arguments.keep) as folder:
        multiprocessing.get_context("fork").Process(target=serve, args=(str(folder / "app.sock"),), daemon=True).start()
        eventually("the upstream", (folder / "app.sock").exists, 10)
        gatepost = passing.gatepost(arguments.binary, folder, f"unix:{folder}/app.sock")
        try:
            port = gatepost.tcp()[1]
            for client in (curl, requests_, fetch, php, load):
                name = client.__name__.strip("_")
                try:
                    with report.case(name) as notes:
                        client(f"http://127.0.0.1:{port}", notes)
                except Missing as missing:
                    say(f"skip  {name}: {missing} is missing")
            proxies(folder, port, report)
            gatepost.stop()
        finally:
            gatepost.kill()
        lines = passing.records(folder)
        odd = [line for line in lines if (line["status"], line["outcome"]) != (200, "admitted")]
        report.check("log lines", not odd, f"{len(lines)}, all admitted" if not odd else f"{len(odd)} odd: {odd[:2]}")
    return report.end()


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    passing.run(main)
