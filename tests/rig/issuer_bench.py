"""A million keys and personal access tokens in the store: what they cost, against the aims.

Makes a store with the program, fills it with rows of the same form, and prints: bytes a credential
takes in memory; time from start to ready against reading the rows; the time in which a created key is
in force and a revoked one is not; and tokens a second against the bare signature (RS256) and
against the same statements in grouped commits on the same disk (ES256). wrk sends the load. A
sample of the credentials is used over sockets. Exit code 1 when an aim is missed.

    cargo build --release --locked && python3 tests/rig/issuer_bench.py
"""

import argparse
import json
import os
import pathlib
import platform
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

import issuing
import rig
from rig import must, say

AT_MOST, AT_LEAST = "at most", "at least"
AIMS = {
    "bytes_per_credential": (AT_MOST, 150.0),
    "ready_to_read": (AT_MOST, 2.0),
    "created_ms": (AT_MOST, 10.0),
    "wrong_answers": (AT_MOST, 0.0),
    "answers_loading": (AT_LEAST, 1.0),
    "rs256_to_signature": (AT_LEAST, 0.6),
    "es256_to_commits": (AT_LEAST, 0.6),
}
PEOPLE = 10_000
SAMPLE = 500
CHANGES = 100
# As many requests wait at once, so as many tokens can share a commit.
CONNECTIONS = 32

LOAD = """\
wrk.method = "POST"
wrk.headers["Host"] = "{host}"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = "grant_type=client_credentials&client_id=sync&client_secret={secret}"
"""


class Found:
    """What was measured, printed as it comes."""

    def __init__(self):
        self.values, self.missed = {}, []

    def enter(self, name, value, unit="", note=""):
        self.values[name] = value
        kind, aim = AIMS.get(name, (None, None))
        verdict = ""
        if kind:
            holds = value <= aim if kind == AT_MOST else value >= aim
            verdict = f"  {kind} {aim:g}: {'yes' if holds else 'NO'}"
            self.missed += [] if holds else [name]
        say(f"{name:24}{value:14,.2f} {unit:9}{verdict}{'  ' + note if note else ''}")
        return value


# ---- A million credentials ----------------------------------------------------------------------


class Million:
    """The store with its rows, and the process on it."""

    def __init__(self, arguments, folder, upstream, found):
        self.arguments, self.folder, self.upstream, self.found = arguments, folder, upstream, found
        self.choose, self.wrong = random.Random(arguments.seed), 0

    def run(self):
        gatepost = issuing.Gatepost(self.arguments.binary, self.folder, self.upstream.url)
        try:
            self.make_examples(gatepost)
            gatepost.stop()
            self.fill_people(gatepost)
            gatepost.start()
            before = self.settled(gatepost)
            gatepost.stop()
            self.fill_credentials(gatepost)
            self.start(gatepost)
            per_credential = (self.settled(gatepost) - before) * 2**20 / self.arguments.keys
            self.found.enter("bytes_per_credential", per_credential, "B", "resident, beside the same without them")
            self.found.enter("most_while_loading", rig.memory(gatepost.pid, "VmHWM"), "MiB")
            self.use(gatepost)
            self.found.enter("wrong_answers", self.wrong)
            gatepost.stop()
        finally:
            gatepost.kill()

    def make_examples(self, gatepost):
        """One row of each kind by the program: what is inserted has their form."""
        gatepost.made("/users", {"login": "example"})
        for root in ("/keys", "/tokens"):
            gatepost.made(root, {"owner": "example", "name": "example", "scopes": ["read"]})

    def fill_people(self, gatepost):
        with issuing.connect(gatepost.store) as store:
            example = issuing.row(store, "people")
            self.people, rows = issuing.people(self.choose, PEOPLE)
            issuing.insert(store, "people", example, rows)
        store.close()

    def fill_credentials(self, gatepost):
        """The credentials, with the line of the audit log that their creation leaves."""
        count, began = self.arguments.keys, time.perf_counter()
        with issuing.connect(gatepost.store) as store:
            example = issuing.row(store, "credentials")
            line = issuing.row(store, "audit", "act LIKE '%create%' AND credential IS NOT NULL")
            (first,) = store.execute("SELECT number FROM counter").fetchone()
            made = issuing.credentials(self.arguments.seed, self.people, count)
            issuing.insert(store, "credentials", example, made)
            rows = store.execute("SELECT id, owner FROM credentials").fetchall()
            lines = ({"number": first + 1 + at, "subject": owner, "credential": id} for at, (id, owner) in enumerate(rows))
            issuing.insert(store, "audit", line, lines)
            store.execute("UPDATE counter SET number = number + ?", (len(rows),))
        store.close()
        self.found.enter("store_mb", gatepost.store.stat().st_size / 2**20, "MiB",
                         f"filled in {time.perf_counter() - began:.0f} s")

    def read(self, store):
        """Seconds that reading the rows takes: each column of each credential, by Python's SQLite."""
        reader = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
        names = ", ".join(issuing.columns(reader, "credentials"))
        began, rows = time.perf_counter(), 0
        cursor = reader.execute(f"SELECT {names} FROM credentials WHERE ended IS NULL ORDER BY id")
        while page := cursor.fetchmany(5_000):
            rows += len(page)
        took = time.perf_counter() - began
        must(rows >= self.arguments.keys, f"{rows} rows")
        reader.close()
        return took

    def start(self, gatepost):
        """Start to ready, and what `/readyz` answers meanwhile."""
        read = min(self.read(gatepost.store) for _ in range(2))
        began, answers = time.perf_counter(), set()
        gatepost.start(ready=False, seconds=120)
        while True:
            status, text = gatepost.admin("GET", "/readyz")
            if status == 200:
                break
            answers.add((status, text.strip()))
            must(time.perf_counter() - began < 300, "never ready")
            time.sleep(0.005)
        took = time.perf_counter() - began
        self.found.enter("read_s", read, "s", "the rows of credentials, by their key")
        self.found.enter("ready_s", took, "s")
        self.found.enter("ready_to_read", took / read, "times")
        loading = (503, "loading") in answers
        self.found.enter("answers_loading", loading, "", f"/readyz said {sorted(answers)}")

    def settled(self, gatepost):
        """Resident memory a moment later, after a request of each kind."""
        client = issuing.Client(self.folder)
        for number in range(200):
            client.token()
            client.api(issuing.credential("key", "unknown", number))
        client.close()
        time.sleep(1)
        return rig.memory(gatepost.pid)

    # -- in use

    def expect(self, client, text, status, what):
        found = client.api(text)
        if found != status:
            self.wrong += 1
            say(f"WRONG: {what}: {found}, right is {status}")

    def use(self, gatepost):
        client = issuing.Client(self.folder)
        sample = self.choose.sample(range(self.arguments.keys), SAMPLE + 2 * CHANGES)
        for number in sample[:SAMPLE]:
            kind = issuing.KINDS[number % 2]
            self.expect(client, issuing.credential(kind, self.arguments.seed, number), 200, "a stored credential")
            self.expect(client, issuing.credential(kind, "other", number), 401, "an unknown credential")
        self.create(gatepost, client)
        self.revoke(gatepost, client, sample[SAMPLE:])
        client.close()

    def create(self, gatepost, client):
        """From the request that creates a key to the first 200 through the gate."""
        times = []
        for number in range(CHANGES):
            owner = f"new{number}"
            gatepost.made("/users", {"login": owner})
            began = time.perf_counter()
            made = gatepost.made("/keys", {"owner": owner, "name": "new", "scopes": ["read"]})
            tries = 1
            while client.api(made["key"]) != 200:
                tries += 1
            times.append(1000 * (time.perf_counter() - began))
            self.wrong += tries > 1
        median = statistics.median(times)
        self.found.enter("created_ms", statistics.quantiles(times, n=20)[-1], "ms",
                         f"95th percentile; median {median:.2f}, most {max(times):.2f}")

    def revoke(self, gatepost, client, numbers):
        """The next request after the answer is refused."""
        store, times = sqlite3.connect(f"file:{gatepost.store}?mode=ro", uri=True), []
        for number in numbers:
            kind = issuing.KINDS[number % 2]
            text = issuing.credential(kind, self.arguments.seed, number)
            digest = issuing.hashlib.sha256(text.encode()).digest()
            id, owner = store.execute("SELECT id, owner FROM credentials WHERE digest = ?", (digest,)).fetchone()
            root = "keys" if kind == "key" else "tokens"
            began = time.perf_counter()
            if number % 10:
                status, answer = gatepost.call("DELETE", f"/{root}/{id}")
            else:
                status, answer = gatepost.call("POST", f"/users/{owner}/disable")
            must(status == 200, f"a revocation: {status} {answer}")
            self.expect(client, text, 401, "a revoked credential")
            times.append(1000 * (time.perf_counter() - began))
        store.close()
        self.found.enter("revoked_ms", statistics.quantiles(times, n=20)[-1], "ms",
                         f"95th percentile; median {statistics.median(times):.2f}, most {max(times):.2f}")


# ---- Tokens a second ----------------------------------------------------------------------------


def bare(algorithm, seconds):
    """Signatures a second by OpenSSL, on as many threads as there are cores."""
    name = {"RS256": "rsa2048", "ES256": "ecdsap256"}[algorithm]
    command = ["openssl", "speed", "-seconds", str(seconds), "-multi", str(os.cpu_count()), name]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"(?:rsa 2048 bits|256 bits ecdsa \(nistp256\))\s+\S+s\s+\S+s\s+([\d.]+)", run.stdout)
    must(found, f"openssl speed: {run.stdout}")
    return float(found[1])


def grouped(store, seconds):
    """Tokens a second that SQLite writes with the statements of the program, CONNECTIONS a commit."""
    connection = issuing.connect(store)
    line = issuing.row(connection, "audit", "act = 'token.issue'")
    application, secrets = (", ".join(issuing.columns(connection, table)) for table in ("applications", "secrets"))
    audit = f"INSERT INTO audit ({', '.join(line)}) VALUES ({', '.join('?' * len(line))})"
    began, tokens = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("SELECT number, at FROM counter WHERE id = 1").fetchone()
        for _ in range(CONNECTIONS):
            connection.execute("SAVEPOINT intent")
            connection.execute(f"SELECT {application} FROM applications WHERE id = ? LIMIT 1001", ("sync",)).fetchall()
            connection.execute(f"SELECT {secrets} FROM secrets WHERE application = ? LIMIT 1001", ("sync",)).fetchall()
            number = connection.execute("UPDATE counter SET number = number + 1, at = max(at, ?) WHERE id = 1 "
                                        "RETURNING number", (line["at"],)).fetchone()[0]
            connection.execute(audit, tuple({**line, "number": number, "position": 0}.values()))
            connection.execute("RELEASE intent")
        connection.execute("COMMIT")
        tokens += CONNECTIONS
    took = time.perf_counter() - began
    connection.close()
    return tokens / took


def tokens(arguments, folder, upstream, algorithm):
    """Tokens a second over sockets, and the store that they left."""
    folder.mkdir()
    script = folder / "token.lua"
    script.write_text(LOAD.format(host=issuing.HOST, secret=issuing.SECRETS["sync"]))
    gatepost = issuing.Gatepost(arguments.binary, folder, upstream.url, algorithm=algorithm)
    try:
        address = ":".join(map(str, gatepost.tcp()))
        wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{arguments.seconds}s", "-s", str(script), f"http://{address}/oauth/token"]
        run = subprocess.run(wrk, capture_output=True, text=True, check=True)
        must("Non-2xx" not in run.stdout and "Socket errors" not in run.stdout, run.stdout)
        gatepost.stop()
    finally:
        gatepost.kill()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", run.stdout)[1]), gatepost.store


def throughput(arguments, folder, upstream, found):
    seconds = arguments.seconds
    signatures = found.enter("rsa2048_signatures", bare("RS256", seconds), "/s", f"openssl, {os.cpu_count()} threads")
    rate, _ = tokens(arguments, folder / "rs256", upstream, "RS256")
    found.enter("rs256_tokens", rate, "/s")
    found.enter("rs256_to_signature", rate / signatures)
    found.enter("p256_signatures", bare("ES256", seconds), "/s", f"openssl, {os.cpu_count()} threads")
    rate, store = tokens(arguments, folder / "es256", upstream, "ES256")
    commits = found.enter("grouped_commits", grouped(store, seconds), "tokens/s", f"{CONNECTIONS} a commit, synced")
    found.enter("es256_tokens", rate, "/s")
    found.enter("es256_to_commits", rate / commits)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    absolute = lambda path: str(pathlib.Path(path).resolve())
    parser.add_argument("--binary", type=absolute, default=str(rig.ROOT / "target/release/gatepost"))
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement of tokens")
    parser.add_argument("--folder", default=str(rig.ROOT / "target"), help="on the disk to be measured")
    arguments = parser.parse_args()
    must(shutil.which("wrk") and shutil.which("openssl"), "wrk and openssl are needed")
    pathlib.Path(arguments.folder).mkdir(exist_ok=True)
    found, began = Found(), time.perf_counter()
    say(f"{os.cpu_count()} cores, {platform.machine()}, {arguments.keys} keys and personal access tokens")
    with tempfile.TemporaryDirectory(prefix="issuer-bench-", dir=arguments.folder) as name:
        folder = pathlib.Path(name)
        upstream = rig.Upstream(folder)
        try:
            Million(arguments, folder, upstream, found).run()
            throughput(arguments, folder, upstream, found)
        finally:
            upstream.kill()
    say(f"{time.perf_counter() - began:.0f} s; missed: {', '.join(found.missed) or 'none'}")
    say(json.dumps({name: round(value, 3) for name, value in found.values.items()}))
    sys.exit(bool(found.missed))


if __name__ == "__main__":
    main()
