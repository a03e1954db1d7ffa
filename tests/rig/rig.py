"""What the programs that drive a built gatepost share: the process, an upstream that records, a
client that sends exactly what it is given, tokens and keys, and the account of every request.

Not a program of its own: tests/rig/million.py, tests/rig/identity_provider.py, tests/rig/soak.py and
tests/rig/faults.py import it.
"""

import collections
import hashlib
import http.client
import http.server
import itertools
import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# In place of a status: not a byte of an answer; only a part of one; not connected; still waiting.
NO_ANSWER, CUT, UNREACHED, HUNG = 0, -1, -2, -3
NEVER = float("inf")


class Wrong(Exception):
    """What must not have happened."""


def must(holds, what):
    if not holds:
        raise Wrong(what)


def say(text=""):
    print(text, flush=True)


def eventually(what, look, seconds=60, pause=0.01):
    """What `look` finds, as soon as it finds something."""
    until = time.monotonic() + seconds
    while not (found := look()):
        must(time.monotonic() < until, f"still waiting after {seconds:g} s for {what}")
        time.sleep(pause)
    return found


def memory(pid, name="VmRSS"):
    """In MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    row = next(row for row in status.splitlines() if row.startswith(name + ":"))
    return int(row.split()[1]) / 1024


def replace(path, text, mode=0o600):
    """Replaces a file as a whole, as editors and deployments do."""
    new = path.with_name("." + path.name + ".new")
    new.write_text(text)
    new.chmod(mode)
    new.rename(path)


# Two issuers, one with a file of keys and one whose keys are fetched, API keys, and a route for
# every caller. What a program adds goes into the places in braces; further routes may be appended.
CONFIG = """\
listeners: [{{ address: "unix:{folder}/public.sock" }}, {{ address: "127.0.0.1:0" }}]
admin: {{ address: "unix:{folder}/admin.sock" }}
{top}
upstreams: {{ app: {{ url: "{upstream}", timeouts: {{ {timeouts} }} }} }}
issuers:
  - issuer: https://files.example
    name: files
    audiences: [orders]
    algorithms: [ES256]
    leeway: 0s
    max_lifetime: 24h
    keys: {{ file: jwks.json }}
  - issuer: https://fetched.example
    name: fetched
    audiences: [orders]
    algorithms: [ES256]
    leeway: 0s
    max_lifetime: 24h
    keys: {{ url: "{keys}/jwks.json", timeout: {fetching} }}
{issuers}
api_keys: {{ header: X-API-Key, files: [keys.yaml] }}
defaults: {{ upstream: app }}
routes:
  - {{ path: /public/**, access: anonymous }}
{routes}
"""


# ---- Credentials ------------------------------------------------------------------------------


def base62(number, length):
    digits = ""
    while len(digits) < length:
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def api_key(seed, n):
    """A `gp_` key, made from the seed."""
    body = int.from_bytes(hashlib.sha256(f"key:{seed}:{n}".encode()).digest(), "big")
    text = "gp_key_" + base62(body % 62**43, 43)
    return text + base62(zlib.crc32(text.encode()), 6)


def key_file(keys):
    """A key file of {id: (text, scopes)}."""
    entry = '  - {{ id: {}, digest: "sha256:{}", scopes: [{}] }}\n'
    digest = lambda text: hashlib.sha256(text.encode()).hexdigest()
    return "keys:\n" + "".join(entry.format(id, digest(text), scopes) for id, (text, scopes) in keys.items())


class Signer:
    """Keys of an issuer and tokens signed with them by PyJWT, independent of gatepost."""

    def __init__(self, issuer):
        sys.path.insert(0, str(ROOT / "tests/support"))
        import signer  # Needs the packages of tests/requirements.txt.

        self.issuer, self.signer, self.serial = issuer, signer, itertools.count()

    def add(self, kid):
        from cryptography.hazmat.primitives.asymmetric import ec

        self.signer.KEYS[kid] = ec.generate_private_key(ec.SECP256R1())

    def key_set(self, *kids):
        return json.dumps({"keys": [{**self.signer.jwk(kid), "alg": "ES256"} for kid in kids]})

    def token(self, kid, as_kid=None, **claims):
        now = int(time.time())
        serial = f"{kid}-{next(self.serial)}"
        common = {"iss": self.issuer, "aud": "orders", "sub": "ada", "scope": "read", "jti": serial,
                  "iat": now, "exp": now + 7200, "client_id": "shop"}
        return self.signer.sign(kid, "ES256", {"kid": as_kid or kid}, {**common, **claims})


class Authority:
    """An issuer's server on a port of loopback: `answer(path, form)` gives a body, or None to break
    off. While it is stopped the port stays ours, and refuses."""

    def __init__(self, answer):
        self.answer, self.asked = answer, 0
        self.held = socket.socket()
        self.held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.held.bind(("127.0.0.1", 0))
        self.address = self.held.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                outer.asked += 1
                body = outer.answer(self.path, form)
                if body is None:
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.make = lambda: Server(self.address, Handler)
        self.server = None
        self.start()

    def start(self):
        self.server = self.make()
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


# ---- Processes --------------------------------------------------------------------------------


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Upstream:
    """tests/rig/upstream.py in a process of its own, on a Unix socket or a port of loopback."""

    def __init__(self, folder, tcp=False):
        self.record, self.child = folder / "upstream.record", None
        self.record.touch()
        where = folder / "app.sock"
        if tcp:
            # Bound and not listened on: while the upstream is down its port stays ours, and refuses.
            self.held = socket.socket()
            self.held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.held.bind(("127.0.0.1", 0))
            where = self.held.getsockname()[1]
        self.url = f"http://127.0.0.1:{where}" if tcp else f"unix:{where}"
        self.where = ["--tcp" if tcp else "--unix", str(where)]
        self.start()

    def start(self):
        script = str(ROOT / "tests/rig/upstream.py")
        command = [sys.executable, script, *self.where, "--record", str(self.record)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        must(self.child.stdout.readline() == "ok\n", "the upstream did not start")

    def mode(self, mode):
        self.child.stdin.write(mode + "\n")
        self.child.stdin.flush()
        must(self.child.stdout.readline() == "ok\n", "the upstream is gone")

    def kill(self):
        self.child.kill()
        self.child.wait()

    def seen(self):
        """What arrived: path, issuer, subject, names of fields with a credential."""
        with self.record.open() as lines:
            yield from (json.loads(line) for line in lines)


class Gatepost:
    """The process. Its configuration is in `folder`, with `admin.sock` as the admin listener."""

    def __init__(self, binary, folder, config, ready=True, **popen):
        self.binary, self.folder, self.popen, self.child = str(binary), folder, popen, None
        replace(folder / "gatepost.yaml", config)
        self.start(ready)

    def start(self, ready=True, seconds=40):
        command = [self.binary, "--log-format", "json", "run", "--config", "gatepost.yaml"]
        with (self.folder / "gatepost.log").open("a") as log:
            self.log_from = log.tell()
            streams = {"stdout": log, "stderr": log, **self.popen}
            self.child = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, **streams)
        self.until("/readyz" if ready else "/livez", seconds)

    def until(self, page, seconds=40):
        def answers():
            must(self.child.poll() is None, f"gatepost ended with {self.child.poll()}: {self.log()[-2000:]}")
            try:
                return self.admin("GET", page)[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        eventually(f"{page} of gatepost", answers, seconds)

    def log(self):
        with (self.folder / "gatepost.log").open() as log:
            log.seek(self.log_from)
            return log.read()

    def tcp(self):
        """The address behind a listener on port 0, which the log tells."""
        find = lambda: re.findall(r'"ready","listeners":"[^"]*?127\.0\.0\.1:(\d+)', self.log())
        return "127.0.0.1", int(eventually("the line with the port", find)[-1])

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        must(self.child.wait(60) == 0, "gatepost did not end well")

    def kill(self):
        if self.alive():
            self.child.kill()
        self.child.wait()

    def admin_fields(self):
        """Further fields of requests to the admin listener."""
        return {}

    def admin(self, method, target, body=None, timeout=60):
        connection = UnixConnection(self.folder / "admin.sock", timeout)
        fields = {"X-Gatepost-Admin": "1", "Content-Length": str(len(body or "")), **self.admin_fields()}
        if body is not None:
            fields["Content-Type"] = "application/json"
        connection.request(method, target, body=body, headers=fields)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def reload(self):
        return self.admin("POST", "/reload")

    def revoke(self, **what):
        status, body = self.admin("POST", "/revocations", json.dumps(what))
        return status, json.loads(body)

    def refresh(self, issuer):
        return self.admin("POST", f"/issuers/{issuer}/refresh")

    def metrics(self, *prefixes):
        _, body = self.admin("GET", "/metrics")
        return [line for line in body.splitlines() if line.startswith(prefixes)]

    def count(self, start):
        return sum(int(float(line.rpartition(" ")[2])) for line in self.metrics(start))

    def samples(self, name):
        """[(labels, value)] of a family."""
        for line in self.metrics(name + "{"):
            labels, value = line[len(name) :].rsplit(" ", 1)
            yield dict(re.findall(r'(\w+)="([^"]*)"', labels)), int(float(value))


# ---- Requests ---------------------------------------------------------------------------------


class Gone(Exception):
    """The other side closed: `began` if a part of an answer had come."""

    def __init__(self, began):
        super().__init__("closed")
        self.began = began


class Wire:
    """One connection that sends exactly the bytes it is given."""

    def __init__(self, address, timeout=60):
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        self.sock = socket.socket(family)
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise
        if family == socket.AF_INET:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting = b""

    def send(self, data):
        """What is refused early may be closed while we still write: the answer says it."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def finish(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.sock.close()

    def fill(self, began):
        try:
            piece = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            piece = b""
        if not piece:
            raise Gone(began)
        self.waiting += piece

    def answer(self, is_head=False):
        """Status, fields, body. Raises Gone, or TimeoutError."""
        while b"\r\n\r\n" not in self.waiting:
            self.fill(bool(self.waiting))
        head, self.waiting = self.waiting.split(b"\r\n\r\n", 1)
        line, *rows = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
        length = 0 if is_head else int(fields.get("content-length", 0))
        must("transfer-encoding" not in fields, "no answer here is chunked")
        while len(self.waiting) < length:
            self.fill(True)
        body, self.waiting = self.waiting[:length], self.waiting[length:]
        return int(line.split(" ")[1]), fields, body


def head(method, path, *fields):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: api.example", *fields, "", ""]).encode()


class Standing:
    """The validity of a credential, which changes at known moments: the statuses that are right for
    a request sent between `begin` and `end`."""

    def __init__(self, status):
        self.first, self.changes = status, []

    def change(self, status):
        """From now on it may be so; once the change is `done()`, it must be."""
        change = Change(status)
        self.changes.append(change)
        return change

    def right(self, begin, end):
        statuses = {self.first}
        for change in self.changes:
            if begin >= change.done_at:
                statuses = {change.status}
            elif end > change.begun_at:
                statuses.add(change.status)
        return statuses


class Change:
    def __init__(self, status):
        self.status, self.begun_at, self.done_at = status, time.perf_counter(), NEVER

    def done(self):
        self.done_at = time.perf_counter()


class Window:
    """A time in which requests of these kinds, else those that are admitted, may end otherwise."""

    def __init__(self, statuses, kinds):
        self.statuses, self.kinds = set(statuses), kinds
        self.begin, self.end = time.perf_counter(), NEVER

    def close(self):
        self.end = time.perf_counter()

    def overlaps(self, begin, end):
        return end >= self.begin and begin <= self.end


Row = collections.namedtuple("Row", "kind begin end status")


class Ledger:
    """Every request that was sent, by the id in its path."""

    ID = re.compile(r"q\d{9}")

    def __init__(self):
        self.lock, self.last = threading.Lock(), 0
        self.rows, self.wrong, self.windows = {}, [], []

    def id(self):
        with self.lock:
            self.last += 1
            return f"q{self.last:09}"

    def enter(self, id, row):
        with self.lock:
            self.rows[id] = row

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)

    def extra(self, case, begin, end):
        """Further statuses that a request may get because of a change by the program."""
        found = set()
        for window in list(self.windows):
            concerned = case.kind in window.kinds if window.kinds else case.admitted
            if concerned and window.overlaps(begin, end):
                found |= window.statuses
        return found

    def window(self, *statuses, kinds=()):
        window = Window(statuses, kinds)
        self.windows.append(window)
        return window


class Case:
    """One request to be sent: bytes, what is right (statuses, or who knows them), what the upstream
    then says it saw, and how it is sent: `slice`, `finish`, `leave`."""

    def __init__(self, kind, data, right, identity=None, admitted=False, is_head=False, **how):
        self.kind, self.data, self.right, self.identity = kind, data, right, identity
        self.admitted, self.is_head, self.how = admitted, is_head, how


class Callers:
    """Threads that send one request after the other, judge each answer, and enter it."""

    def __init__(self, addresses, ledger):
        self.addresses, self.ledger, self.acts, self.threads = addresses, ledger, [], []
        self.stopping, self.slowest = threading.Event(), 0.0

    def start(self):
        for number, act in enumerate(self.acts):
            self.threads.append(threading.Thread(target=self.run, args=(number, act), daemon=True))
            self.threads[-1].start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
            must(not thread.is_alive(), "a caller hangs")

    def run(self, number, act):
        choose, wire = random.Random(number), None
        try:
            while not self.stopping.is_set():
                wire = act(choose, wire)
        except Exception:
            self.ledger.complain(f"a caller broke: {traceback.format_exc()}")

    def exchange(self, choose, wire, id, case):
        """Sends it, judges the answer, and returns the connection if it may be used again."""
        apart = bool(case.how)
        begin, kept = time.perf_counter(), wire is not None and not apart
        used, status, fields, body = wire if kept else None, UNREACHED, {}, b""
        try:
            used = used or Wire(choose.choice(self.addresses))
            status, fields, body = self.send(used, case)
        except OSError:
            pass
        end = time.perf_counter()
        self.slowest = max(self.slowest, end - begin)
        self.ledger.enter(id, Row(case.kind, begin, end, status))
        self.judge(id, case, begin, end, status, body)
        closes = status <= 0 or fields.get("connection", "").lower() == "close"
        if used and (apart or closes):
            used.close()
        return wire if apart else None if closes else used

    def send(self, wire, case):
        how = case.how
        if size := how.get("slice"):
            for at in range(0, len(case.data), size):
                wire.send(case.data[at : at + size])
                time.sleep(how.get("pause", 0))
        else:
            wire.send(case.data)
        if "leave" in how:
            return NO_ANSWER, {}, b""
        if "finish" in how:
            wire.finish()
        try:
            return wire.answer(case.is_head)
        except Gone as gone:
            return CUT if gone.began else NO_ANSWER, {}, b""
        except TimeoutError:
            return HUNG, {}, b""

    def judge(self, id, case, begin, end, status, body):
        right = case.right if isinstance(case.right, set) else case.right.right(begin, end)
        right = right | self.ledger.extra(case, begin, end)
        if status not in right:
            self.ledger.complain(f"{case.kind} {id}: {status}, right is {sorted(right)}: {body[:200]}")
        elif status == 200 and not case.is_head and json.loads(body) != case.identity:
            self.ledger.complain(f"{case.kind} {id}: the upstream saw {body[:200]}")


def records(paths):
    """{id: [(status, outcome, reason)]} of access logs, and the lines that have no id."""
    found, others = collections.defaultdict(list), []
    for path in paths:
        with open(path, errors="replace") as lines:
            for line in lines:
                try:
                    line = json.loads(line)
                except ValueError:
                    others.append(line[:200])
                    continue
                id = Ledger.ID.search(line["path"]) or Ledger.ID.search(line["method"])
                if id:
                    found[id[0]].append((line["status"], line["outcome"], line.get("reason")))
                else:
                    others.append(line)
    return found, others
