"""gatepost against an identity provider that is not ours: npm `oidc-provider`, on loopback.

Installs it into target/identity-provider/, starts three providers in one process (keys by
discovery, keys by URL, opaque tokens), and presents tokens that they issued, and bad ones made
from those, without pause while keys are rotated, the provider is killed, gatepost is restarted
without it, and it comes back with other keys. Every answer is accounted for: exit code 1 when one
of them is wrong. Only the standard library, and Node.js 20 or later.

    cargo build --locked && python3 tests/rig/identity_provider.py
"""

import argparse
import base64
import collections
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import rig
from rig import ROOT, Wrong, must, say

PACKAGE, VERSION = "oidc-provider", "8.8.1"
API, OTHER = "https://orders.example/api", "https://other.example/api"
OPAQUE = "https://orders.example/opaque"
DISCOVERED, FETCHED, ASKED = NAMES = "discovered", "fetched", "asked"
CACHE = 2  # seconds that an answer about an opaque token is believed

CONFIG = """\
listeners: [{{ address: "unix:{folder}/public.sock" }}]
admin: {{ address: "unix:{folder}/admin.sock" }}
access_log: {{ file: {folder}/access.log }}
upstreams: {{ app: {{ url: "{upstream}" }} }}
issuers:
  - name: discovered
    issuer: "{0}"
    audiences: "{api}"
    algorithms: RS256
    leeway: 0s
    keys: {{ discovery: true }}
  - name: fetched
    issuer: "{1}"
    audiences: "{api}"
    algorithms: ES256
    leeway: 0s
    keys: {{ url: "{1}/jwks" }}
  - name: asked
    issuer: "{2}"
    audiences: "{opaque}"
    introspection:
      url: "{2}/token/introspection"
      client_id: gatepost
      client_secret_file: client.secret
      cache: {cache}s
defaults: {{ upstream: app }}
routes:
  - {{ path: /**, access: {{ scopes: [read], issuers: [discovered, fetched] }} }}
  - {{ path: /opaque/**, access: {{ scopes: [read], issuers: [asked] }} }}
"""


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider:
    """The process of the identity providers."""

    def __init__(self, folder):
        self.folder, self.issuers = folder, []
        self.start()

    def start(self):
        ports = [issuer.rpartition(":")[2] for issuer in self.issuers] or ["0"] * 3
        with (self.folder / "provider.log").open("a") as log:
            self.child = subprocess.Popen(
                ["node", "identity_provider.mjs", *ports], cwd=self.folder, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )
        self.issuers = json.loads(self.child.stdout.readline())

    def kill(self):
        self.child.kill()
        self.child.wait()

    def do(self, name, at, **rest):
        self.child.stdin.write(json.dumps({"do": name, "at": at, **rest}) + "\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        must("error" not in answer, f"{name}: {answer}")
        return answer

    def post(self, at, path, client="service", **form):
        host = self.issuers[at].removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=20)
        basic = base64.b64encode(f"{client}:secret-of-{client}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, urllib.parse.urlencode(form), headers)
        answer = connection.getresponse()
        body = answer.read()
        must(answer.status == 200, f"{path}: {answer.status} {body[:300]}")
        return json.loads(body) if body else None

    def token(self, at, client="service", resource=API):
        form = {"grant_type": "client_credentials", "scope": "read", "resource": resource}
        return self.post(at, "/token", client, **form)["access_token"]

    def public_keys(self, at):
        connection = http.client.HTTPConnection(self.issuers[at].removeprefix("http://"), timeout=20)
        connection.request("GET", "/jwks")
        return json.loads(connection.getresponse().read())["keys"]


class Change:
    """Tokens whose verdict changes once: who asks after the first new answer never gets the old one."""

    def __init__(self, before, after):
        self.before, self.after = before, after
        self.began, self.seen, self.lock = time.perf_counter(), [], threading.Lock()

    def take(self, begin, end, status):
        with self.lock:
            self.seen.append((begin, end, status))
        return status in (self.before, self.after)

    def happened(self):
        with self.lock:
            return [end for _, end, status in self.seen if status == self.after]

    def judged(self):
        """When it happened, how often the answer was the old one, and how often it was so again."""
        first = min(self.happened())
        old = [begin for begin, _, status in self.seen if status == self.before]
        return first - self.began, len(old), sum(begin > first for begin in old)


class Token:
    def __init__(self, kind, at, text, rule):
        self.kind, self.at, self.text, self.rule = kind, at, text, rule


class Load:
    """Threads that present tokens without pause, and the account of what came back."""

    def __init__(self, folder, issuers, threads):
        self.folder, self.issuers, self.tokens = folder, issuers, []
        self.step, self.account, self.wrong = "", collections.Counter(), []
        self.slowest, self.lock, self.running = collections.Counter(), threading.Lock(), threading.Event()
        self.rounds, self.idle = [0] * threads, [True] * threads
        for number in range(threads):
            threading.Thread(target=self.run, args=(number,), daemon=True).start()

    def run(self, number):
        choose, connection = random.Random(number), None
        while True:
            if not self.running.is_set():
                connection = connection and connection.close()
                self.idle[number] = True
                self.running.wait()
            self.idle[number] = False
            connection = connection or rig.UnixConnection(self.folder / "public.sock")
            self.one(connection, choose.choice(self.tokens))
            self.rounds[number] += 1

    def one(self, connection, token):
        step, rule, begin = self.step, token.rule, time.perf_counter()
        status, body = ask(connection, "/orders", token.text)
        end = time.perf_counter()
        right = rule.take(begin, end, status) if isinstance(rule, Change) else status == rule
        if status == 200:
            right = right and body == [self.issuers[token.at], "service", None]
        with self.lock:
            self.account[step, status] += 1
            self.slowest[step] = max(self.slowest[step], end - begin)
            if not right:
                self.wrong.append((step, token.kind, NAMES[token.at], status, str(body)[:200]))

    def drain(self):
        """Until every request that is under way is over."""
        before = list(self.rounds)
        while any(now < then + 2 for now, then in zip(self.rounds, before)):
            time.sleep(0.005)

    def pause(self):
        self.running.clear()
        while not all(self.idle):
            time.sleep(0.005)

    def change(self, tokens, before, after):
        change = Change(before, after)
        for token in tokens:
            token.rule = change
        self.drain()
        change.began = time.perf_counter()
        return change

    def settle(self, change, seconds):
        """Until the change is seen; from then on there is but one right answer."""
        until = time.monotonic() + seconds
        while not change.happened():
            must(time.monotonic() < until, f"no change from {change.before} to {change.after} in {seconds} s")
            time.sleep(0.005)
        self.drain()
        for token in list(self.tokens):
            if token.rule is change:
                token.rule = change.after
        self.drain()
        took, old, late = change.judged()
        must(late == 0, f"{late} answers went back to {change.before}")
        return took, old


def ask(connection, path, token):
    """The status, and what the upstream saw: issuer, subject, credential."""
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return 0, repr(error)
    return answer.status, json.loads(body) if body else None


class Gatepost(rig.Gatepost):
    def __init__(self, binary, folder, issuers, upstream):
        secret = folder / "client.secret"
        secret.write_text("secret-of-gatepost\n")
        secret.chmod(0o600)
        text = CONFIG.format(*issuers, folder=folder, api=API, opaque=OPAQUE, cache=CACHE, upstream=upstream)
        super().__init__(binary, folder, text)

    def refresh(self, name):
        status, body = super().refresh(name)
        body = json.loads(body)
        say(f"    POST /issuers/{name}/refresh: {status} {body.get('result') or body['code']}")
        return status, body

    def why(self, request_id):
        """The reason, which is there a moment after the answer."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            status, body = self.admin("GET", f"/why/{request_id}")
            if status == 200:
                return json.loads(body)["reason"]
            time.sleep(0.01)
        raise Wrong(f"nothing is known about request {request_id}")

    def status(self):
        command = [self.binary, "status", "--json", "--config", "gatepost.yaml"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        for issuer in json.loads(done.stdout)["issuers"]:
            fetched = issuer.get("fetched") or {}
            yield (f"{issuer['name']}: keys {issuer['keys']}, {issuer['age_seconds']} s old, last refresh:"
                   f" {fetched.get('last_result')} ({fetched.get('last_error')})")


def hs256_with_the_public_key(provider, at, token):
    head, claims, _ = token.split(".")
    head = json.loads(base64.urlsafe_b64decode(head + "=="))
    signed = encode(json.dumps({**head, "alg": "HS256"}).encode()) + "." + claims
    key = next(key for key in provider.public_keys(at) if key["kid"] == head["kid"])
    secret = base64.urlsafe_b64decode((key.get("n") or key["x"]) + "==")
    return signed + "." + encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


def bad_tokens(provider, at):
    good = provider.token(at)
    head, claims, signature = good.split(".")
    forged = provider.do("forge", at, token=good)["token"]
    middle = len(signature) // 2
    changed = "B" if signature[middle] == "A" else "A"
    brief = provider.token(at, client="brief")
    richer = json.loads(base64.urlsafe_b64decode(claims + "=="))
    richer = encode(json.dumps({**richer, "sub": "root"}).encode())
    none = encode(json.dumps({"alg": "none", "typ": "at+jwt"}).encode())
    found = {
        "expired": brief,
        "for another audience": provider.token(at, resource=OTHER),
        "signature changed": f"{head}.{claims}.{signature[:middle]}{changed}{signature[middle + 1:]}",
        "claims changed": f"{head}.{richer}.{signature}",
        "foreign key, same kid": forged,
        "foreign key, unknown kid": provider.do("forge", at, token=good, kid="nobody-knows")["token"],
        "public key as HMAC secret": hs256_with_the_public_key(provider, at, good),
        "alg none": f"{none}.{claims}.",
    }
    return [Token(kind, at, text, 401) for kind, text in found.items()]


class Run:
    def __init__(self, arguments, folder, node, upstream):
        self.seconds = arguments.seconds
        self.provider = Provider(node)
        self.gatepost = Gatepost(arguments.binary, folder, self.provider.issuers, upstream)
        self.load = Load(folder, self.provider.issuers, arguments.threads)
        self.folder = folder
        self.current, self.previous, self.bad = ([[], []] for _ in range(3))

    def step(self, name):
        self.load.step = name
        say(f"\n{name}")

    def mint(self, at, rule, count=20):
        """New tokens, signed with whatever key the provider signs with now."""
        new = [Token("good", at, self.provider.token(at), rule) for _ in range(count)]
        self.previous[at], self.current[at] = self.current[at], new
        self.present()
        return new, self.previous[at]

    def spoil(self):
        """New bad tokens, made from tokens of now."""
        bad = [bad_tokens(self.provider, at) for at in (0, 1)]
        time.sleep(2.1)  # The brief ones expire.
        self.bad = bad
        self.present()

    def present(self):
        lists = [*self.current, *self.previous, *self.bad]
        self.load.tokens = [token for one in lists for token in one]

    def steps(self):
        self.step("start")
        for at in (0, 1):
            self.mint(at, 200)
        self.load.running.set()
        time.sleep(self.seconds)
        self.step("rotation, unannounced, the first")
        self.changed_keys(self.replace, 20)
        self.step("bad tokens")
        self.spoil()
        time.sleep(2 * self.seconds)
        self.announced_rotation()
        self.spoil()
        self.unannounced_rotation()
        self.spoil()
        self.opaque()
        self.outage()
        self.restart()
        self.recovery()
        self.spoil()
        self.asked_for()
        self.load.pause()

    def announced_rotation(self):
        self.step("rotation, announced")
        for at in (0, 1):
            self.provider.do("announce", at)
            must(self.gatepost.refresh(NAMES[at])[1]["keys"] == 2, "two keys")
            self.provider.do("sign", at)
            new, old = self.mint(at, 200)
            heads = {token.text.split(".")[0] for token in new + old}
            must(len(heads) == 2, "old and new tokens are of two keys")
            time.sleep(self.seconds / 2)
            withdrawn = self.load.change(old, 200, 401)
            self.provider.do("retire", at)
            withdrawn.began = time.perf_counter()
            must(self.gatepost.refresh(NAMES[at])[1]["keys"] == 1, "one key")
            took, _ = self.load.settle(withdrawn, 5)
            say(f"    {NAMES[at]}: new key good from its first token on,"
                f" old key refused after {took:.2f} s")
            time.sleep(self.seconds / 2)

    def changed_keys(self, act, seconds, ask=False):
        """The provider signs with other keys, from one moment to the next: how long that shows."""
        old = [self.load.change(self.current[at], 200, 401) for at in (0, 1)]
        new = [Change(401, 200) for _ in (0, 1)]
        begin = time.perf_counter()
        act()
        for at in (0, 1) if ask else ():
            must(self.gatepost.refresh(NAMES[at])[0] == 200, "a refresh")
        for at in (0, 1):
            self.mint(at, new[at])
            old[at].began = new[at].began = begin
        for at in (0, 1):
            (took, refused), (gone, taken) = (self.load.settle(one[at], seconds) for one in (new, old))
            say(f"    {NAMES[at]}: new key good after {took:.2f} s ({refused} refused until then),\n"
                f"      old key refused after {gone:.2f} s ({taken} taken until then)")

    def replace(self):
        for at in (0, 1):
            self.provider.do("replace", at)

    def unannounced_rotation(self):
        self.step("rotation, unannounced, amid unknown keys")
        begin, before = time.monotonic(), [self.provider.do("asked", at)["asked"] for at in (0, 1)]
        self.changed_keys(self.replace, 40)
        took, unknown = time.monotonic() - begin, self.load.account[self.load.step, 401]
        for at in (0, 1):
            asked = self.provider.do("asked", at)["asked"] - before[at]
            must(asked <= 2 + took / 30, f"{asked} fetches in {took:.0f} s")
            say(f"    {NAMES[at]}: key set fetched {asked} times in {took:.0f} s, amid {unknown} refusals")

    def opaque(self):
        self.step("opaque tokens")
        connection = rig.UnixConnection(self.folder / "public.sock")
        person = self.provider.do("person", 2, subject="ada", resource=OPAQUE)["token"]
        asked = self.gatepost.count("gatepost_introspections_total")
        for _ in range(100):
            status, body = ask(connection, "/opaque/x", person)
            must((status, body) == (200, [self.provider.issuers[2], "ada", None]), f"active: {status} {body}")
        asked = self.gatepost.count("gatepost_introspections_total") - asked
        say(f"    active: 100 of 100 with 200 and the subject; {asked} questions to the provider")
        self.provider.post(2, "/token/revocation", token=person)
        revoked = time.perf_counter()
        statuses = []
        while time.perf_counter() < revoked + CACHE + 1:
            statuses.append((time.perf_counter() - revoked, ask(connection, "/opaque/x", person)[0]))
            time.sleep(0.01)
        last, first = max(at for at, s in statuses if s == 200), min(at for at, s in statuses if s != 200)
        must({s for _, s in statuses} == {200, 401} and last < first, "once refused, refused for good")
        must(first < CACHE + 0.5, "refused after `cache`")
        say(f"    revoked at the provider: last 200 after {last:.2f} s, 401 from {first:.2f} s on (cache: {CACHE}s)")
        other = self.provider.do("person", 2, subject="ada", resource=OTHER + "/opaque")["token"]
        refused = {
            "made up": "4Zr9cQ2mB7",
            "for another audience": other,
            "without sub (client_credentials)": self.provider.token(2, resource=OPAQUE),
        }
        for kind, token in refused.items():
            status, body = ask(connection, "/opaque/x", token)
            must(status == 401, f"{kind}: {status}")
            say(f"    {kind}: 401 ({self.gatepost.why(body['request_id'])})")
        self.person = self.provider.do("person", 2, subject="ada", resource=OPAQUE)["token"]
        must(ask(connection, "/opaque/x", self.person)[0] == 200, "active")

    def outage(self):
        self.step("outage")
        self.provider.kill()
        time.sleep(max(self.seconds, CACHE + 0.5))
        for name in NAMES[:2]:
            must(self.gatepost.refresh(name)[0] == 502, "no refresh")
        status, _ = ask(rig.UnixConnection(self.folder / "public.sock"), "/opaque/x", self.person)
        must(status == 503, f"an opaque token in an outage: {status}")
        say(f"    an opaque token, {CACHE} s after its last answer: 503")
        time.sleep(self.seconds)
        self.show()

    def restart(self):
        self.step("restart during the outage")
        self.load.pause()
        for line in self.gatepost.metrics("gatepost_token_cache_", "gatepost_introspections_total"):
            say(f"      {line}")
        self.gatepost.stop()
        begin = time.perf_counter()
        self.gatepost.start()
        say(f"    ready after {time.perf_counter() - begin:.2f} s, with the keys from state_dir")
        self.load.running.set()
        time.sleep(2 * self.seconds)
        self.show()

    def recovery(self):
        self.step("recovery, with other keys")
        self.changed_keys(self.provider.start, 90)
        status, _ = ask(rig.UnixConnection(self.folder / "public.sock"), "/opaque/x", self.person)
        must(status == 401, f"an opaque token that the provider forgot: {status}")
        say("    an opaque token that the provider forgot: 401")

    def asked_for(self):
        self.step("rotation, with POST /issuers/NAME/refresh")
        self.changed_keys(self.replace, 5, ask=True)
        time.sleep(self.seconds)
        self.show("gatepost_token_cache_", "gatepost_introspections_total")

    def show(self, *more):
        say("    gatepost status --json:")
        for line in self.gatepost.status():
            say(f"      {line}")
        say("    GET /metrics:")
        for line in self.gatepost.metrics("gatepost_jwks_", *more):
            say(f"      {line}")

    def report(self):
        account, steps = self.load.account, list(dict.fromkeys(step for step, _ in self.load.account))
        say(f"\n{'step':45}{'sent':>8}{'200':>8}{'401':>8}{'other':>7}{'wrong':>7}{'slowest':>10}")
        for step in steps:
            sent = sum(n for (one, _), n in account.items() if one == step)
            wrong = sum(one[0] == step for one in self.load.wrong)
            good, refused = account[step, 200], account[step, 401]
            say(f"{step:45}{sent:8}{good:8}{refused:8}{sent - good - refused:7}{wrong:7}"
                f"{1000 * self.load.slowest[step]:7.0f} ms")
        say(f"{sum(account.values())} requests, {len(self.load.wrong)} wrong verdicts")
        for one in self.load.wrong[:20]:
            say(f"  {one}")
        return not self.load.wrong


def install():
    """The provider, in a folder that git does not look at."""
    folder = ROOT / "target/identity-provider"
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / "package.json"
    if not (folder / "node_modules" / PACKAGE).exists():
        package.write_text('{"private":true}\n')
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact"]
        subprocess.run([*command, f"{PACKAGE}@{VERSION}"], cwd=folder, check=True)
    # Modules are looked for beside the script.
    shutil.copy(ROOT / "tests/rig/identity_provider.mjs", folder)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / "target/debug/gatepost"))
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load in each quiet part")
    arguments = parser.parse_args()
    node = install()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gatepost-"))
    upstream, run = rig.Upstream(folder), None
    try:
        run = Run(arguments, folder, node, upstream.url)
        run.steps()
        good = run.report()
    except Wrong as error:
        say(f"WRONG: {error}")
        if run:
            run.report()
        say("".join((folder / "gatepost.log").read_text().splitlines(True)[-20:]))
        good = False
    finally:
        upstream.kill()
        if run:
            run.gatepost.child.kill()
            run.provider.kill()
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    os._exit(0 if good else 1)


if __name__ == "__main__":
    main()
