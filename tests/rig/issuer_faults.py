"""A gatepost with an issuer on a store that fails: what callers see, and that it recovers.

One function is one fault: a full disk, a read-only one, a second process on the file, a clock that
steps. Each says what every kind of caller gets during it, which series shows it, and that nothing
that ended comes back. The table "Store of the issuer" of docs/operations.md is what is checked here.
Disks of their own need root, and the clock needs libfaketime, whose library FAKETIME_LIBRARY names;
without them the fault is skipped, and the last line says so.

    cargo build --locked && python3 tests/rig/issuer_faults.py
"""

import contextlib
import json
import os
import pathlib
import subprocess
import time

import issuing
import passing
import rig
from rig import eventually, must, say

FAULTS = []
# A strict application beside those of issuing.py: its tokens are good for an hour.
BRIEF = """\
    - { id: brief, name: Brief, profile: strict, secret_files: [brief.secret], grants: [client_credentials], scopes: [read] }
"""


def fault(function):
    FAULTS.append(function)
    return function


class Skipped(Exception):
    """Cannot be done here; says why."""


class Stage:
    """One fault: a process, a person with credentials, and the checks."""

    def __init__(self, arguments, folder, report):
        self.binary, self.folder, self.report = arguments.binary, folder, report
        self.upstream, self.gatepost, self.number, self.cleanups = rig.Upstream(folder), None, 0, []

    def start(self, state=None, top="", **popen):
        self.gatepost = issuing.Gatepost(self.binary, self.folder, self.upstream.url, state=state, top=top, **popen)
        self.client = issuing.Client(self.folder)
        self.gatepost.made("/users", {"login": "ada"})
        self.kept, self.ended = self.create("/keys"), self.create("/keys")
        self.pat, self.token = self.create("/tokens"), self.issued()

    def again(self):
        """As a supervisor does."""
        self.gatepost.stop()
        self.gatepost.start()
        self.client.close()

    def create(self, root):
        self.number += 1
        return self.gatepost.made(root, {"owner": "ada", "name": f"k{self.number}", "scopes": ["read"]})

    def try_create(self, name="more"):
        return self.gatepost.call("POST", "/keys", {"owner": "ada", "name": name, "scopes": ["read"]})

    def issued(self, client="sync"):
        status, answer = self.client.token(client)
        must(status == 200, f"a token: {status} {answer}")
        return answer["access_token"]

    def check(self, name, holds, note=""):
        self.report.check(name, holds, note)

    def accepts(self, when):
        """What exists is accepted as before."""
        found = [self.client.api(text) for text in (self.kept["key"], self.pat["token"], self.token)]
        self.check(f"{when}: key, personal access token and access token are accepted", found == [200] * 3, str(found))

    def refuses_new(self, when, detail):
        """Nothing is created, and no token is issued."""
        status, answer = self.try_create()
        self.check(f"{when}: a key is not created", (status, answer["code"]) == (503, "unavailable") and detail in answer["detail"], str(answer))
        status, answer = self.client.token()
        self.check(f"{when}: no token", (status, answer["error"]) == (503, "temporarily_unavailable"), str(answer))
        count = self.gatepost.count("gatepost_store_errors_total{")
        self.check(f"{when}: gatepost_store_errors_total rises", count > 0, f"{count}")

    def end(self, made):
        return self.gatepost.call("DELETE", f"/keys/{made['id']}")

    def stays_ended(self, when, made):
        found = [self.client.api(made["key"]), self.client.api(self.kept["key"])]
        self.check(f"{when}: what was ended is refused, the other key accepted", found == [401, 200], str(found))

    def clean(self):
        if self.gatepost:
            self.gatepost.kill()
        self.upstream.kill()
        for cleanup in reversed(self.cleanups):
            cleanup()

    # -- disks

    def run(self, *command):
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode == 0

    def disk(self, *options, kind="tmpfs", source="none"):
        """A file system of its own for `state_dir`."""
        state = self.folder / "disk"
        state.mkdir(exist_ok=True)
        if not self.run("mount", "-t", kind, *options, source, str(state)):
            raise Skipped("a file system of its own needs root")
        self.cleanups.append(lambda: self.run("umount", "-l", str(state)))
        (state / "state").mkdir(mode=0o700, exist_ok=True)
        return state / "state"


def fill(path):
    """Takes the rest of a disk."""
    with path.open("ab", buffering=0) as filler:
        for size in (65536, 512, 1):
            with contextlib.suppress(OSError):
                while filler.write(b"f" * size):
                    pass


@fault
def disk_full(stage):
    """The disk of state_dir is full: ends are stored in the space kept back, and nothing else."""
    state = stage.disk("-o", "size=64m,mode=700")
    stage.start(state)
    filler = state.parent / "filler"
    fill(filler)
    # Pages that the file has already may hold some more.
    for number in range(1_000):
        if stage.try_create(f"filler{number}")[0] != 201:
            break
        fill(filler)
    stage.refuses_new("disk full", "the disk is full")
    stage.accepts("disk full")
    status, answer = stage.end(stage.ended)
    stage.check("disk full: a key is revoked, and stored", status == 200, f"{status} {answer}")
    stage.stays_ended("disk full", stage.ended)
    token = stage.token
    status, _ = stage.client.revoke(token)
    stage.check("disk full: a token is revoked, and stored", status == 200 and stage.client.api(token) == 401, str(status))
    used = "the space kept back for ends is in use" in stage.gatepost.log()
    stage.check("disk full: the log says that the space kept back is in use", used)
    status, answer = stage.try_create()
    stage.check("disk full: that space is for ends alone", status == 503, str(answer))
    filler.unlink()
    eventually("a key with room again", lambda: stage.try_create("room")[0] == 201, 20, 0.2)
    stage.token = stage.issued()
    stage.accepts("with room again")
    stage.again()
    stage.stays_ended("after a restart", stage.ended)
    stage.check("after a restart: the revoked token is refused", stage.client.api(token) == 401)


@fault
def read_only_at_start(stage):
    """The disk of state_dir is read-only at the start."""
    state = stage.disk("-o", "size=64m,mode=700")
    stage.start(state)
    stage.gatepost.stop()
    must(stage.run("mount", "-o", "remount,ro", str(state.parent)), "the remount failed")
    run = stage.gatepost.command("run")
    said = "Read-only file system" in run.stderr or "read-only" in run.stderr
    stage.check("read-only at the start: exit 70 with the reason", run.returncode == 70 and said, f"{run.returncode}: {run.stderr[-300:]}")
    must(stage.run("mount", "-o", "remount,rw", str(state.parent)), "the remount failed")
    stage.gatepost.start()
    stage.client.close()
    stage.accepts("writable again")


@fault
def read_only(stage):
    """The file system turns read-only while the process runs, as after an error of the disk."""
    image = stage.folder / "image"
    with image.open("wb") as file:
        file.truncate(96 << 20)
    if not stage.run("mkfs.ext4", "-q", str(image)):
        raise Skipped("needs mkfs.ext4")
    state = stage.disk("-o", "loop", kind="ext4", source=str(image))
    stage.start(state)
    if not stage.run("mount", "-o", "remount,abort", str(state.parent)):
        raise Skipped("the file system cannot be aborted")
    stage.refuses_new("read-only", "")
    stage.accepts("read-only")
    status, answer = stage.end(stage.ended)
    stage.check("read-only: an end is 503 with stored: false", (status, answer.get("stored")) == (503, False), f"{status} {answer}")
    stage.stays_ended("read-only: in force at once", stage.ended)
    status, text = stage.client.revoke(stage.token)
    stage.check("read-only: a token's end is 503", status == 503, f"{status} {text}")
    stage.check("read-only: and in force at once", stage.client.api(stage.token) == 401)


@fault
def locked(stage):
    """Another process holds the write lock of the file, for longer than it is waited for."""
    stage.start()
    other = issuing.connect(stage.gatepost.store)
    other.execute("BEGIN IMMEDIATE")
    stage.refuses_new("file locked", "")
    stage.accepts("file locked")
    began = time.monotonic()
    status, answer = stage.end(stage.ended)
    took = time.monotonic() - began
    stage.check("file locked: an end is 503 with stored: false", (status, answer.get("stored")) == (503, False), f"{status} after {took:.1f} s: {answer}")
    stage.stays_ended("file locked: in force at once", stage.ended)
    other.execute("ROLLBACK")
    id = stage.ended["id"]
    look = lambda: other.execute("SELECT ended FROM credentials WHERE id = ?", (id,)).fetchone()[0]
    eventually("the end that was not stored", look, 70, 0.2)
    stage.check("lock released: the end is stored", True)
    eventually("a key with the lock released", lambda: stage.try_create()[0] == 201, 10, 0.2)
    other.close()
    stage.again()
    stage.stays_ended("after a restart", stage.ended)


@fault
def changed_beside(stage):
    """Another process changes rows, with their entry in the change log: in force within a second."""
    stage.start()
    other = issuing.connect(stage.gatepost.store)
    id, now = stage.ended["id"], int(time.time())
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE credentials SET ended = ? WHERE id = ?", (now, id))
    (number,) = other.execute("UPDATE counter SET number = number + 1, at = ? RETURNING number", (now,)).fetchone()
    other.execute("INSERT INTO changes VALUES (?, 0, ?, 'credentials', ?)", (number, now, id))
    other.execute("COMMIT")
    other.close()
    began = time.monotonic()
    eventually("the change", lambda: stage.client.api(stage.ended["key"]) == 401, 10)
    took = time.monotonic() - began
    stage.check("changed by another process: in force within 1 s", took < 1, f"{took:.2f} s")
    stage.stays_ended("changed by another process", stage.ended)


@fault
def second_run(stage):
    """A second `gatepost run` on the same state_dir."""
    stage.start()
    config = (stage.folder / "gatepost.yaml").read_text()
    second = config.replace("public.sock", "public2.sock").replace("admin.sock", "admin2.sock")
    rig.replace(stage.folder / "second.yaml", second)
    command = [stage.binary, "run", "--config", "second.yaml"]
    run = subprocess.run(command, cwd=stage.folder, capture_output=True, text=True, timeout=30)
    stage.check("a second run: refused, with the reason", run.returncode in (70, 78) and "another" in run.stderr, f"{run.returncode}: {run.stderr[-300:]}")
    stage.accepts("beside a second run")


def a_clock(stage):
    """The environment of a process whose clock is in a file."""
    library = pathlib.Path(os.environ.get("FAKETIME_LIBRARY", "")).resolve()
    if not library.is_file():
        raise Skipped("needs Debian's libfaketime, and FAKETIME_LIBRARY to say where it is")
    stage.clock = stage.folder / "clock"
    stage.clock.write_text("+0")
    return {**os.environ, "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(stage.clock),
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def claims(token):
    return json.loads(issuing.base64.urlsafe_b64decode(token.split(".")[1] + "=="))


@fault
def clock(stage):
    """The clock goes an hour ahead, 60 days, where it is started again, and back."""
    environment = a_clock(stage)
    stage.start(top=BRIEF, env=environment)
    brief, first = stage.issued("brief"), stage.token

    def step(by, *expected):
        """Statuses of the hour's token, the month's, the key and the personal access token."""
        stage.clock.write_text(by)
        stage.client.token()  # Its transaction notices the step.
        found = tuple(stage.client.api(text) for text in (brief, first, stage.kept["key"], stage.pat["token"]))
        stage.check(f"clock {by}: token of an hour, of 30 days, key, personal access token", found == expected, str(found))
        token = stage.issued()
        stage.check(f"clock {by}: a token is issued and accepted", stage.client.api(token) == 200, str(claims(token)))
        return token

    began = int(time.time())
    step("+65m", 401, 200, 200, 200)
    logged = "the clock stepped: nothing is deleted" in stage.gatepost.log()
    stage.check("clock +65m: the log names the step", logged)
    count = stage.gatepost.count("gatepost_store_clock_steps_total ")
    stage.check("clock +65m: gatepost_store_clock_steps_total rises", count >= 1, f"{count}")
    ahead = step("+60d", 401, 401, 200, 200)
    stage.again()
    step("+60d", 401, 401, 200, 200)
    status, answer = stage.end(stage.ended)
    stage.check("clock +60d: a key is revoked", status == 200, str(answer))
    back = step("+0", 200, 200, 200, 200)
    stage.stays_ended("clock back", stage.ended)
    made = stage.create("/keys")["created"]
    later = time.strftime("%Y-%m-%d", time.gmtime(claims(ahead)["iat"]))
    stage.check("clock back: no transaction is earlier than the last one", made >= later, made)
    iat = claims(back)["iat"]
    stage.check("clock back: a token is not from the future", began <= iat < began + 3_600, f"{iat}")
    stage.again()
    stage.stays_ended("clock back, after a restart", stage.ended)
    step("-65m", 401, 401, 200, 200)  # Tokens from the future.
    stage.stays_ended("clock an hour behind", stage.ended)


def one(arguments, function, report):
    say(f"\n{function.__name__}: {function.__doc__.strip()}")
    with passing.folder(arguments.keep) as folder:
        stage = Stage(arguments, folder, report)
        try:
            function(stage)
        except Skipped as skipped:
            say(f"skipped: {skipped}")
            return function.__name__
        except (rig.Wrong, OSError, KeyError, subprocess.TimeoutExpired) as wrong:
            log = stage.gatepost.log()[-1500:] if stage.gatepost else ""
            report.check(function.__name__, False, f"{type(wrong).__name__}: {wrong}\n{log}")
        finally:
            stage.clean()
    return None


def main():
    arguments = passing.parser(__doc__)
    arguments.add_argument("--only", default="", help="faults whose name contains this")
    arguments = arguments.parse_args()
    report = passing.Report()
    chosen = [function for function in FAULTS if arguments.only in function.__name__]
    skipped = [name for name in [one(arguments, function, report) for function in chosen] if name]
    code = report.end()
    say(f"skipped: {', '.join(skipped) or 'none'}")
    return code


if __name__ == "__main__":
    passing.run(main)
