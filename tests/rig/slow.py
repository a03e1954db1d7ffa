"""slowhttptest beside good traffic: p99 and errors of the good callers, and their ratios to calm.

Each attack (-H slow headers, -B slow bodies, -X slow reading, -R range headers) runs for --seconds
with --connections, between two calm phases of the same round. The good callers send a request every few
milliseconds on kept and fresh connections from other addresses of loopback. Exit code 1 when a
good request failed, or its p99 under attack exceeds --ratio times that of the calm and --least
milliseconds. nginx is the upstream, so that the rig is not what is measured; bodies go to a reader
of this file, because nginx answers before it has read one. Needs slowhttptest and nginx.

    cargo build --locked && PYTHONDONTWRITEBYTECODE=1 python3 tests/rig/slow.py --seconds 20
"""

import contextlib
import http.client
import multiprocessing
import os
import re
import shutil
import socketserver
import statistics
import subprocess
import sys
import threading
import time

import passing
import rig
from rig import eventually, must, say

ATTACKS = {
    "slow headers": ["-H", "-i", "2", "-t", "GET"],
    "slow bodies": ["-B", "-i", "5", "-s", "8192", "-t", "POST"],
    "slow reading": ["-X", "-w", "1", "-y", "10", "-n", "2", "-z", "5", "-k", "3"],
    "range headers": ["-R", "-t", "HEAD", "-a", "10", "-b", "3000"],
}
PATHS = {"slow bodies": "/slow", "slow reading": "/large"}
PAGE = 2_000_000  # Bytes, for slow reading: more than the buffers of a socket.
NGINX = """\
user root; daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.error;
events {{ worker_connections 8192; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 1000000; send_timeout 600s;
  server {{ listen unix:{folder}/nginx.sock; root {folder}; location /large {{ }} location / {{ return 200 ok; }} }} }}
"""
BODIES = '  bodies: {{ url: "unix:{folder}/bodies.sock" }}'
SLOW = "  - { path: /slow, access: anonymous, upstream: bodies }"


class Bodies(socketserver.BaseRequestHandler):
    """Reads the body of one POST until it is whole, or the other side closes."""

    def handle(self):
        try:
            head, _, got = self.request.recv(65536).partition(b"\r\n\r\n")
            length, count = int(re.search(rb"(?i)content-length: *(\d+)", head)[1]), len(got)
            while count < length and (piece := self.request.recv(65536)):
                count += len(piece)
            if count >= length:
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        except (OSError, TypeError):
            return


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 1024

    def handle_error(self, *_):
        pass


class Good(threading.Thread):
    """One good caller: every request is timed; a failed one is counted by its error."""

    def __init__(self, address, number):
        super().__init__(daemon=True)
        self.address, self.source = address, (f"127.0.1.{number + 1}", 0)
        self.times, self.errors, self.stopping = [], [], threading.Event()

    def run(self):
        connection, count = None, 0
        while not self.stopping.is_set():
            count += 1
            if connection is None or count % 20 == 0:
                connection and connection.close()
                connection = http.client.HTTPConnection(*self.address, timeout=20, source_address=self.source)
            begin = time.perf_counter()
            try:
                connection.request("GET", "/good")
                answer = connection.getresponse()
                if (answer.status, answer.read()) != (200, b"ok"):
                    self.errors.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error)[:100])
                connection = None
            self.times.append((begin, time.perf_counter() - begin))
            self.stopping.wait(0.01)


def attack(address, words, seconds, connections, path):
    """What slowhttptest says at its end; it runs for the time even when it is refused."""
    url = f"http://{address[0]}:{address[1]}{path}"
    command = ["slowhttptest", *words, "-c", str(connections), "-r", str(max(50, connections // 4)), "-l", str(seconds), "-p", "3", "-u", url]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", run.stdout + run.stderr)
    states = re.findall(r"(pending|connected|error|closed|service available):\s*(\w+)", plain)[-5:]
    return ", ".join(f"{name} {value}" for name, value in states)


def p99(times):
    return statistics.quantiles(times, n=100)[98] * 1000 if len(times) > 100 else float("nan")


def within(callers, begin, end):
    return [took for caller in callers for at, took in caller.times if begin <= at < end]


def round_of(name, words, arguments, address, callers, report):
    calm = max(3, arguments.seconds / 4)
    marks = [time.perf_counter()]
    time.sleep(calm)
    marks.append(time.perf_counter())
    errors = sum(len(caller.errors) for caller in callers)
    told = attack(address, words, arguments.seconds, arguments.connections, PATHS.get(name, "/good"))
    marks.append(time.perf_counter())
    time.sleep(calm)
    marks.append(time.perf_counter())
    failed = sum(len(caller.errors) for caller in callers) - errors
    quiet = p99(within(callers, marks[0], marks[1]) + within(callers, marks[2], marks[3]))
    under, count = within(callers, marks[1], marks[2]), 0
    count, under = len(under), p99(under)
    ratio = under / quiet
    fine = not failed and (ratio <= arguments.ratio or under <= arguments.least)
    report.check(name, fine, f"p99 {under:.1f} ms, calm {quiet:.1f} ms, ratio {ratio:.2f}; {failed} of {count} failed; {told}")


@contextlib.contextmanager
def nginx(folder):
    """The upstream of everything but bodies, from the moment it listens."""
    (folder / "large").write_bytes(b"x" * PAGE)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    must(program, "nginx is missing")
    process = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.error")])
    try:
        yield eventually("the socket of nginx", (folder / "nginx.sock").exists, 10)
    finally:
        process.terminate()
        process.wait(10)


def main():
    parser = passing.parser(__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=900, help="at most 1,000 per address by default")
    parser.add_argument("--ratio", type=float, default=3.0)
    parser.add_argument("--least", type=float, default=50.0)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    report = passing.Report()
    with passing.folder(arguments.keep) as folder, nginx(folder):
        # In a process of its own: the good callers must not wait for it inside the interpreter.
        server = Server(str(folder / "bodies.sock"), Bodies)
        multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True).start()
        gatepost = passing.gatepost(arguments.binary, folder, f"unix:{folder}/nginx.sock", connections="total: 10000, per_address: 1000",
                                    upstreams=BODIES.format(folder=folder), routes=SLOW)
        address = gatepost.tcp()
        callers = [Good(address, number) for number in range(4)]
        for caller in callers:
            caller.start()
        try:
            for name, words in ATTACKS.items():
                if arguments.only in name:
                    round_of(name, words, arguments, address, callers, report)
                    say(f"      memory {rig.memory(gatepost.pid):.0f} MiB, {gatepost.count('gatepost_connections_refused_total')} connections refused")
        finally:
            for caller in callers:
                caller.stopping.set()
            for caller in callers:
                caller.join(30)
            gatepost.kill()
        wrong = [text for caller in callers for text in caller.errors]
        report.check("no good request failed", not wrong, "; ".join(wrong[:5]))
    return report.end()


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    passing.run(main)
