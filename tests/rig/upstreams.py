"""gatepost in front of servers as they are in use: gunicorn (sync, gthread), Node.js, nginx, Apache
httpd, http.server (HTTP/1.0) and php -S.

nginx and Apache pass on to the Node.js application, so that their HTTP/1 faces gatepost. For each: GET,
HEAD, 304, bodies with a length and in chunks, 8 MB with `Expect: 100-continue`, 20 MB down, reuse after
the upstream closed its idle connection, server-sent events piece by piece, trailers, an early 413, and
the server killed within a body: the client must see the cut, and the log its reason. A server whose
program is missing is skipped. Exit code 1 when one check failed.

    cargo build --locked && PYTHONPATH=.venv PYTHONDONTWRITEBYTECODE=1 python3 tests/rig/upstreams.py --only node
"""

import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time

import passing
import rig
from rig import eventually, must, say

HERE = rig.ROOT / "tests/rig"
PATHS = "/usr/sbin:/usr/local/bin:/usr/bin:/bin"
LARGE = 20 * 1024 * 1024
UPLOAD = 8 * 1024 * 1024
SHA = hashlib.sha256(b"0123456789abcdef" * 4096 * 320).hexdigest()

NGINX = """\
user root; daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.error;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_timeout 1s; client_max_body_size 64m;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{app}; proxy_http_version 1.1; proxy_buffering off; }} }} }}
"""
APACHE = """\
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
Mutex file:{folder}
ErrorLog {folder}/apache.error
KeepAliveTimeout 1
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
ProxyPass / http://127.0.0.1:{app}/ flushpackets=on
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


class Server:
    """A process, or two, behind a port; `restart` brings back what was killed."""

    def __init__(self, folder, command, in_front=None):
        self.folder, self.command, self.port, self.children = folder, command, free_port(), []
        self.app_port = free_port() if in_front else self.port
        self.in_front = in_front
        self.app = None

    def start(self):
        environment = {**os.environ, "PYTHONPATH": f"{rig.ROOT / '.venv'}:{os.environ.get('PYTHONPATH', '')}", "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.folder / "server.log").open("a") as log:
            words = [word.format(port=self.app_port, here=HERE) for word in self.command]
            self.app = subprocess.Popen(words, cwd=HERE, stdout=log, stderr=log, env=environment, start_new_session=True)
            self.children.append(self.app)
            if self.in_front and len(self.children) == 1:
                self.children.append(self.begin_front(log))
        for port in {self.port, self.app_port}:
            eventually(f"the server on port {port}: {self.tail()}", lambda: answers(port), 30)

    def begin_front(self, log):
        name, text, words = self.in_front
        file = self.folder / f"{name}.conf"
        file.write_text(text.format(folder=self.folder, port=self.port, app=self.app_port))
        return subprocess.Popen([shutil.which(words[0], path=PATHS), *words[1:], str(file)], stdout=log, stderr=log, start_new_session=True)

    def tail(self):
        return (self.folder / "server.log").read_text()[-300:]

    def restart(self):
        if self.app.poll() is not None:
            self.start()

    def stop(self):
        for child in self.children:
            try:
                os.killpg(child.pid, 9)
            except ProcessLookupError:
                pass
            child.wait()


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


GUNICORN = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:{port}", "--graceful-timeout", "1"]
NODE = ["node", "{here}/app.mjs", "{port}"]
# name: (the program that it needs, command of the application, server in front of it)
SERVERS = {
    "gunicorn sync": ("python3", [*GUNICORN, "-w", "2", "-k", "sync", "apps:application"], None),
    "gunicorn gthread": ("python3", [*GUNICORN, "-k", "gthread", "--threads", "8", "--keep-alive", "1", "apps:application"], None),
    "node": ("node", NODE, None),
    "nginx": ("nginx", NODE, ("nginx", NGINX, ["nginx", "-c"])),
    "apache": ("apache2", NODE, ("apache", APACHE, ["apache2", "-DFOREGROUND", "-f"])),
    "http.server": ("python3", [sys.executable, "{here}/apps.py", "{port}"], None),
    "php -S": ("php", ["php", "-S", "127.0.0.1:{port}", "{here}/app.php"], None),
}
NO_TRAILERS = {"gunicorn sync", "gunicorn gthread", "http.server", "php -S"}
# They close with bytes unread, which resets the connection: the response may be lost on the way.
RESETS = {"gunicorn sync", "gunicorn gthread", "http.server", "php -S"}


class Checks:
    def __init__(self, name, server, gatepost, folder, report):
        self.name, self.server, self.gatepost, self.folder, self.report = name, server, gatepost, folder, report
        self.address = gatepost.tcp()

    def run(self):
        for check in (self.get, self.head, self.not_modified, self.length, self.chunked, self.upload, self.download,
                      self.stale, self.events, self.trailers, self.early, self.killed):
            with self.report.case(f"{self.name}: {check.__name__}") as notes:
                check(notes)

    def ask(self, method, path, body=None, headers=None, chunked=False, connection=None):
        connection = connection or http.client.HTTPConnection(*self.address, timeout=30)
        connection.request(method, path, body, headers or {}, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer, answer.read()

    def get(self, _):
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        for _ in range(5):
            answer, body = self.ask("GET", "/", connection=connection)
            must((answer.status, body) == (200, b"0"), f"{answer.status} {body[:100]}")

    def head(self, _):
        answer, body = self.ask("HEAD", "/")
        must((answer.status, body) == (200, b""), f"{answer.status} {body[:100]}")

    def not_modified(self, _):
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        for path, right in (("/same", 304), ("/", 200)):
            answer, _ = self.ask("GET", path, connection=connection)
            must(answer.status == right, f"{path}: {answer.status}")

    def length(self, _):
        for size in (0, 1, 100_000):
            answer, body = self.ask("POST", "/count", b"x" * size)
            must((answer.status, body) == (200, b"%d" % size), f"{size}: {answer.status} {body[:100]}")

    def chunked(self, notes):
        pieces = [b"x", b"y" * 5000, b"z" * 100_000]
        answer, body = self.ask("POST", "/count", iter(pieces), {"Transfer-Encoding": "chunked"}, chunked=True)
        if self.name == "php -S" and body == b"0":
            notes.append("php -S reads no chunks, also without gatepost")
        else:
            must((answer.status, body) == (200, b"105001"), f"{answer.status} {body[:100]}")

    def upload(self, notes):
        wire = rig.Wire(self.address, 60)
        wire.send(rig.head("POST", "/count", f"Content-Length: {UPLOAD}", "Expect: 100-continue"))
        wire.sock.settimeout(2)
        try:
            wire.fill(False)
            must(wire.waiting.startswith(b"HTTP/1.1 100 "), f"{wire.waiting[:100]!r}")
            wire.waiting = wire.waiting.split(b"\r\n\r\n", 1)[1]
            notes.append("with 100")
        except TimeoutError:
            notes.append("without 100")
        wire.sock.settimeout(60)
        wire.send(b"u" * UPLOAD)
        while not wire.waiting or wire.waiting.startswith(b"HTTP/1.1 100 "):
            if wire.waiting:
                wire.waiting = wire.waiting.split(b"\r\n\r\n", 1)[1]
            if not wire.waiting:
                wire.fill(False)
        answer = http.client.HTTPResponse(Replay(wire))
        answer.begin()
        body = answer.read()
        must((answer.status, body) == (200, b"%d" % UPLOAD), f"{answer.status} {body[:100]}")

    def download(self, notes):
        begin = time.monotonic()
        answer, body = self.ask("GET", "/large")
        must(answer.status == 200 and hashlib.sha256(body).hexdigest() == SHA, f"{answer.status}, {len(body)} bytes")
        notes.append(f"{LARGE / (time.monotonic() - begin) / 1e6:.0f} MB/s")

    def stale(self, _):
        """Around and beyond the second after which these upstreams close."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        for pause in (0.9, 0.98, 1.0, 1.02, 1.05, 1.1, 1.5):
            self.ask("GET", "/", connection=connection)
            time.sleep(pause)
            answer, _ = self.ask("GET", "/", connection=connection)
            must(answer.status == 200, f"GET {pause:g} s after another: {answer.status}")
            time.sleep(2 * (pause == 1.5))
            answer, body = self.ask("POST", "/count", b"abc", connection=connection)
            must((answer.status, body) == (200, b"3"), f"POST: {answer.status} {body[:100]}")

    def events(self, notes):
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        connection.request("GET", "/events")
        answer = connection.getresponse()
        moments = []
        while line := answer.readline():
            if line.strip():
                moments.append(time.monotonic())
        must(len(moments) == 5, f"{len(moments)} events")
        gaps = [later - earlier for earlier, later in zip(moments, moments[1:])]
        must(sum(gap > 0.1 for gap in gaps) >= 3, f"gaps of {[round(gap, 2) for gap in gaps]} s where 0.3 were made")
        notes.append(f"gaps {[round(gap, 2) for gap in gaps]} s")

    def trailers(self, notes):
        if self.name in NO_TRAILERS:
            notes.append("has none")
            return
        wire = rig.Wire(self.address, 30)
        wire.send(rig.head("POST", "/count", "Transfer-Encoding: chunked", "Trailer: X-Sum") + b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")
        answer = http.client.HTTPResponse(Replay(wire))
        answer.begin()
        must((answer.status, answer.read()) == (200, b"3"), f"{answer.status}")
        notes.append(f"of the request: {'forwarded' if answer.getheader('x-trailer-seen') == '7' else 'dropped'}")
        wire = rig.Wire(self.address, 30)
        wire.send(rig.head("GET", "/trailers", "TE: trailers", "Connection: TE, close"))
        data = b""
        while piece := wire.sock.recv(65536):
            data += piece
        must(b"body" in data and data.rstrip().endswith((b"0", b"X-Sum: 1")), f"{data[-100:]!r}")
        notes.append(f"of the response: {'forwarded' if b'X-Sum: 1' in data else 'dropped'}")

    def early(self, notes):
        wire = rig.Wire(self.address, 30)
        wire.send(rig.head("POST", "/early", f"Content-Length: {UPLOAD}"))
        wire.send(b"e" * UPLOAD)
        answer = http.client.HTTPResponse(Replay(wire))
        answer.begin()
        right = {413, 502} if self.name in RESETS else {413}
        # nginx and Apache answer 502 themselves when their own upstream closes early.
        own = answer.getheader("content-type", "").startswith("text/html")
        must(answer.status in right or own and answer.status == 502, f"{answer.status}")
        notes.append(f"{answer.status}{' of the server itself' if own else ''}")
        again, _ = self.ask("GET", "/")
        must(again.status == 200, f"and then {again.status}")

    def killed(self, notes):
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        connection.request("GET", "/die")
        answer, cut = connection.getresponse(), None
        try:
            answer.read()
        except (http.client.IncompleteRead, OSError) as error:
            cut = type(error).__name__
        must(answer.status == 200 and cut, f"{answer.status} looks whole")
        line = passing.record(self.folder, answer.getheader("x-request-id"))
        must((line["outcome"], line.get("reason")) == ("cut", "upstream_gone"), f"logged as {line['outcome']} {line.get('reason')}")
        notes.append(f"{cut}, {line['outcome']} {line['reason']}")
        self.server.restart()
        eventually("the server after its restart", lambda: self.ask("GET", "/")[0].status == 200, 20, 0.2)


class Replay:
    """A connection as `http.client.HTTPResponse` takes it, with the bytes that were read before."""

    def __init__(self, wire):
        self.wire = wire

    def makefile(self, mode):
        one, other = socket.socketpair()
        one.sendall(self.wire.waiting)
        one.shutdown(socket.SHUT_WR)
        first, second = other.makefile(mode), self.wire.sock.makefile(mode)
        one.close()
        return Joined(first, second)


class Joined:
    """Two files, one after the other."""

    def __init__(self, *files):
        self.files = list(files)

    def readline(self, size=-1):
        line = self.files[0].readline(size)
        if not line.endswith(b"\n") and len(self.files) > 1 and (size < 0 or len(line) < size):
            self.files.pop(0).close()
            line += self.files[0].readline(size)
        return line

    def read(self, size=-1):
        data = self.files[0].read(size)
        if len(self.files) > 1 and (size < 0 or len(data) < size):
            self.files.pop(0).close()
            data += self.files[0].read(size - len(data) if size >= 0 else -1)
        return data

    def flush(self):
        pass

    def close(self):
        for file in self.files:
            file.close()


def main():
    parser = passing.parser(__doc__)
    parser.add_argument("--only", default="", help="a word of the server's name")
    arguments = parser.parse_args()
    report = passing.Report()
    with passing.folder(arguments.keep) as top:
        for name, (program, command, in_front) in SERVERS.items():
            if arguments.only not in name:
                continue
            if not shutil.which(program, path=f"{PATHS}:{os.environ['PATH']}"):
                say(f"skip  {name}: {program} is missing")
                continue
            folder = top / name.replace(" ", "-")
            folder.mkdir()
            server = Server(folder, command, in_front)
            try:
                server.start()
                gatepost = passing.gatepost(arguments.binary, folder, f"http://127.0.0.1:{server.port}")
                try:
                    Checks(name, server, gatepost, folder, report).run()
                finally:
                    gatepost.kill()
            except passing.Wrong as wrong:
                report.check(f"{name}: start", False, str(wrong))
            finally:
                server.stop()
    return report.end()


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    passing.run(main)
