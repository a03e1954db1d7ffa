"""Faults around gatepost, one after the other: none lets a bad credential in, no request is
lost without a reason, and it recovers by itself.

One function is one fault, with a gatepost, an upstream and key servers of its own. Good callers
(JWTs of file and fetched keys, opaque tokens, API keys, bodies, no credential where none is needed)
and bad ones (no, forged, expired, revoked and unknown credentials, scopes that are missing) call
before, during and after it without pause. Each request has an id in its path and a set of statuses
that are right at that moment; the upstream records what arrives and for which subject; the access log is
compared with what was sent. Ends with one table; exit code 1 on a wrong verdict or a loss that is
not explained. With what tests/requirements.txt names; as root also full disks and memory caps.

    cargo build --locked && PYTHONPATH=.venv python3 tests/rig/faults.py --seconds 60
"""

import argparse
import collections
import fcntl
import http.client
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import rig
from rig import CUT, HUNG, NO_ANSWER, UNREACHED, Case, head, must, say

ISSUERS = """\
  - issuer: https://asked.example
    name: asked
    audiences: [orders]
    introspection:
      url: "{asked}/introspect"
      client_id: gatepost
      client_secret_file: client.secret
      timeout: {asking}
      cache: 1s
"""
ROUTES = """\
  - { path: /api/**, access: { scopes: [read], issuers: [files, fetched, api-key] } }
  - { path: /opaque/**, access: { scopes: [read], issuers: [asked] } }
  - { path: /admin/**, access: { scopes: [admin], issuers: [files] } }
"""
FAULTS = []
NAMES = {NO_ANSWER: "none", CUT: "cut", UNREACHED: "unreached", HUNG: "hung"}
PATIENCE = 30  # Seconds a fault may take to be over once its cause is.


def fault(name, **settings):
    def add(function):
        FAULTS.append((name, settings, function))
        return function

    return add


class Skipped(Exception):
    """Cannot be done here; says why."""


class Callers(rig.Callers):
    """Takes the good and the bad kinds in turn."""

    def __init__(self, stage, threads=4):
        addresses = [str(stage.folder / "public.sock")]
        if "stderr" not in stage.popen:  # The port is in this line.
            addresses.append(stage.gatepost.tcp())
        super().__init__(addresses, stage.ledger)
        self.stage, self.acts = stage, [self.turn] * threads
        self.kinds = [*stage.good.items(), *stage.bad.items()]

    def turn(self, choose, wire):
        if wire and choose.random() < 0.3:
            wire.close()
            wire = None
        kind, make = choose.choice(self.kinds)
        wire = self.exchange(choose, wire, *self.stage.case(kind, make))
        time.sleep(0.004)
        return wire


class Stage:
    """One fault: its processes, its callers, its account."""

    def __init__(self, arguments, name, seconds, ready=True, tcp=False, top="", prepare=None, **patience):
        self.arguments, self.name, self.seconds, self.popen = arguments, name, seconds, {}
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gatepost-"))
        self.ledger, self.phases, self.notes = rig.Ledger(), [(0.0, "before")], []
        self.explained, self.survived, self.recovered, self.window = 0, "yes", None, None
        self.files, self.fetched = rig.Signer("https://files.example"), rig.Signer("https://fetched.example")
        for signer, kid in ((self.files, "file"), (self.files, "stranger"), (self.fetched, "fetched")):
            signer.add(kid)
        self.keys = rig.Authority(lambda path, form: self.fetched.key_set("fetched"))
        self.asked = rig.Authority(self.introspect)
        self.upstream = rig.Upstream(self.folder, tcp)
        self.logs, self.log = None, f"access_log: {{ file: {self.folder}/access.log, format: json }}"
        self.state = self.folder / "state"
        rig.replace(self.folder / "client.secret", "of-no-importance\n")
        rig.replace(self.folder / "jwks.json", self.files.key_set("file"))
        self.api_keys = {"good": (rig.api_key("faults", 0), "read"), "other": (rig.api_key("faults", 1), "write")}
        rig.replace(self.folder / "keys.yaml", rig.key_file(self.api_keys))
        self.patience, self.ready, self.top, self.gatepost, self.callers = patience, ready, top, None, None
        self.windows, self.cleanups = [], []
        self.cast()
        if prepare:
            prepare(self)

    def config(self):
        # A busy machine takes its time; what is about patience says how much there is.
        patience = {"response": "15s", "asking": "15s", **self.patience}
        return rig.CONFIG.format(
            folder=self.folder, top=f"{self.log}\nstate_dir: {self.state}\n{self.top}", upstream=self.upstream.url,
            keys=self.keys.url, timeouts=f"connect: 10s, response: {patience['response']}, idle: 10s", fetching="1s",
            issuers=ISSUERS.format(asked=self.asked.url, asking=patience["asking"]), routes=ROUTES)

    def introspect(self, path, form):
        active = "token=opaque-good" in form
        claims = {"active": True, "iss": "https://asked.example", "aud": "orders", "sub": "ada", "scope": "read"}
        return json.dumps({**claims, "exp": int(time.time()) + 600} if active else {"active": False})

    def cast(self):
        key, other = (self.api_keys[id][0] for id in ("good", "other"))
        bearer = "Authorization: Bearer {}".format
        file, fetched = self.files.token("file"), self.fetched.token("fetched")
        self.revoked, self.leaver = self.files.token("file", jti="revoked"), self.files.token("file", sub="leaver")
        a, b, c = file.split(".")
        spoilt = f"{a}.{b}.{c[:20]}{'B' if c[20] == 'A' else 'A'}{c[21:]}"
        of = lambda issuer, subject: [issuer, subject, None]
        ada, key_id = of("https://files.example", "ada"), of("urn:gatepost:api-key", "key:good")
        get = lambda path, *fields: lambda id: head("GET", f"{path}/{id}", *fields)
        post = lambda *fields: lambda id: head("POST", f"/api/{id}", *fields, "Content-Length: 300") + b"b" * 300
        self.good = {
            "token": (get("/api", bearer(file)), 200, ada),
            "new token": (lambda id: head("GET", f"/api/{id}", bearer(self.files.token("file"))), 200, ada),
            "fetched token": (get("/api", bearer(fetched)), 200, of("https://fetched.example", "ada")),
            "opaque token": (get("/opaque", bearer("opaque-good")), 200, of("https://asked.example", "ada")),
            "key": (get("/api", f"X-API-Key: {key}"), 200, key_id),
            "body": (post(f"X-API-Key: {key}"), 200, key_id),
            "anonymous": (get("/public"), 200, of(None, None)),
        }
        self.bad = {
            "no credential": (get("/api"), 401, None),
            "no credential, body": (post(), 401, None),
            "forged identity": (get("/api", "X-Auth-Subject: root", "X-Auth-Scopes: read"), 401, None),
            "bad signature": (get("/api", bearer(spoilt)), 401, None),
            "a stranger's key": (get("/api", bearer(self.files.token("stranger", as_kid="file"))), 401, None),
            "expired": (get("/api", bearer(self.files.token("file", exp=int(time.time()) - 5))), 401, None),
            "not yet valid": (get("/api", bearer(self.files.token("file", nbf=int(time.time()) + 9999))), 401, None),
            "revoked": (get("/api", bearer(self.revoked)), 401, None),
            "revoked subject": (get("/api", bearer(self.leaver)), 401, None),
            "unknown key": (get("/api", f"X-API-Key: {rig.api_key('nobody', 7)}"), 401, None),
            "key without the scope": (get("/api", f"X-API-Key: {other}"), 403, None),
            "token without the scope": (get("/admin", bearer(file)), 403, None),
            "unknown opaque token": (get("/opaque", bearer("opaque-bad")), 401, None),
            "ambiguous path": (get("/public/%2e%2e/api", bearer(file)), 400, None),
        }

    def case(self, kind, make, **how):
        (data, status, identity), id = make, self.ledger.id()
        return id, Case(kind, data(id), {status}, identity, admitted=status == 200, **how)

    # -- the course of a fault

    def begin(self):
        """gatepost, its callers, and a while without a fault."""
        self.gatepost = rig.Gatepost(self.arguments.binary, self.folder, self.config(), self.ready, **self.popen)
        for what in ({"jti": "revoked", "issuer": "files"}, {"subject": "leaver", "issuer": "files"}):
            status, body = self.gatepost.revoke(**what)
            must(status in (200, 201), f"a revocation: {status} {body}")
        self.callers = Callers(self)
        self.callers.start()
        if self.ready:
            time.sleep(max(0.3, self.seconds / 6))

    def during(self, *statuses, kinds=()):
        """The fault begins: further statuses that good callers, or callers of these kinds, may get."""
        if self.phases[-1][1] == "before":
            self.phases.append((time.perf_counter(), "during"))
        self.windows.append(self.ledger.window(*statuses, kinds=kinds))

    def hold(self):
        time.sleep(max(0.7, self.seconds / 3))

    def recover(self, limit=5.0):
        """The cause is gone: until every good kind is answered as before, and stays so."""
        lifted = time.perf_counter()
        self.phases.append((lifted, "after"))

        def is_over():
            rows = [row for row in list(self.ledger.rows.values()) if row.begin >= lifted and row.kind in self.good]
            bad = [row.end for row in rows if row.status != 200]
            since = max(bad, default=lifted)
            well = {row.kind for row in rows if row.begin >= since}
            if time.perf_counter() > since + 0.3 and well == self.good.keys():
                self.recovered = since - lifted if bad else 0.0
                return True

        try:
            rig.eventually("recovery", is_over, PATIENCE)
        except rig.Wrong:
            self.recovered = None
        for window in self.windows:
            window.close()
        if self.recovered is not None and self.recovered > limit:
            self.ledger.complain(f"recovered after {self.recovered:.1f} s, at most {limit:g} s are right")
        time.sleep(max(0.3, self.seconds / 6))

    def end(self):
        if self.callers:
            self.callers.stop()
        self.dropped = 0
        if self.gatepost and self.gatepost.alive():
            rig.eventually("the last connection", lambda: self.gatepost.count("gatepost_connections ") <= 0, 40)
            self.dropped = self.gatepost.count("gatepost_access_log_dropped_total ")
            self.gatepost.stop()

    def clean(self):
        for process in (self.gatepost, self.upstream):
            if process and process.child:
                process.kill()
        for authority in (self.keys, self.asked):
            authority.stop()
            authority.held.close()
        for cleanup in self.cleanups:
            cleanup()

    def note(self, text):
        self.notes.append(text)

    def check(self, holds, what):
        if not holds:
            self.ledger.complain(what)

    # -- the account

    def phase(self, at):
        return next(name for begin, name in reversed(self.phases) if at >= begin)

    def account(self):
        """Wrong verdicts, losses, and what good callers saw."""
        rows, wrong, lost = self.ledger.rows, list(self.ledger.wrong), []
        found, others = rig.records(self.logs or sorted(self.folder.glob("access.log*")))
        sent = {id: row for id, row in rows.items() if row.status != UNREACHED}
        for path, issuer, subject, secrets in self.upstream.seen():
            if path == "/later":  # Of the one fault that asks for it.
                continue
            row = rows.get(rig.Ledger.ID.search(path)[0])
            expected = self.good[row.kind][2] if row and row.kind in self.good else None
            if secrets or not expected or [issuer, subject] != expected[:2]:
                wrong.append(f"arrived at the upstream: {path} {issuer} {subject} {secrets} {row}")
        missing = [id for id in sent if id not in found]
        # A connection without an answer may not have become a request.
        unread = [id for id in missing if sent[id].status == NO_ANSWER and self.is_expected(sent[id])]
        missing = [id for id in missing if id not in set(unread)]
        if len(missing) > self.dropped + self.explained:
            lost += [f"not recorded: {id} {rows[id]}" for id in missing[: 10 + self.dropped]]
        if self.dropped:
            self.note(f"{self.dropped} lines lost and counted, {len(missing)} requests without a line")
        elif missing and self.explained:
            self.note(f"{len(missing)} answered requests without a line: the process was killed at that moment")
        for id, lines in found.items():
            if len(lines) > 1 or id not in rows:
                lost.append(f"recorded {len(lines)} times: {id} {rows.get(id)}")
            elif not self.same(rows[id], lines[0]):
                wrong.append(f"answered and recorded: {rows[id]} {lines[0]}")
        hung = [f"{id} {row}" for id, row in sent.items() if row.status == HUNG and not self.is_expected(row)]
        lost += [f"no answer: {one}" for one in hung]
        lost += [f"no answer: {id} {row}" for id, row in sent.items()
                 if row.status in (NO_ANSWER, CUT) and not self.is_expected(row)]
        return wrong, lost

    def is_expected(self, row):
        case = Case(row.kind, b"", set(), admitted=row.kind in self.good)
        return row.status in self.ledger.extra(case, row.begin, row.end)

    def same(self, row, line):
        is_cut = row.status == CUT and line[1] in ("cut", "fault")
        return row.status == line[0] or row.status in (NO_ANSWER, HUNG) or is_cut

    def statuses(self):
        """The answers of good callers in each phase."""
        told = collections.defaultdict(collections.Counter)
        for row in self.ledger.rows.values():
            if row.kind in self.good:
                told[self.phase(row.begin)][NAMES.get(row.status, row.status)] += 1
        for phase in ("before", "during", "after"):
            answers = ", ".join(f"{status}: {count}" for status, count in sorted(told[phase].items(), key=str))
            yield f"    good callers {phase}: {answers or 'nobody'}"


# ---- The upstream -----------------------------------------------------------------------------


@fault("upstream refuses", tcp=True)
def upstream_refuses(stage):
    """The upstream is killed, its port refuses. Good callers: 502."""
    stage.during(502, CUT)
    stage.upstream.kill()
    stage.hold()
    stage.upstream.start()
    stage.recover(2)


@fault("upstream silent", response="600ms")
def upstream_silent(stage):
    """The upstream takes requests and never answers. Good callers: 504 after `response` (600 ms)."""
    stage.during(504)
    stage.upstream.mode("silent")
    stage.hold()
    late = [row.end - row.begin for row in list(stage.ledger.rows.values()) if row.status == 504]
    stage.check(late and max(late) < 10, f"504 after {max(late, default=0):.1f} s")
    stage.upstream.mode("good")
    stage.recover(2)


@fault("upstream resets within an answer", tcp=True)
def upstream_resets(stage):
    """The upstream resets the connection within a body. Good callers: 502, or a cut answer."""
    misbehave(stage, "resetting", 502, CUT)


@fault("upstream ends within an answer")
def upstream_cuts(stage):
    """The upstream closes within a body. Good callers: a cut answer, never one that looks whole."""
    misbehave(stage, "cutting", 502, CUT)


@fault("upstream talks garbage")
def upstream_garbage(stage):
    """The upstream answers with what is not HTTP. Good callers: 502, and none of the garbage."""
    misbehave(stage, "garbage", 502)


@fault("upstream slow")
def upstream_slow(stage):
    """The upstream takes 400 ms for each answer and sends it in pieces. Good callers: 200."""
    misbehave(stage, "slow")


def misbehave(stage, mode, *statuses):
    stage.during(*statuses)
    stage.upstream.mode(mode)
    stage.hold()
    stage.upstream.mode("good")
    stage.recover(2)


# ---- Key servers and introspection ------------------------------------------------------------


@fault("key server down at the start", ready=False)
def keys_down_at_start(stage):
    """The key server refuses from before the start. Its tokens: 503; all others are served."""
    stage.hold()
    stage.check(stage.gatepost.admin("GET", "/readyz")[0] == 503, "ready without keys that were never had")
    stage.keys.start()
    stage.recover(20)
    stage.gatepost.until("/readyz")


@fault("key server down while running")
def keys_down(stage):
    """The key server refuses, then hangs. Good callers: nothing; the failures are counted."""
    stage.during()
    stage.keys.stop()
    failures = 'gatepost_jwks_refreshes_total{issuer="fetched",result="failure"}'
    before = stage.gatepost.count(failures)
    stage.check(stage.gatepost.refresh("fetched")[0] == 502, "a refresh without a key server")
    stage.hold()
    stage.check(stage.gatepost.count(failures) > before, "a failure that is not counted")
    stage.keys.answer = lambda path, form: time.sleep(3)
    stage.keys.start()
    stage.check(stage.gatepost.refresh("fetched")[0] == 502, "a refresh that hangs")
    stage.keys.answer = lambda path, form: stage.fetched.key_set("fetched")
    stage.check(stage.gatepost.refresh("fetched")[0] == 200, "a refresh that works again")
    stage.recover()


@fault("introspection down", asking="1s")
def introspection_down(stage):
    """Who is asked refuses, hangs, talks garbage. Opaque tokens: 503 after `cache` (1 s), or 401."""
    stage.during(503, kinds=("opaque token", "unknown opaque token"))
    failed = 'gatepost_introspections_total{issuer="asked",result="failed"}'
    before = stage.gatepost.count(failed)
    stage.asked.stop()
    stage.hold()
    for answer in (lambda path, form: time.sleep(3), lambda path, form: "<html>active: true</html>",
                   lambda path, form: '{"active":true,"active":true,"sub":"ada","aud":"orders","scope":"read"}'):
        stage.asked.answer = answer
        if stage.asked.server.socket.fileno() < 0:
            stage.asked.start()
        time.sleep(1.2)
    stage.check(stage.gatepost.count(failed) > before, "failures that are not counted")
    stage.asked.answer = stage.introspect
    stage.recover(7)


# ---- The system -------------------------------------------------------------------------------


def limit(gatepost, what, soft):
    _, hard = resource.prlimit(gatepost.pid, what)
    resource.prlimit(gatepost.pid, what, (soft, hard))


@fault("no file descriptors left", tcp=True)
def descriptors(stage):
    """RLIMIT_NOFILE falls to what is open, and connections are held. Good callers: wait, or 502.
    A configuration that changes meanwhile is in force afterwards."""
    stage.during(502, NO_ANSWER, CUT)
    stage.during(503, NO_ANSWER, CUT, kinds=("opaque token", "unknown opaque token"))
    stage.during(NO_ANSWER, CUT, kinds=stage.bad)
    soft = resource.prlimit(stage.gatepost.pid, resource.RLIMIT_NOFILE)[0]
    limit(stage.gatepost, resource.RLIMIT_NOFILE, len(os.listdir(f"/proc/{stage.gatepost.pid}/fd")))
    held = []
    for _ in range(30):
        try:
            held.append(rig.Wire(str(stage.folder / "public.sock")))
        except OSError:
            break
    time.sleep(0.2)
    changed = stage.config() + "  - { path: /later/**, access: anonymous }\n"
    rig.replace(stage.folder / "gatepost.yaml", changed)
    stage.hold()
    for wire in held:
        wire.close()
    limit(stage.gatepost, resource.RLIMIT_NOFILE, soft)
    stage.recover(5)

    def later():
        wire = rig.Wire(str(stage.folder / "public.sock"))
        wire.send(head("GET", "/later"))
        return wire.answer()[0] != 404

    try:
        began = time.perf_counter()
        rig.eventually("the configuration that changed meanwhile", later, 15)
        stage.note(f"the configuration was taken {time.perf_counter() - began:.1f} s after the recovery")
    except rig.Wrong as wrong:
        stage.check(False, str(wrong))


def memory_cap(gatepost, mb):
    """A cgroup, whose end gives the function that is returned; else RLIMIT_DATA."""
    name = f"gatepost-faults-{gatepost.pid}"
    for base, file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = pathlib.Path(base) / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / file).write_text(str(int(mb * 2**20)))
            (group / "cgroup.procs").write_text(str(gatepost.pid))
        except OSError:
            group.rmdir()
            continue
        return f"cgroup {file}", lambda: rig.eventually("the end of the cgroup", lambda: not try_rmdir(group))
    limit(gatepost, resource.RLIMIT_DATA, int(mb * 2**20))
    return "RLIMIT_DATA, because no cgroup can be made here", lambda: None


def try_rmdir(group):
    try:
        group.rmdir()
    except OSError:
        pass
    return group.exists()


def eat(stage, connections):
    """Unfinished heads of nearly 64 KiB, `count` of them."""
    held, piece = [], b"GET /api/x HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 60000
    for _ in range(connections):
        try:
            wire = rig.Wire(str(stage.folder / "public.sock"), 2)
            wire.send(piece)
            held.append(wire)
        except OSError:
            pass
        if not stage.gatepost.alive():
            break
    return held


@fault("memory cap that the caps on connections fit", top="connections: { total: 300 }\ntoken_cache: 1MiB")
def memory_that_fits(stage):
    """128 MB for the process, 300 connections at most, 1,500 callers with heads of 60 KB that do not
    end. Beyond the cap on connections: closed at once."""
    how, end = memory_cap(stage.gatepost, 128)
    stage.note(how)
    stage.during(NO_ANSWER, CUT, UNREACHED)
    stage.during(NO_ANSWER, CUT, UNREACHED, kinds=stage.bad)
    held = eat(stage, 1500)
    stage.hold()
    stage.check(stage.gatepost.alive(), "ended")
    stage.note(f"{rig.memory(stage.gatepost.pid):.0f} MB under attack")
    for wire in held:
        wire.close()
    stage.recover()
    stage.cleanups.append(end)


@fault("memory cap that is too small", top="token_cache: 1MiB")
def memory_too_small(stage):
    """64 MB more than at rest, and 2,500 such callers with the default caps on connections: the
    system may end the process. Started again as a supervisor would, it knows what was revoked."""
    how, end = memory_cap(stage.gatepost, rig.memory(stage.gatepost.pid) + 64)
    stage.note(how)
    stage.during(NO_ANSWER, CUT, UNREACHED, HUNG)
    stage.during(NO_ANSWER, CUT, UNREACHED, HUNG, kinds=stage.bad)
    held = eat(stage, 2500)
    stage.hold()
    for wire in held:
        wire.close()
    rig.eventually("an end, or an answer", lambda: ended_or_well(stage.gatepost))
    if not stage.gatepost.alive():
        stage.survived = f"no: ended by the system ({stage.gatepost.child.returncode}), and started again"
        rows = list(stage.ledger.rows.values())
        died = min(row.begin for row in rows if row.status == UNREACHED)
        stage.explained = sum(died - 1 < row.end < died + 1 and row.status > 0 for row in rows)
        again(stage)
    stage.recover()
    stage.cleanups.append(end)


def ended_or_well(gatepost):
    try:
        return not gatepost.alive() or gatepost.admin("GET", "/livez", timeout=2)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def again(stage):
    """As a supervisor does."""
    stage.gatepost.start()
    stage.callers.addresses[1] = stage.gatepost.tcp()


def a_small_disk(stage):
    disk = stage.folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "none", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        raise Skipped("a file system of its own needs root")
    stage.cleanups.append(lambda: subprocess.run(["umount", str(disk)], check=True))
    stage.log, stage.state = f"access_log: {{ file: {disk}/access.log, format: json }}", disk / "state"
    stage.logs = [stage.folder / "access.log"]


@fault("disk full", prepare=a_small_disk)
def disk_full(stage):
    """The file system of the access log and state_dir is full. Good callers: nothing. Lines are
    lost and counted; a revocation is not acknowledged and not in force."""
    stage.during()
    disk, dropped = stage.folder / "disk", lambda: stage.gatepost.count("gatepost_access_log_dropped_total ")
    # The disk holds many times what is logged in any time given: what fills it is this, and can go.
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 512):
            try:
                while filler.write(b"f" * size):
                    pass
            except OSError:
                pass
    rig.eventually("lines that are counted as lost", dropped, 10)
    # The page that the log of revocations has begun may still have room.
    for number in range(100):
        if stage.gatepost.revoke(key=f"filler-{number}")[0] != 201:
            break
    status, body = stage.gatepost.revoke(key="good")
    stage.check(status == 500 and body["code"] == "not_persisted", f"a revocation on a full disk: {status} {body}")
    stage.hold()
    # What was written so far is kept for the account, and makes room.
    with (stage.folder / "access.log").open("ab") as kept:
        kept.write((disk / "access.log").read_bytes())
    (disk / "filler").unlink()
    stage.recover()
    status, body = stage.gatepost.revoke(jti="another", issuer="files")
    stage.check(status == 201, f"a revocation with room again: {status} {body}")
    before = dropped()
    time.sleep(0.5)
    stage.check(dropped() == before, "lines are still lost")
    stage.finally_ = lambda: keep_rest(stage, disk)


def keep_rest(stage, disk):
    kept = (stage.folder / "access.log").stat().st_size
    with (stage.folder / "access.log").open("ab") as file, (disk / "access.log").open("rb") as rest:
        rest.seek(kept)
        file.write(rest.read())


def a_pipe(name):
    def prepare(stage):
        stage.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        stage.popen[name] = writer
        stage.writer = writer
        if name == "stdout":
            stage.log = "access_log: { format: json }"
            stage.logs = [stage.folder / "drained"]

    return prepare


def drain(stage):
    """The pipe is read again."""
    os.close(stage.writer)

    def read():
        with (stage.folder / "drained").open("wb", buffering=0) as file:
            while piece := os.read(stage.reader, 65536):
                file.write(piece)

    stage.reading = threading.Thread(target=read, daemon=True)
    stage.reading.start()


@fault("standard output stuck", prepare=a_pipe("stdout"))
def stdout_stuck(stage):
    """The access log goes to a pipe without a reader. Good callers: nothing. Lines that find the
    queue full are lost and counted."""
    stage.during()
    for _ in range(40):
        flood(stage, 1000)
        if lost := stage.gatepost.count("gatepost_access_log_dropped_total "):
            break
    stage.check(lost, "lost lines are not counted")
    stage.hold()
    drain(stage)
    stage.recover()
    stage.finally_ = stage_reading(stage)


def stage_reading(stage):
    return lambda: stage.reading.join(20)


def flood(stage, count, batch=100):
    """Refusals, many at once."""
    wire = rig.Wire(str(stage.folder / "public.sock"))
    for _ in range(count // batch):
        ids = [stage.ledger.id() for _ in range(batch)]
        begin = time.perf_counter()
        # Long paths make long lines.
        wire.send(b"".join(head("GET", f"/api/{id}{'z' * 800}") for id in ids))
        for id in ids:
            status, _, _ = wire.answer()
            stage.ledger.enter(id, rig.Row("no credential", begin, time.perf_counter(), status))
            stage.check(status == 401, f"{id}: {status}")
    wire.close()


@fault("standard error stuck", prepare=a_pipe("stderr"), tcp=True)
def stderr_stuck(stage):
    """Warnings go to a pipe without a reader, while the upstream is down and each request causes
    one. Good callers: 502, as without that."""
    stage.during(502, CUT)
    stage.upstream.kill()
    stage.hold()
    failed = lambda: sum(row.status == 502 for row in list(stage.ledger.rows.values())) > 1200
    rig.eventually("more warnings than are kept", failed, 30)
    lost = stage.gatepost.count("gatepost_log_dropped_total ")
    stage.check(lost, "lost lines are not counted")
    stage.note(f"{lost} lines of the process log lost and counted")
    stage.upstream.start()
    drain(stage)
    stage.recover(2)
    slowest = max(row.end - row.begin for row in list(stage.ledger.rows.values()))
    stage.check(slowest < 5, f"somebody waited for {slowest:.1f} s")
    stage.finally_ = stage_reading(stage)


def a_false_clock(stage):
    library = os.environ.get("FAKETIME_LIBRARY", "")
    if not pathlib.Path(library).is_file():
        raise Skipped("needs Debian's libfaketime, and FAKETIME_LIBRARY to say where it is")
    stage.clock = stage.folder / "clock"
    stage.clock.write_text("+0")
    stage.popen["env"] = {**os.environ, "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(stage.clock),
                          "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@fault("clock stepped", prepare=a_false_clock)
def clock_stepped(stage):
    """The clock goes forward by 12 hours, by 60 days, where gatepost is started again, and back. Good
    callers with tokens: 401 while these are expired, 503 while fetched keys are too old. Who was
    revoked stays so when the clock is right again."""
    tokens = ("token", "new token", "fetched token", "opaque token")
    stage.during(401, 503, kinds=tokens)
    stage.during(401, kinds=("token without the scope",))
    stage.during(NO_ANSWER, UNREACHED)
    stage.during(NO_ANSWER, UNREACHED, kinds=stage.bad)
    for number, step in enumerate(("+12h", "+60d", "-12h", "+0")):
        stage.clock.write_text(step)
        time.sleep(max(0.7, stage.seconds / 8))
        status, body = stage.gatepost.revoke(key=f"none-{number}")
        stage.check(status == 201, f"a revocation under {step}: {status} {body}")
        if step == "+60d":
            stage.gatepost.stop()
            again(stage)
    stage.recover()


# ---- Callers ----------------------------------------------------------------------------------


def apart(stage, seconds, **how):
    """Callers of every kind that send as `how` says, on connections of their own."""

    class Apart(Callers):
        def turn(self, choose, wire):
            kind, make = choose.choice(self.kinds)
            return self.exchange(choose, wire, *stage.case(kind, make, **how))

    callers = Apart(stage, 8)
    callers.start()
    time.sleep(seconds)
    callers.stop()


@fault("one byte at a time")
def one_byte(stage):
    """Requests that arrive byte by byte. All callers: as ever."""
    stage.during()
    apart(stage, max(1.0, stage.seconds / 3), slice=1)
    stage.recover()


@fault("half-closed clients")
def half_closed(stage):
    """Clients that end their side after the request, in front of a slow upstream. All callers: as
    ever."""
    stage.during()
    stage.upstream.mode("slow")
    apart(stage, max(1.0, stage.seconds / 3), finish=True)
    stage.upstream.mode("good")
    stage.recover()


@fault("admin listener flooded")
def admin_flooded(stage):
    """500 connections to the admin listener that are silent or talk garbage. Good callers: nothing."""
    stage.during()
    held = []
    for turn in range(500):
        wire = rig.Wire(str(stage.folder / "admin.sock"), 1)
        wire.sock.setblocking(False)
        try:
            wire.sock.send((b"", b"GET / HTTP/1.1\r\n", b"\x00" * 5000)[turn % 3])
        except OSError:
            pass
        held.append(wire)
        if len(held) > 150:
            held.pop(0).close()
    stage.hold()
    for wire in held:
        wire.close()
    began = time.perf_counter()
    stage.gatepost.until("/readyz")
    stage.note(f"/readyz answers {time.perf_counter() - began:.2f} s after")
    stage.recover()


# ---- Ends and files ---------------------------------------------------------------------------


@fault("SIGKILL, and a restart without its key server")
def killed(stage):
    """Killed right after a revocation was acknowledged, three times, the last with the key server
    down. What was acknowledged is in force, fetched keys are there."""
    stage.during(NO_ANSWER, CUT, UNREACHED)
    stage.during(NO_ANSWER, CUT, UNREACHED, kinds=stage.bad)
    for turn in range(3):
        token = stage.files.token("file", jti=f"late-{turn}")
        status, body = stage.gatepost.revoke(jti=f"late-{turn}", issuer="files")
        at = time.perf_counter()
        stage.gatepost.kill()
        stage.check(status == 201, f"a revocation: {status} {body}")
        rows = list(stage.ledger.rows.values())
        stage.explained += sum(row.end > at - 0.2 and row.status != UNREACHED for row in rows)
        if turn == 2:
            stage.keys.stop()
        began = time.perf_counter()
        again(stage)
        stage.note(f"ready {time.perf_counter() - began:.2f} s after SIGKILL number {turn + 1}")
        make = lambda id, token=token: head("GET", f"/api/{id}", f"Authorization: Bearer {token}")
        stage.bad[f"revoked just before SIGKILL {turn + 1}"] = (make, 401, None)
        stage.callers.kinds = [*stage.good.items(), *stage.bad.items()]
        time.sleep(max(0.5, stage.seconds / 6))
    stage.recover()
    stage.keys.start()


@fault("configuration replaced by garbage, and removed")
def configuration_broken(stage):
    """gatepost.yaml and keys.yaml become garbage, empty, a folder, and are removed. Good callers:
    nothing; reloads say 422 and the metric says so."""
    stage.during()
    good = {name: (stage.folder / name).read_text() for name in ("gatepost.yaml", "keys.yaml", "jwks.json")}
    ok = "gatepost_config_last_reload_successful "
    for name, text in good.items():
        path = stage.folder / name
        for broken in ("\x00\xff garbage", "", text[: len(text) // 2] + "[{", None, "a folder"):
            if broken == "a folder":
                path.mkdir()
            elif broken is None:
                path.unlink()
            else:
                rig.replace(path, broken)
            status, _ = stage.gatepost.reload()
            stage.check(status == 422, f"{name} as {broken!r:.40}: {status}")
            stage.check(stage.gatepost.count(ok) == 0, f"{name} as {broken!r:.40}: {ok}is not 0")
            time.sleep(stage.seconds / 40)
        path.rmdir()
        rig.replace(path, text)
        status, body = stage.gatepost.reload()
        stage.check(status == 200 and stage.gatepost.count(ok) == 1, f"{name} as before: {status} {body}")
    rig.replace(stage.folder / "gatepost.yaml", "routes: [")
    check = subprocess.run([stage.gatepost.binary, "check", "--config", "gatepost.yaml"], cwd=stage.folder,
                           capture_output=True)
    stage.check(check.returncode == 78, f"check of a broken file: {check.returncode}")
    rig.replace(stage.folder / "gatepost.yaml", good["gatepost.yaml"])
    stage.recover()


# ---- All of them ------------------------------------------------------------------------------


def one(arguments, name, settings, function, seconds):
    """The row of one fault, and whether it is good."""
    stage, began = None, time.monotonic()
    say(f"\n{name}: {' '.join((function.__doc__ or '').split())}")
    try:
        stage = Stage(arguments, name, seconds, **settings)
        if function is keys_down_at_start:
            stage.keys.stop()
            stage.during(503, kinds=("fetched token",))
        stage.begin()
        function(stage)
        stage.end()
        if hasattr(stage, "finally_"):
            stage.finally_()
        wrong, lost = stage.account()
    except Skipped as skipped:
        say(f"    SKIPPED: {skipped}")
        return f"| {name} | skipped: {skipped} | | | |", True
    except Exception:
        wrong, lost = [traceback.format_exc(), *(stage.ledger.wrong if stage else [])], []
    finally:
        if stage:
            stage.clean()
    for line in stage.statuses():
        say(line)
    for note in stage.notes:
        say(f"    {note}")
    for line in wrong[:10] + lost[:10]:
        say(f"    WRONG: {line}")
    say(f"    took {time.monotonic() - began:.1f} s")
    recovered = "NO" if stage.recovered is None else f"yes, after {stage.recovered:.1f} s"
    if not wrong and not lost:
        shutil.rmtree(stage.folder)
    else:
        say(f"    what is left is in {stage.folder}")
    row = f"| {name} | {stage.survived} | {len(wrong)} | {len(lost)} | {recovered} |"
    return row, not wrong and not lost and stage.recovered is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(rig.ROOT / "target/debug/gatepost"))
    parser.add_argument("--seconds", type=float, default=60, help="about, for all of them")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    arguments = parser.parse_args()
    arguments.binary = pathlib.Path(arguments.binary).resolve()
    chosen = [fault for fault in FAULTS if arguments.only in fault[0]]
    begin, rows, all_good = time.monotonic(), [], True
    for name, settings, function in chosen:
        row, good = one(arguments, name, settings, function, arguments.seconds / len(chosen))
        rows.append(row)
        all_good &= good
    say(f"\n{len(chosen)} faults in {time.monotonic() - begin:.0f} s\n")
    say("| fault | survived | wrong verdicts | lost requests | recovered |\n|---|---|---|---|---|")
    for row in rows:
        say(row)
    sys.exit(not all_good)


if __name__ == "__main__":
    main()
