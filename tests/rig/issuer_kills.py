"""A gatepost with an issuer, killed at random instants: nothing acknowledged is lost, nothing ended
comes back.

In each round callers create keys, personal access tokens and client secrets, take access tokens,
end some of each, and disable people, all over sockets, until SIGKILL; some kills come while it
starts. After the restart each credential answers as the last acknowledged change says: what was
created is accepted, what was ended is refused. Where the answer to a change was cut off, either is
right, and what is seen then must stay. At the end all of them are checked, the audit log and the
file. Only the standard library.

    cargo build --locked && python3 tests/rig/issuer_kills.py --kills 200
"""

import argparse
import collections
import http.client
import json
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time

import issuing
import rig
from rig import Wrong, must, say

CALLERS = 4
# A round is cut this long after its start at the latest, and this often while the process starts.
ROUND_MAX, AT_START = 0.3, 0.1
ACCEPTED, REFUSED, OPEN = "accepted", "refused", "open"
GONE = (OSError, http.client.HTTPException, ValueError)


class Thing:
    """A credential, and what is known about it. `trail` is for the report of a failure."""

    def __init__(self, kind, text, number, **more):
        self.kind, self.text, self.state, self.trail = kind, text, ACCEPTED, [f"created in round {number}"]
        self.more = more

    def turn(self, state, why):
        self.state = state
        self.trail.append(why)


class Caller(threading.Thread):
    """Changes and uses credentials until the process is gone."""

    def __init__(self, rounds, number):
        super().__init__(daemon=True)
        self.rounds, self.number, self.things = rounds, number, []
        self.choose = random.Random(f"{rounds.seed}:{rounds.number}:{number}")
        self.gatepost, self.client = rounds.gatepost, issuing.Client(rounds.folder, timeout=10)
        self.app, self.secrets, self.acknowledged, self.broken = None, [], collections.Counter(), None

    def run(self):
        try:
            self.login = f"p{self.rounds.number}-{self.number}"
            self.gatepost.made("/users", {"login": self.login})
            acts = [self.create, self.create, self.token, self.secret, self.end, self.end, self.pause]
            while True:
                self.choose.choice(acts)()
        except GONE:
            pass
        except Exception as error:  # For the main thread.
            self.broken = error

    def note(self, thing):
        self.things.append(thing)
        self.acknowledged[thing.kind] += 1

    def create(self):
        root, kind = self.choose.choice([("/keys", "key"), ("/tokens", "token")])
        made = self.gatepost.made(root, {"owner": self.login, "name": "k", "scopes": ["read"]})
        self.note(Thing(kind, made[kind], self.rounds.number, id=made["id"], root=root))

    def token(self):
        status, answer = self.client.token()
        must(status == 200, f"a token: {status} {answer}")
        self.note(Thing("access token", answer["access_token"], self.rounds.number))

    def secret(self):
        """Of an application of this caller; an application has two at most."""
        if self.app is None:
            body = {"name": self.login, "profile": "compat", "grants": ["client_credentials"], "scopes": ["read"]}
            made = self.gatepost.made("/apps", body)
            self.app = made["client_id"]
            self.note(Thing("client secret", made["client_secret"], self.rounds.number, client=self.app))
        elif len(self.secrets) < 1:
            made = self.gatepost.made(f"/apps/{self.app}/secrets")
            thing = Thing("client secret", made["client_secret"], self.rounds.number, client=self.app, id=made["id"])
            self.secrets.append(thing)
            self.note(thing)
        else:
            thing = self.secrets.pop()
            self.change(thing, "DELETE", f"/apps/{self.app}/secrets/{thing.more['id']}")

    def end(self):
        live = [thing for thing in self.things if thing.state == ACCEPTED and thing.kind != "client secret"]
        if not live:
            return
        thing = self.choose.choice(live)
        if thing.kind != "access token":
            self.change(thing, "DELETE", f"{thing.more['root']}/{thing.more['id']}")
            return
        thing.turn(OPEN, "revocation sent")
        status, text = self.client.revoke(thing.text)
        must(status == 200, f"a revocation: {status} {text}")
        thing.turn(REFUSED, "revoked")
        self.acknowledged["end"] += 1

    def change(self, thing, method, path):
        thing.turn(OPEN, f"{method} sent")
        status, answer = self.gatepost.call(method, path)
        must(status == 200, f"{method} {path}: {status} {answer}")
        thing.turn(REFUSED, f"{method} answered")
        self.acknowledged["end"] += 1

    def pause(self):
        """Disabling and enabling the person: keys and tokens return."""
        own = [thing for thing in self.things if thing.kind in ("key", "token") and thing.state == ACCEPTED]
        for turn, state in (("disable", REFUSED), ("enable", ACCEPTED)):
            for thing in own:
                thing.turn(OPEN, f"{turn} of its person sent")
            status, answer = self.gatepost.call("POST", f"/users/{self.login}/{turn}")
            must(status == 200, f"{turn}: {status} {answer}")
            for thing in own:
                thing.turn(state, f"{turn} of its person answered")
        # Ended all the same if the process ends here: what is open is settled after the restart.
        self.acknowledged["disable"] += 1


class Rounds:
    """The rounds, and everything that was acknowledged in them."""

    def __init__(self, arguments, folder, upstream):
        self.seed, self.folder, self.number = arguments.seed, folder, 0
        self.choose, self.things = random.Random(f"{arguments.seed}:instants"), []
        self.acknowledged, self.checked = collections.Counter(), 0
        self.gatepost = issuing.Gatepost(arguments.binary, folder, upstream.url, algorithm="ES256")

    def one(self, number):
        """Callers, a kill, perhaps a second one while it starts, and the look at what is left."""
        self.number = number
        callers = [Caller(self, caller) for caller in range(CALLERS)]
        for caller in callers:
            caller.start()
        time.sleep(self.choose.uniform(0.005, ROUND_MAX))
        self.gatepost.kill()
        for caller in callers:
            caller.join(30)
            must(not caller.is_alive(), "a caller hangs")
            if caller.broken:
                raise caller.broken
            self.things += caller.things
            self.acknowledged.update(caller.acknowledged)
        if self.choose.random() < AT_START:
            self.kill_at_start()
        self.gatepost.start()
        recent = [thing for caller in callers for thing in caller.things]
        older = self.choose.sample(self.things, min(20, len(self.things)))
        self.check(recent + older)

    def kill_at_start(self):
        killer = threading.Timer(self.choose.uniform(0, 0.15), lambda: self.gatepost.child.kill())
        killer.start()
        try:
            self.gatepost.start()
        except Wrong:
            must(self.gatepost.child.wait() == -signal.SIGKILL, f"gatepost does not start: {self.gatepost.log()[-2000:]}")
        killer.join()
        self.gatepost.kill()

    def check(self, things):
        client = issuing.Client(self.folder)
        for thing in things:
            seen = self.state(client, thing)
            self.checked += 1
            if thing.state == OPEN:
                thing.turn(seen, f"{seen} after the kill of round {self.number}")
            must(seen == thing.state, f"round {self.number}: a {thing.kind} is {seen}, right is {thing.state}: {thing.trail}")
        client.close()

    def state(self, client, thing):
        if thing.kind == "client secret":
            status = client.token(thing.more["client"], thing.text)[0]
        else:
            status = client.api(thing.text)
        must(status in (200, 401), f"{status} for a {thing.kind}")
        return ACCEPTED if status == 200 else REFUSED

    def end(self):
        """All of it once more, the audit log, and the file."""
        self.check(self.things)
        self.gatepost.stop()
        checked = self.gatepost.command("store", "check")
        must(checked.returncode == 0, f"store check: {checked.stdout} {checked.stderr}")
        store = issuing.connect(self.gatepost.store)
        (lines,) = store.execute("SELECT count(*) FROM audit WHERE act = 'token.issue'").fetchone()
        store.close()
        must(lines >= self.acknowledged["access token"], f"{lines} lines in the audit log for {self.acknowledged}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    absolute = lambda path: str(pathlib.Path(path).resolve())
    parser.add_argument("--binary", type=absolute, default=str(rig.ROOT / "target/debug/gatepost"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments = parser.parse_args()
    say(f"seed {arguments.seed}")
    with tempfile.TemporaryDirectory(prefix="gatepost-kills-") as name:
        folder = pathlib.Path(name)
        upstream, rounds = rig.Upstream(folder), None
        try:
            rounds = Rounds(arguments, folder, upstream)
            for number in range(arguments.kills):
                rounds.one(number)
            rounds.end()
        except Wrong as wrong:
            say(f"WRONG: {wrong}\nagain: --seed {arguments.seed} --kills {arguments.kills}")
            sys.exit(1)
        finally:
            upstream.kill()
            if rounds:
                rounds.gatepost.kill()
    ended = sum(thing.state == REFUSED for thing in rounds.things)
    say(f"{arguments.kills} kills; acknowledged: {json.dumps(rounds.acknowledged)}")
    say(f"{len(rounds.things)} credentials, {ended} of them refused at the end; {rounds.checked} looks, all right")


if __name__ == "__main__":
    main()
