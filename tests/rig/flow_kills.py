"""A gatepost that is killed in the middle of redemptions and rotations.

In each round codes, device codes and rotating refresh tokens are prepared; then callers redeem and
rotate them over sockets, until SIGKILL. After the restart: what was acknowledged is in force, a code
or device code that gave a token gives no second one, and a refresh token whose rotation was cut off
or acknowledged gives the same successor, byte for byte. Only the standard library.

    cargo build --locked && python3 tests/rig/flow_kills.py --kills 200
"""

import argparse
import collections
import json
import pathlib
import random
import sys
import tempfile
import threading
import time

import issuing
import people
import rig
from rig import Wrong, must, say

CALLERS = 6
# Prepared for each caller and round; a person may enter five user codes.
CODES, DEVICES, TOKENS = 8, 4, 4
ROUND_MAX = 0.12


class Thing:
    """A form that the token endpoint redeems, and the answers that are known."""

    def __init__(self, kind, form):
        self.kind, self.form, self.sent, self.given = kind, form, False, []

    @property
    def open(self):
        """Sent, and the answer was cut off."""
        return self.sent and not self.given


class Caller(threading.Thread):
    """Redeems what was prepared until the process is gone."""

    def __init__(self, folder, things, choose):
        super().__init__(daemon=True)
        self.client, self.things, self.broken = issuing.Client(folder, timeout=10), things, None
        choose.shuffle(things)

    def run(self):
        try:
            for thing in self.things:
                thing.sent = True
                status, document = people.answer(self.client, thing.form)
                must(status == 200, f"a {thing.kind}: {status} {document}")
                thing.given.append(document)
        except people.GONE:
            pass
        except Exception as error:  # For the main thread.
            self.broken = error
        finally:
            self.client.close()


class Rounds:
    def __init__(self, arguments, folder, gatepost):
        self.choose, self.folder, self.gatepost = random.Random(arguments.seed), folder, gatepost
        self.seen, self.number = collections.Counter(), 0

    def one(self, number):
        self.number = number
        callers = [Caller(self.folder, self.prepared(caller), self.choose) for caller in range(CALLERS)]
        for caller in callers:
            caller.start()
        time.sleep(self.choose.uniform(0.002, ROUND_MAX))
        self.gatepost.kill()
        for caller in callers:
            caller.join(30)
            must(not caller.is_alive(), "a caller hangs")
            if caller.broken:
                raise caller.broken
        self.gatepost.start()
        client = issuing.Client(self.folder)
        things = [thing for caller in callers for thing in caller.things]
        self.seen["rounds with an answer cut off"] += any(thing.open for thing in things)
        for thing in things:
            if thing.sent:
                self.seen[f"{thing.kind} {'cut off' if thing.open else 'acknowledged'}"] += 1
                {"code": self.code, "device code": self.device, "refresh token": self.token}[thing.kind](client, thing)
        client.close()

    def prepared(self, caller):
        person, client = people.Person(self.folder, f"p-{caller}"), issuing.Client(self.folder)
        person.sign_in()
        things = [Thing("code", people.new_code(person)) for _ in range(CODES)]
        things += [Thing("device code", people.new_device(person, client)) for _ in range(DEVICES)]
        things += [Thing("refresh token", people.refresh_form(people.new_refresh_token(person, client))) for _ in range(TOKENS)]
        person.close()
        client.close()
        return things

    def accepted(self, client, thing, right=200):
        for document in thing.given:
            status = client.api(document["access_token"])
            must(status == right, f"round {self.number}: the token of a {thing.kind} gets {status}, right is {right}")

    def again(self, client, thing):
        """The same request twice more; at most one 200 over all."""
        for _ in range(2):
            status, document = people.answer(client, thing.form)
            if status == 200:
                thing.given.append(document)
                self.seen[f"{thing.kind} redeemed by the retry"] += 1
            else:
                must((status, document["error"]) == (400, "invalid_grant"), f"a retry of a {thing.kind}: {status} {document}")
            must(len(thing.given) <= 1, f"round {self.number}: a {thing.kind} gave {len(thing.given)} tokens")

    def code(self, client, thing):
        self.accepted(client, thing)
        self.again(client, thing)
        # The second use of a code revokes what the first gave.
        self.accepted(client, thing, 401)

    def device(self, client, thing):
        self.accepted(client, thing)
        self.again(client, thing)
        self.accepted(client, thing)

    def token(self, client, thing):
        self.accepted(client, thing)
        for _ in range(2):
            status, document = people.answer(client, thing.form)
            must(status == 200, f"round {self.number}: a retry of a rotation: {status} {document}")
            thing.given.append(document)
        successors = {document["refresh_token"] for document in thing.given}
        must(len(successors) == 1, f"round {self.number}: {len(successors)} successors of one refresh token")
        self.accepted(client, thing)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    absolute = lambda path: str(pathlib.Path(path).resolve())
    parser.add_argument("--binary", type=absolute, default=str(rig.ROOT / "target/debug/gatepost"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments = parser.parse_args()
    say(f"flows: seed {arguments.seed}")
    with tempfile.TemporaryDirectory(prefix="gatepost-flows-") as name:
        folder = pathlib.Path(name)
        upstream, application, gatepost = rig.Upstream(folder), people.Application(), None
        try:
            gatepost = people.gatepost(arguments.binary, folder, upstream, application)
            rounds = Rounds(arguments, folder, gatepost)
            for number in range(arguments.kills):
                rounds.one(number)
            gatepost.stop()
            checked = gatepost.command("store", "check")
            must(checked.returncode == 0, f"store check: {checked.stdout} {checked.stderr}")
        except Wrong as wrong:
            say(f"WRONG: {wrong}\nagain: --seed {arguments.seed} --kills {arguments.kills}")
            sys.exit(1)
        finally:
            upstream.kill()
            application.close()
            if gatepost:
                gatepost.kill()
    say(f"{arguments.kills} kills in redemptions and rotations: {json.dumps(rounds.seen, sort_keys=True)}")
    say("no code or device code gave two tokens, no refresh token two successors; what was acknowledged is in force")


if __name__ == "__main__":
    main()
