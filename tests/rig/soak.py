"""Good and hostile traffic without pause, while everything around gatepost changes: nothing is
lost, no bad credential gets in, memory does not grow.

Starts the binary, an upstream in a process of its own and a key server, and for --seconds sends
what callers send (JWTs that were seen before and new ones, API keys, no credential, too many
requests, bad signatures, unknown kids, ambiguous paths, malformed heads, slow and half-closed
clients, bodies) while configurations are reloaded, good and broken, keys and key sets rotate,
credentials are revoked, the upstream is killed and started, and the access log is rotated. Every
request has an id in its path, and a set of statuses that are right at that moment. At the end
sent, answered and recorded are reconciled one by one. Exit code 1 when one request is unaccounted
for, one verdict was wrong or memory grew. SIGTERM ends it early, with the account of what was sent
by then. With what tests/requirements.txt names.

    cargo build --locked && PYTHONPATH=.venv python3 tests/rig/soak.py --seconds 60
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

import rig
from rig import CUT, NO_ANSWER, Case, Row, head, must, say

MEMORY_MB_PER_HOUR = 30  # What may be growth and may be noise.
MEMORY_SECONDS = 300  # Of half a run: below that a slope says nothing, and is not judged.

# The caches are small, so that they are full long before half-time: what grows then is no cache.
TOP = """\
access_log: {{ file: {folder}/access.log, format: json }}
token_cache: 1MiB
limit_entries: 1024
limits: {{ few: {{ rate: 5/s, burst: 5, by: principal }} }}
"""
ROUTES = """\
  - { path: /api/**, methods: [GET, POST], access: { scopes: [read] }, body_limit: 64KiB }
  - { path: /admin/**, access: { scopes: [admin] } }
  - { path: /few/**, access: { scopes: [read] }, limits: [few] }
"""
TURNS = "  - {{ path: /turns/**, access: {} }}\n"
BROKEN = ("", "routes: [", "listeners: 17\n", "routes:\n  - { path: /**, access: anonymous, unknown: 1 }\n")
GENERATION = "gatepost_config_generation"


class Credential:
    """What a caller presents, who it is for the upstream, and all that must hold for it."""

    def __init__(self, field, issuer, subject, *standings):
        self.field, self.identity = field, [issuer, subject, None]
        self.own = rig.Standing(200)
        self.standings = [self.own, *standings]

    def right(self, begin, end):
        each = [standing.right(begin, end) for standing in self.standings]
        good = {200} if all(200 in statuses for statuses in each) else set()
        return good | set().union(*each) - {200}


class Otherwise:
    """Another status than 200 while a credential is good."""

    def __init__(self, credential, status):
        self.credential, self.status = credential, status

    def right(self, begin, end):
        return {self.status if one == 200 else one for one in self.credential.right(begin, end)}


class Limited(Otherwise):
    """Sometimes 429 where 200 would be right."""

    def __init__(self, credential):
        super().__init__(credential, 429)

    def right(self, begin, end):
        return super().right(begin, end) | self.credential.right(begin, end)


NOBODY = Credential(None, None, None)


class Issuer:
    """Signs with one key after the other; a token is valid as long as its key."""

    def __init__(self, url):
        self.url, self.signer, self.number, self.keys = url, rig.Signer(url), 0, {}
        self.kid = self.next()
        self.keys[self.kid] = rig.Standing(200)

    def next(self):
        self.number += 1
        self.signer.add(kid := f"{self.url[8:13]}{self.number}")
        self.keys[kid] = rig.Standing(401)
        return kid

    def token(self, **claims):
        kid, subject = self.kid, claims.get("sub", "ada")
        text = self.signer.token(kid, **claims)
        return Credential(f"Authorization: Bearer {text}", self.url, subject, self.keys[kid])


class Cast:
    """The credentials that callers use. Lists are replaced as a whole: they are read without a lock."""

    def __init__(self):
        self.files, self.fetched = Issuer("https://files.example"), Issuer("https://fetched.example")
        self.keys = {"stays": (rig.api_key("soak", 0), "read")}
        self.stays = self.key("stays")
        self.turns = rig.Standing(200)
        self.turning = [self.stays]
        self.mint()
        self.bad = self.bad_ones()

    def mint(self):
        self.cached = [self.files.token(jti=f"cached-{time.time_ns()}-{n}") for n in range(20)]
        self.remote = [self.fetched.token() for _ in range(10)]
        self.over = [self.files.token(sub=f"over-{n}") for n in range(3)]

    def key(self, id):
        return Credential(f"X-API-Key: {self.keys[id][0]}", "urn:gatepost:api-key", f"key:{id}")

    def bad_ones(self):
        signer, kid = self.files.signer, self.files.kid
        signer.add("stranger")
        good, sign = signer.token(kid), lambda **claims: signer.token(kid, **claims)
        first, claims, signature = good.split(".")
        swapped = "B" if signature[20] == "A" else "A"
        key = self.keys["stays"][0]
        bearers = {
            "bad signature": f"{first}.{claims}.{signature[:20]}{swapped}{signature[21:]}",
            "a stranger's key": signer.token("stranger", as_kid=kid),
            "unknown kid": signer.token("stranger", as_kid="nobody"),
            "unknown kid, fetched": self.fetched.signer.token("stranger", as_kid="nobody"),
            "expired": sign(exp=int(time.time()) - 5),
            "not yet valid": sign(nbf=int(time.time()) + 86400),
            "wrong audience": sign(aud="another"),
            "unknown issuer": sign(iss="https://other.example"),
            "without sub": sign(sub=""),
            "not a token": "a.b.c",
            "an id token": sign(nonce="n"),
        }
        rows = [(kind, f"Authorization: Bearer {text}", 401) for kind, text in bearers.items()]
        return rows + [
            ("no credential", "Accept: */*", 401),
            ("unknown scheme", "Authorization: Basic YTpi", 401),
            ("unknown key", f"X-API-Key: {rig.api_key('other', 1)}", 401),
            ("key with a bad checksum", f"X-API-Key: {key[:-1]}{'0' if key[-1] != '0' else '1'}", 401),
            ("two tokens", f"Authorization: Bearer {good}\r\nAuthorization: Bearer {good}", 400),
            ("good key, bad token", f"X-API-Key: {key}\r\nAuthorization: Bearer a.b.c", 401),
            ("forged identity", "X-Auth-Subject: root\r\nX_Auth_Subject: root", 401),
        ]


PATHS = ("/public/%2e%2e/api/{}", "/api/%00{}", "/public/%2fapi/{}", "/public/..%5capi/{}", "/public/%zz{}", "/../{}")
HEADS = (
    "GET /api/{} HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
    "GET /api/{} HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "GET /api/{} HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET /api/{} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /api/{} HTTP/1.1\r\nX: y\r\n\r\n",
    "POST /api/{} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /api/{} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "POST /api/{} HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    "GET /api/{} HTTP/3.0\r\nHost: a\r\n\r\n",
    "G@T\t/api/{} HTTP/1.1\r\nHost: a\r\n\r\n",
)


class Callers(rig.Callers):
    def __init__(self, gatepost, cast, ledger, threads, rate):
        super().__init__([str(gatepost.folder / "public.sock"), gatepost.tcp()], ledger)
        self.cast, self.pause = cast, threads / rate
        self.acts = [self.ordinary] * threads + [self.slow] * 3 + [self.endless]

    def ordinary(self, choose, wire):
        began = time.perf_counter()
        if wire and choose.random() < 0.1:
            wire.close()
            wire = None
        wire = self.exchange(choose, wire, *self.case(choose))
        left = self.pause - (time.perf_counter() - began)
        if left > 0:
            time.sleep(left)
        return wire

    def slow(self, choose, wire):
        """Good requests in slices, on connections of their own."""
        id, cast = self.ledger.id(), self.cast
        who = choose.choice([cast.stays, choose.choice(cast.cached)])
        data = head("POST", f"/api/{id}", who.field, "Content-Length: 400") + b"s" * 400
        size = choose.choice([20, 60, 150])
        self.exchange(choose, None, id, self.good("slow", id, who, data, slice=size, pause=0.01))

    def endless(self, choose, wire):
        """Heads that never end: closed without an answer, and no request for the log."""
        id, begin = self.ledger.id(), time.perf_counter()
        wire = rig.Wire(choose.choice(self.addresses))
        wire.send(f"GET /api/{id} HTTP/1.1\r\nHost: a\r\nX: ".encode())
        try:
            while not self.stopping.wait(1):
                wire.send(b"x")
                if time.perf_counter() - begin > 9:
                    wire.answer()
                    raise rig.Wrong("an answer to half a head")
        except rig.Gone as gone:
            must(not gone.began, "a part of an answer to half a head")
        wire.close()
        self.ledger.enter(id, Row("head without an end", begin, time.perf_counter(), NO_ANSWER))

    def good(self, kind, id, who, data, **how):
        return Case(kind, data, who, who.identity, admitted=True, **how)

    def case(self, choose):
        id, cast, dice = self.ledger.id(), self.cast, choose.random()
        get = lambda who, path="/api", *more: head("GET", f"{path}/{id}", *([who.field] if who.field else []), *more)
        if dice < 0.16:
            who = choose.choice(cast.cached)
            return id, self.good("token seen before", id, who, get(who))
        if dice < 0.22:
            who = cast.files.token()
            return id, self.good("new token", id, who, get(who))
        if dice < 0.30:
            who = choose.choice(cast.remote)
            return id, self.good("token of a fetched key", id, who, get(who))
        if dice < 0.36:
            return id, self.good("API key", id, cast.stays, get(cast.stays))
        if dice < 0.42:
            who = choose.choice(cast.turning)
            return id, self.good("API key that comes and goes", id, who, get(who))
        if dice < 0.48:
            return id, self.good("anonymous", id, NOBODY, get(NOBODY, "/public"))
        if dice < 0.51:
            return id, Case("route that changes", get(NOBODY, "/turns"), cast.turns, NOBODY.identity, admitted=True)
        if dice < 0.55:
            who = choose.choice(cast.cached)
            data = head("HEAD", f"/api/{id}", who.field)
            return id, self.good("HEAD", id, who, data, is_head=True)
        if dice < 0.62:
            who, size = choose.choice([cast.stays, choose.choice(cast.cached)]), choose.choice([0, 1, 500, 65536])
            data = head("POST", f"/api/{id}", who.field, f"Content-Length: {size}") + b"b" * size
            return id, self.good("body", id, who, data)
        if dice < 0.65:
            who = cast.stays
            chunks = b"".join(b"%x\r\n%s\r\n" % (size, b"c" * size) for size in (1, 300, 5000))
            data = head("POST", f"/api/{id}", who.field, "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"
            return id, self.good("chunked body", id, who, data)
        if dice < 0.68:
            who = choose.choice(cast.over)
            return id, Case("over a limit", get(who, "/few"), Limited(who), who.identity, admitted=True)
        if dice < 0.85:
            kind, field, status = choose.choice(cast.bad)
            return id, Case(kind, head("GET", f"/api/{id}", field), {status})
        if dice < 0.88:
            who = choose.choice(cast.cached)
            return id, Case("scope missing", get(who, "/admin"), Otherwise(who, 403))
        if dice < 0.90:
            return id, Case("no route", get(cast.stays, "/nowhere"), {404})
        if dice < 0.91:
            return id, Case("no method", head("DELETE", f"/api/{id}", cast.stays.field), {405})
        if dice < 0.94:
            path = choose.choice(PATHS).format(id)
            return id, Case("ambiguous path", head("GET", path, cast.stays.field), {400})
        if dice < 0.97:
            return id, Case("malformed head", choose.choice(HEADS).format(id).encode(), {400, 505})
        if dice < 0.98:
            data = head("POST", f"/api/{id}", cast.stays.field, "Content-Length: 70000")
            return id, Case("body too large", data, {413})
        if dice < 0.985:
            return id, Case("head too large", head("GET", f"/api/{id}", "X: " + "y" * 70000), {431})
        if dice < 0.99:
            return id, Case("target too long", head("GET", f"/api/{id}" + "z" * 9000, cast.stays.field), {414})
        if dice < 0.995:
            return id, self.good("half-closed", id, cast.stays, get(cast.stays), finish=True)
        return id, Case("left at once", get(cast.stays), {NO_ANSWER}, admitted=True, leave=True)


class World:
    """What changes around gatepost, one thing after the other, each with its moment."""

    def __init__(self, gatepost, cast, ledger, upstream, authority):
        self.gatepost, self.cast, self.ledger = gatepost, cast, ledger
        self.upstream, self.authority = upstream, authority
        self.folder, self.done, self.slowest = gatepost.folder, collections.Counter(), collections.Counter()
        self.config = (self.folder / "gatepost.yaml").read_text()
        self.is_open, self.logs, self.serial = True, [self.folder / "access.log"], 0

    def act(self, choose):
        acts = [self.change_route, self.break_configuration, self.rotate_api_key, self.break_key_file,
                self.rotate_key_file, self.rotate_key_set, self.revoke_token, self.revoke_subject,
                self.revoke_api_key, self.restart_upstream, self.rotate_log]
        choose.shuffle(acts)
        for act in acts:
            begin = time.perf_counter()
            act(choose)
            self.done[act.__name__] += 1
            self.slowest[act.__name__] = max(self.slowest[act.__name__], time.perf_counter() - begin)
            yield

    # -- reloads

    def change_route(self, choose):
        self.is_open = not self.is_open
        before = self.gatepost.count(GENERATION)
        change = self.cast.turns.change(200 if self.is_open else 401)
        access = "anonymous" if self.is_open else "{ scopes: [read] }"
        way = choose.choice(["asked", "signal", "noticed"])
        rig.replace(self.folder / "gatepost.yaml", self.config + TURNS.format(access))
        self.taken(way, before)
        change.done()

    def taken(self, way, before):
        if way == "asked":
            status, body = self.gatepost.reload()
            must(status == 200, f"a good reload: {status} {body}")
        elif way == "signal":
            self.gatepost.child.send_signal(1)
        rig.eventually(f"a reload ({way})", lambda: self.gatepost.count(GENERATION) > before)

    def break_one(self, name, texts, choose):
        """Broken, and good again: no client notices."""
        path = self.folder / name
        good = path.read_text()
        if (text := choose.choice([None, *texts])) is None:
            path.unlink()
        else:
            rig.replace(path, text)
        status, body = self.gatepost.reload()
        must(status == 422, f"a broken {name}: {status} {body} {text!r}")
        time.sleep(choose.uniform(0, 0.5))
        rig.replace(path, good)
        status, body = self.gatepost.reload()
        must(status == 200, f"a mended {name}: {status} {body}")

    def break_configuration(self, choose):
        self.break_one("gatepost.yaml", BROKEN, choose)

    def break_key_file(self, choose):
        self.break_one("keys.yaml", ("keys: [", "keys:\n  - { id: x }\n"), choose)
        self.break_one("jwks.json", ("{", '{"keys":[{"kty":"EC"}]}'), choose)

    # -- rotations

    def rotate_api_key(self, choose):
        cast, old = self.cast, self.cast.turning
        self.serial += 1
        id = f"turn-{self.serial}"
        cast.keys[id] = (rig.api_key("turn", self.serial), "read")
        new = cast.key(id)
        new.own.first = 401
        cast.turning = [*old, new]
        time.sleep(0.2)  # Presented before it is good.
        came, gone = new.own.change(200), []
        for one in old[:-1]:
            if one is not cast.stays:
                del cast.keys[one.identity[1].removeprefix("key:")]
                gone.append(one.own.change(401))
        before = self.gatepost.count(GENERATION)
        rig.replace(self.folder / "keys.yaml", rig.key_file(cast.keys))
        self.taken(choose.choice(["asked", "signal", "noticed"]), before)
        for change in (came, *gone):
            change.done()
        time.sleep(0.2)  # Presented after it was withdrawn.
        cast.turning = [cast.stays, *old[-1:], new]

    def rotate(self, issuer, publish):
        """Announced: the new key is there, then signs, then the old one goes."""
        old, new = issuer.kid, issuer.next()
        came = issuer.keys[new].change(200)
        publish([old, new])
        came.done()
        issuer.kid = new
        past = self.cast.cached + self.cast.remote
        self.cast.mint()
        self.cast.cached, self.cast.remote = self.cast.cached + past[:5], self.cast.remote + past[-5:]
        time.sleep(0.5)
        gone = issuer.keys[old].change(401)
        publish([new])
        gone.done()
        time.sleep(0.3)
        self.cast.mint()

    def rotate_key_file(self, choose):
        def publish(kids):
            before = self.gatepost.count(GENERATION)
            rig.replace(self.folder / "jwks.json", self.cast.files.signer.key_set(*kids))
            self.taken(choose.choice(["asked", "signal", "noticed"]), before)

        self.rotate(self.cast.files, publish)
        self.cast.bad = self.cast.bad_ones()

    def rotate_key_set(self, choose):
        def publish(kids):
            self.authority.text = self.cast.fetched.signer.key_set(*kids)
            status, body = self.gatepost.refresh("fetched")
            must(status == 200 and json.loads(body)["keys"] == len(kids), f"a refresh: {status} {body}")

        self.rotate(self.cast.fetched, publish)

    # -- revocations

    def revoke(self, credentials, **what):
        changes = [one.own.change(401) for one in credentials]
        status, body = self.gatepost.revoke(**what)
        must(status in (200, 201), f"a revocation: {status} {body}")
        for change in changes:
            change.done()
        time.sleep(0.3)  # Presented after it was revoked.

    def revoke_token(self, choose):
        jti = f"revoked-{time.time_ns()}"
        one = self.cast.files.token(jti=jti)
        self.cast.cached = [*self.cast.cached, one, one, one]
        time.sleep(0.2)
        self.revoke([one], jti=jti, issuer="files", reason="soak")
        self.cast.cached = [other for other in self.cast.cached if other is not one]

    def revoke_subject(self, choose):
        subject = f"leaver-{time.time_ns()}"
        ones = [self.cast.fetched.token(sub=subject) for _ in range(3)]
        self.cast.remote = [*self.cast.remote, *ones]
        time.sleep(0.2)
        self.revoke(ones, subject=subject, issuer="fetched")
        self.cast.remote = self.cast.remote[: -len(ones)]

    def revoke_api_key(self, choose):
        self.rotate_api_key(choose)
        one = self.cast.turning[-1]
        self.revoke([one], key=one.identity[1].removeprefix("key:"))

    # -- the rest

    def restart_upstream(self, choose):
        window = self.ledger.window(502, 504, CUT)
        self.upstream.kill()
        time.sleep(choose.uniform(0, 1))
        self.upstream.start()
        time.sleep(0.2)  # What was sent towards the one that died has its answer by now.
        window.close()

    def rotate_log(self, choose):
        past = self.folder / f"access.log.{len(self.logs)}"
        self.logs[0].rename(past)
        self.logs.append(past)
        self.gatepost.child.send_signal(1)
        rig.eventually("a new access log", lambda: self.logs[0].exists())


def slope(samples):
    """MB an hour of [(seconds, MB)] by least squares, and its standard error."""
    count = len(samples)
    mean_x, mean_y = (sum(column) / count for column in zip(*samples))
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    per_s = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
    rest = sum((y - mean_y - per_s * (x - mean_x)) ** 2 for x, y in samples)
    return 3600 * per_s, 3600 * (rest / max(count - 2, 1) / spread) ** 0.5


class Run:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.ledger, self.cast = rig.Ledger(), Cast()
        self.authority = rig.Authority(lambda path, form: self.authority.text)
        self.authority.text = self.cast.fetched.signer.key_set(self.cast.fetched.kid)
        self.upstream = rig.Upstream(folder)
        rig.replace(folder / "keys.yaml", rig.key_file(self.cast.keys))
        rig.replace(folder / "jwks.json", self.cast.files.signer.key_set(self.cast.files.kid))
        config = rig.CONFIG.format(
            folder=folder, top=TOP.format(folder=folder), upstream=self.upstream.url, keys=self.authority.url,
            timeouts="connect: 30s, response: 120s", fetching="30s", issuers="", routes=ROUTES)
        self.gatepost = rig.Gatepost(arguments.binary, folder, config + TURNS.format("anonymous"))
        self.world = World(self.gatepost, self.cast, self.ledger, self.upstream, self.authority)
        self.world.config = config
        self.samples, self.missed = [], []
        self.seconds = arguments.seconds
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "seconds", 0))

    def go(self):
        begin, choose = time.monotonic(), random.Random(self.arguments.seed)
        callers = Callers(self.gatepost, self.cast, self.ledger, self.arguments.threads, self.arguments.rate)
        watching = threading.Thread(target=self.watch, args=(begin,), daemon=True)
        callers.start()
        watching.start()
        while time.monotonic() < begin + self.seconds:
            for _ in self.world.act(choose):
                must(self.gatepost.alive(), "gatepost ended")
                if time.monotonic() > begin + self.seconds:
                    break
                time.sleep(choose.uniform(0, 1))
        callers.stop()
        self.took, self.slowest = time.monotonic() - begin, callers.slowest

    def watch(self, begin):
        while self.gatepost.alive():
            try:
                self.samples.append((time.monotonic() - begin, rig.memory(self.gatepost.pid)))
            except (OSError, StopIteration):
                return
            time.sleep(0.5)

    def close(self):
        """The counts are taken when no request is under way any more, then gatepost is ended."""
        rig.eventually("the last connection", lambda: self.gatepost.count("gatepost_connections ") == 0, 40)
        self.requests = list(self.gatepost.samples("gatepost_requests_total"))
        self.rejections = list(self.gatepost.samples("gatepost_rejections_total"))
        self.dropped = self.gatepost.count("gatepost_access_log_dropped_total ")
        self.refreshes = self.gatepost.metrics("gatepost_jwks_refreshes_total")
        self.reloads = self.gatepost.metrics("gatepost_config_reloads_total")
        self.gatepost.stop()
        self.upstream.kill()

    # -- the account

    def miss(self, holds, what):
        if not holds:
            self.missed.append(what)

    def reconcile(self):
        rows = self.ledger.rows
        found, others = rig.records(self.world.logs)
        due = {id for id, row in rows.items() if row.kind != "head without an end"}
        lost = sorted(due - found.keys())
        self.miss(not lost, f"sent and not recorded: {[(id, rows[id]) for id in lost[:5]]}")
        strange = sorted(found.keys() - due)
        self.miss(not strange, f"recorded and not sent: {[(id, found[id]) for id in strange[:5]]}")
        twice = [id for id, lines in found.items() if len(lines) != 1]
        self.miss(not twice, f"recorded more than once: {[(id, found[id]) for id in twice[:5]]}")
        self.miss(not others, f"lines without an id: {others[:3]}")
        differ = [(id, rows[id], found[id]) for id in due & found.keys() if not self.same(rows[id], found[id][0])]
        self.miss(not differ, f"answered otherwise than recorded: {len(differ)}, such as {differ[:5]}")
        self.count_metrics(found)
        self.table(rows, found)
        return found

    def same(self, row, line):
        """Whether the log tells the status the caller saw; of callers that saw none it knows best."""
        is_cut = row.status == CUT and line[1] in ("cut", "fault")
        return row.status == line[0] or row.kind == "left at once" or is_cut

    def count_metrics(self, found):
        lines = [line for each in found.values() for line in each]
        counted = sum(value for _, value in self.requests)
        self.miss(counted == len(lines), f"metrics counted {counted} requests, the log {len(lines)}")
        codes, outcomes = collections.Counter(), collections.Counter()
        for labels, value in self.requests:
            codes[labels["code"]] += value
            outcomes[labels["outcome"]] += value
        told = collections.Counter(str(status) if status else "none" for status, _, _ in lines)
        self.miss(+codes == told, f"codes: metrics {dict(codes)}, the log {dict(told)}")
        told = collections.Counter(outcome for _, outcome, _ in lines)
        self.miss(+outcomes == told, f"outcomes: metrics {dict(outcomes)}, the log {dict(told)}")
        reasons = collections.Counter()
        for labels, value in self.rejections:
            reasons[labels["reason"]] += value
        told = collections.Counter(reason for _, outcome, reason in lines if outcome == "refused")
        self.miss(+reasons == told, f"reasons: metrics {dict(reasons)}, the log {dict(told)}")
        self.miss(self.dropped == 0, f"{self.dropped} lines dropped")
        self.counted, self.outcomes, self.reasons = counted, outcomes, told

    def upstream_saw(self, found):
        """No refused request, no credential, no identity that was not established."""
        rows, arrived = self.ledger.rows, collections.Counter()
        for path, _, _, secrets in self.upstream.seen():
            id = rig.Ledger.ID.search(path)[0]
            arrived[id] += 1
            self.miss(not secrets, f"a credential arrived: {rows[id]} {secrets}")
            outcome = found[id][0][1] if id in found else None
            self.miss(outcome in ("admitted", "cut", "fault"), f"arrived although {outcome}: {rows[id]}")
        for id, row in rows.items():
            if row.status == 200 and not arrived[id]:
                self.miss(False, f"200 and never arrived: {row}")
        self.arrived, self.again = sum(arrived.values()), sum(count - 1 for count in arrived.values())

    def table(self, rows, found):
        account = collections.defaultdict(collections.Counter)
        for id, row in rows.items():
            account[row.kind]["sent"] += 1
            status = {NO_ANSWER: "none", CUT: "cut"}.get(row.status, row.status)
            account[row.kind][status] += 1
            account[row.kind]["recorded"] += id in found
        say("| kind | sent | recorded | answers |\n|---|---|---|---|")
        total = collections.Counter()
        for kind, counts in sorted(account.items()):
            answers = {key: value for key, value in counts.items() if key not in ("sent", "recorded")}
            total.update({key: counts[key] for key in ("sent", "recorded")})
            total["answered"] += sum(value for key, value in answers.items() if key not in ("none", "cut"))
            total["cut"] += answers.get("cut", 0)
            total["none"] += answers.get("none", 0)
            told = ", ".join(f"{status}: {count}" for status, count in sorted(answers.items(), key=str))
            say(f"| {kind} | {counts['sent']} | {counts['recorded']} | {told} |")
        self.total = total
        unended, left = (account[kind]["sent"] for kind in ("head without an end", "left at once"))
        self.miss(total["none"] == unended + left, f"{total['none'] - unended - left} requests without an answer")
        say(f"\nsent {total['sent']} = answered {total['answered']} + cut by a dying upstream {total['cut']}"
            f" + callers that left {left} + heads without an end {unended}")
        say(f"recorded {total['recorded']} = sent - heads without an end"
            f" = counted by gatepost_requests_total {self.counted}")

    def judge_memory(self):
        half = [sample for sample in self.samples if sample[0] > self.took / 2]
        per_hour, error = slope(half)
        judged = self.took / 2 >= MEMORY_SECONDS
        self.miss(not judged or per_hour - 2 * error <= MEMORY_MB_PER_HOUR, f"memory grew by {per_hour:.1f} MB/hour")
        say(f"memory: {half[0][1]:.1f} MB at half-time, {half[-1][1]:.1f} MB at the end, at most"
            f" {max(mb for _, mb in self.samples):.1f} MB; slope of the second half {per_hour:+.1f}"
            f" ± {error:.1f} MB/hour, tolerated {MEMORY_MB_PER_HOUR}"
            + ("" if judged else f" (not judged: half a run is under {MEMORY_SECONDS} s)"))
        tenths = [[mb for at, mb in self.samples if n <= 10 * at / self.took < n + 1] for n in range(10)]
        say("mean of each tenth of the run: " + ", ".join(f"{sum(mbs) / len(mbs):.1f}" for mbs in tenths if mbs))

    def report(self):
        say(f"{self.took:.0f} s, {len(self.ledger.rows)} requests, {len(self.ledger.rows) / self.took:.0f} a second,"
            f" {os.cpu_count()} cores, seed {self.arguments.seed}\n")
        found = self.reconcile()
        self.upstream_saw(found)
        say(f"arrived at the upstream: {self.arrived}, of them {self.again} a second time (a kept connection had died)")
        say(f"outcomes: {dict(self.outcomes)}")
        say(f"reasons: {dict(self.reasons)}")
        say(f"slowest answer {1000 * self.slowest:.0f} ms, slow clients included")
        self.judge_memory()
        say("\n| what changed meanwhile | times | slowest |\n|---|---|---|")
        for name, count in sorted(self.world.done.items()):
            say(f"| {name.replace('_', ' ')} | {count} | {self.world.slowest[name]:.2f} s |")
        for line in self.reloads + self.refreshes:
            say(line)
        wrong = self.ledger.wrong
        say(f"\nwrong verdicts: {len(wrong)}; unaccounted for: {len(self.missed)}")
        for line in wrong[:20] + self.missed[:20]:
            say(f"  {line}")
        return not wrong and not self.missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(rig.ROOT / "target/debug/gatepost"))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rate", type=float, default=400, help="requests a second, at most")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.binary = pathlib.Path(arguments.binary).resolve()
    folder, run, good = pathlib.Path(tempfile.mkdtemp(prefix="gatepost-")), None, False
    try:
        run = Run(arguments, folder)
        run.go()
        run.close()
        good = run.report()
    except (rig.Wrong, OSError) as wrong:
        say(f"WRONG: {wrong!r}")
        for line in (run.ledger.wrong if run else [])[:20]:
            say(f"  {line}")
    finally:
        if run:
            run.gatepost.kill()
            run.upstream.kill()
    if good:
        shutil.rmtree(folder)
    else:
        say(f"What is left is in {folder}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
