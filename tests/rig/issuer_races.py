"""Racers for codes, device codes and rotating refresh tokens, over sockets.

Each of COUNT codes, COUNT device codes and COUNT refresh tokens is sent on 16 connections at the
same time. A code and a device code give exactly one 200; the first loser of a code revokes what the
winner got; a refresh token gives one successor, the same bytes to each racer, and none of the
predecessors' successors lives beside it. Only the standard library.

    cargo build --locked && python3 tests/rig/issuer_races.py --count 1000
"""

import argparse
import collections
import json
import pathlib
import sys
import tempfile
import time
import urllib.parse

import issuing
import people
import rig
from rig import Wrong, must, say

RACERS = 16
# Of one person: the pages accept five user codes at once.
CODES_OF_A_PERSON = 5


class Racer:
    """One connection; a request is sent by one call and read by another."""

    def __init__(self, folder):
        self.connection = rig.UnixConnection(folder / "public.sock", 60)

    def send(self, body):
        fields = {"Host": issuing.HOST, "Content-Type": "application/x-www-form-urlencoded"}
        self.connection.request("POST", "/oauth/token", body=body, headers=fields)

    def read(self):
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


class Races:
    def __init__(self, folder):
        self.folder, self.client = folder, issuing.Client(folder)
        self.racers = [Racer(folder) for _ in range(RACERS)]
        self.outcomes = collections.Counter()
        for racer in self.racers:
            racer.connection.connect()

    def race(self, form):
        """The answers to the same request on all connections."""
        body = urllib.parse.urlencode(form)
        for racer in self.racers:
            racer.send(body)
        answers = [racer.read() for racer in self.racers]
        good = [document for status, document in answers if status == 200]
        errors = collections.Counter(f"{status} {document['error']}" for status, document in answers if status != 200)
        return good, errors

    def code(self, person):
        good, errors = self.race(people.new_code(person))
        must(len(good) == 1, f"a code gave {len(good)} answers with 200")
        must(errors == {"400 invalid_grant": RACERS - 1}, f"losers of a code: {dict(errors)}")
        must(self.client.api(good[0]["access_token"]) == 401, "a loser did not revoke the token of the winner")
        form = {"grant_type": "refresh_token", "refresh_token": good[0]["refresh_token"], "client_id": "web", "client_secret": people.WEB_SECRET}
        status, document = people.answer(self.client, form)
        must((status, document.get("error")) == (400, "invalid_grant"), f"the refresh token of the winner: {status} {document}")

    def device(self, person):
        form = people.new_device(person, self.client)
        good, errors = self.race(form)
        must(len(good) == 1, f"a device code gave {len(good)} answers with 200")
        must(set(errors) <= {"400 invalid_grant", "400 slow_down", "400 expired_token"}, f"losers of a device code: {dict(errors)}")
        must(self.client.api(good[0]["access_token"]) == 200, "the token of the winner is refused")
        status, document = people.answer(self.client, form)
        must(status == 400, f"a used device code: {status} {document}")
        self.outcomes.update({f"device losers: {error}": count for error, count in errors.items()})

    def refresh(self, person):
        first = people.new_refresh_token(person, self.client)
        good, errors = self.race(people.refresh_form(first))
        must(len(good) == RACERS, f"{len(good)} racers with a successor, others: {dict(errors)}")
        successors = {document["refresh_token"] for document in good}
        must(len(successors) == 1 and first not in successors, f"{len(successors)} successors")
        (successor,) = successors
        for document in (good[0], good[-1]):
            must(self.client.api(document["access_token"]) == 200, "an access token of a racer is refused")
        # The successor is used by 16 as well; after that the first is a copy, and its use ends all.
        good, errors = self.race(people.refresh_form(successor))
        must(len(good) == RACERS and len({document["refresh_token"] for document in good}) == 1, f"second rotation: {dict(errors)}")
        status, document = people.answer(self.client, people.refresh_form(first))
        must((status, document.get("error")) == (400, "invalid_grant"), f"a replay: {status} {document}")
        must(self.client.api(good[0]["access_token"]) == 401, "a replay did not end the family")


def run(folder, count):
    races, started = Races(folder), time.monotonic()
    for number in range(0, count, CODES_OF_A_PERSON):
        person = people.Person(folder, f"person-{number}")
        person.sign_in()
        for kind in (races.code, races.device, races.refresh):
            for _ in range(min(CODES_OF_A_PERSON, count - number)):
                kind(person)
        person.close()
    took = time.monotonic() - started
    say(f"{count} codes, {count} device codes and {count} refresh tokens (two rotations each) x {RACERS} racers in {took:.0f} s")
    say("each code and device code gave one 200; the first loser of a code revoked what the winner got;")
    say(f"each rotation gave one successor to all {RACERS}; a replay ended its family. {json.dumps(races.outcomes)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    absolute = lambda path: str(pathlib.Path(path).resolve())
    parser.add_argument("--binary", type=absolute, default=str(rig.ROOT / "target/debug/gatepost"))
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gatepost-races-") as name:
        folder = pathlib.Path(name)
        upstream, application, gatepost = rig.Upstream(folder), people.Application(), None
        try:
            gatepost = people.gatepost(arguments.binary, folder, upstream, application)
            run(folder, arguments.count)
            gatepost.stop()
            checked = gatepost.command("store", "check")
            must(checked.returncode == 0, f"store check: {checked.stdout} {checked.stderr}")
        except Wrong as wrong:
            say(f"WRONG: {wrong}")
            sys.exit(1)
        finally:
            upstream.kill()
            application.close()
            if gatepost:
                gatepost.kill()


if __name__ == "__main__":
    main()
