"""`make bench-peers`: gatepost beside its peers, in one run, in interleaved rounds.

Owns the arguments and the order of things: what is compared runs one after the other, round by
round, so that a change of the machine affects all alike. A peer that is not installed or answers
wrongly is left out, loudly.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import time

import measure
import peers
import report
from credentials import Credentials
from jobs import JOBS, fields
from load import Broken, Load
from machines import LOAD_CORE, PROXY_CORE, NotStarted, cpu_times, facts, say, stolen_share

WARM_SECONDS = 1
# What a log may hold back: seconds, and lines that do not fill a write yet.
LOG_SECONDS, LINES_BUFFERED = 0.3, 2_000
MANY_KEYS = 1_000_000


class Run:
    """One run: what is compared, and what was found."""

    def __init__(self, arguments, programs, folder):
        self.arguments, self.programs, self.folder = arguments, programs, folder
        self.results, self.skipped = report.Results(), []
        # Of the access logs of the job under way, by peer.
        self.lines = {}
        self.credentials = Credentials()
        self.upstream = peers.Upstream(programs, self.room("upstream"))

    def room(self, *names):
        path = os.path.join(self.folder, *names)
        os.makedirs(path, exist_ok=True)
        return path

    def skip(self, what):
        say(f"\nSKIPPED: {what}\n")
        self.skipped.append(what)

    def start(self, job):
        """Every installed peer of a job that answers correctly."""
        running = {}
        for name in job.peers:
            if name not in self.arguments.peers:
                continue
            try:
                process = peers.start(name, self.programs, job, self.upstream, self.credentials,
                                      self.room(job.name, name))
            except NotStarted as error:
                self.skip(f"{job.name}, {peers.TITLES[name]}: it did not start")
                say(str(error))
                continue
            try:
                peers.check(name, process.port, job, self.credentials)
                running[name] = process
            except (peers.Wrong, OSError) as error:
                process.stop()
                self.skip(f"{job.name}, {peers.TITLES[name]}: it answers wrongly: {error}")
        return running

    def job(self, job):
        say(f"== {job.title}")
        running, self.lines = self.start(job), {}
        try:
            load = Load(self.programs, job, self.credentials, self.room(job.name))
            warm = WARM_SECONDS * (4 if job.demands == "rotating" else 1)
            for process in running.values():
                load.closed(process.port, warm)
            for turn in range(1, self.arguments.rounds + 1):
                for name, process in running.items():
                    self.turn(job, name, process, turn, load)
                medians = (f"{name} {self.results.median(job.name, name, 'cpu_us') or 0:.1f}" for name in running)
                say(f"   {turn:2}: {', '.join(medians)} us")
            self.check_logs(job, running)
        finally:
            for process in running.values():
                process.stop()

    def turn(self, job, name, process, turn, load):
        try:
            found = measure.per_request(process.pid, lambda: load.closed(process.port, self.arguments.seconds))
            self.results.add(job.name, name, turn, found)
            if job.logs:
                time.sleep(LOG_SECONDS)
                self.count_lines(job, name)
            if self.arguments.rate and job.demands != "rotating" and turn % 2:
                late = load.open(process.port, self.arguments.seconds, self.arguments.rate)
                figures = {f"open_{part}_us": late[f"{part}_us"] for part in ("p50", "p99", "p999")}
                self.results.add(job.name, name, turn, figures)
        except Broken as error:
            self.skip(f"{job.name}, {peers.TITLES[name]}, round {turn}: {error}")

    def count_lines(self, job, name):
        """Takes what a peer has logged so far out of its log and counts it."""
        for log in ("access.log", "output.log"):
            path = os.path.join(self.room(job.name, name), log)
            if os.path.exists(path):
                with open(path, "rb") as file:
                    pieces = iter(lambda: file.read(1 << 20), b"")
                    self.lines[name] = self.lines.get(name, 0) + sum(piece.count(b"\n") for piece in pieces)
                os.truncate(path, 0)

    def check_logs(self, job, running):
        """Who was to log has logged: a line for every request, but for what still is in a buffer."""
        for name in running if job.logs else ():
            if name == "bare":
                continue
            requests = sum(self.results.values(job.name, name, "requests"))
            if self.lines[name] < requests * 0.99 - LINES_BUFFERED:
                self.skip(f"{job.name}, {peers.TITLES[name]}: {self.lines[name]} lines of log for {requests} "
                          "requests: its figures do not count")
                self.results.rows = [row for row in self.results.rows if row[:2] != (job.name, name)]

    def memory(self):
        """At rest in the full job's configuration, and what an idle connection adds."""
        say("== memory")
        full = next(job for job in JOBS if job.name == "full")
        plain = next(job for job in JOBS if job.name == "pass")
        for name in self.arguments.peers:
            job = full if name in full.peers else plain
            for turn in (1, 2, 3):
                try:
                    process = peers.start(name, self.programs, job, self.upstream, self.credentials,
                                          self.room("memory", name))
                except NotStarted as error:
                    self.skip(f"memory, {peers.TITLES[name]}: it did not start: {error}")
                    break
                try:
                    time.sleep(0.5)
                    rest = measure.resident_kb(process.pid) * 1024 / 1e6
                    idle = measure.idle_connection_bytes(process, fields(job, self.credentials)) / 1e3
                    self.results.add("memory", name, turn, {"rest_mb": rest, "idle_connection_kb": idle})
                except OSError as error:
                    self.skip(f"memory, {peers.TITLES[name]}: {error}")
                finally:
                    process.stop()
        if "gatepost" in self.arguments.peers:
            self.many_keys()

    def many_keys(self):
        """A million keys, in the form of key files that is read line by line."""
        folder = self.room("memory", "keys")
        try:
            process = peers.start_with_keys(self.programs, self.upstream, self.credentials, folder, MANY_KEYS)
        except NotStarted as error:
            reason = str(error).replace(self.folder, "")
            return self.skip(f"memory with {MANY_KEYS:,} API keys: gatepost does not take them: {reason.strip()[:200]}")
        try:
            rest = measure.resident_kb(process.pid) * 1024 / 1e6
            self.results.add("memory", "gatepost", 1, {"million_keys_mb": rest})
        finally:
            process.stop()


def parse(arguments):
    names = [job.name for job in JOBS] + ["memory"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True, help="cargo's target folder")
    parser.add_argument("--runs", required=True, help="where the folder of the run is made")
    parser.add_argument("--peers", default=" ".join(peers.TITLES), help="which, separated by spaces")
    parser.add_argument("--jobs", default=" ".join(names), help="which, separated by spaces")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=5, help="of load, for each measurement")
    parser.add_argument("--rate", type=int, default=4000, help="of the open loop, in every other round, requests a second; 0: none")
    parsed = parser.parse_args(arguments)
    parsed.peers, parsed.jobs = parsed.peers.split(), parsed.jobs.split()
    for given, known in ((parsed.peers, list(peers.TITLES)), (parsed.jobs, names)):
        unknown = [one for one in given if one not in known]
        if unknown:
            parser.error(f"{' '.join(unknown)} is not known; there is: {' '.join(known)}")
    return parsed


def command(arguments):
    return (f"make bench-peers PEERS=\"{' '.join(arguments.peers)}\" JOBS=\"{' '.join(arguments.jobs)}\" "
            f"ROUNDS={arguments.rounds} SECONDS={arguments.seconds} RATE={arguments.rate}")


def record(run, known):
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(.*?\)|cpu|processor|@.*", "", known["cpu"].lower())).strip("-")
    folder = os.path.join(run.arguments.runs, f"{time.strftime('%Y-%m-%d')}-{slug}")
    os.makedirs(folder, exist_ok=True)
    text = report.markdown(run.results, known, run.skipped, command(run.arguments))
    for name, content in (("README.md", text), ("cpu.svg", report.svg(run.results))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(content)
    report.write_csv(os.path.join(folder, "results.csv"), run.results)
    return folder


def main():
    arguments = parse(sys.argv[1:])
    programs = peers.Programs(os.path.abspath(arguments.target))
    for needed in ("gatepost", "wrk", "nginx", "open_loop"):
        if not programs[needed]:
            sys.exit(f"bench-peers: {needed} is needed and not there")
    if (os.cpu_count() or 1) <= max(PROXY_CORE, LOAD_CORE):
        sys.exit("bench-peers: two cores are needed: one for the proxy, one for the load")
    known, times = facts(), cpu_times()
    folder = tempfile.mkdtemp(prefix="gatepost-peers-")
    run = Run(arguments, programs, folder)
    try:
        for name in [name for name in arguments.peers if not programs[name]]:
            run.skip(f"{peers.TITLES[name]}: it cannot be had here")
            arguments.peers.remove(name)
        for job in (job for job in JOBS if job.name in arguments.jobs):
            run.job(job)
        if "memory" in arguments.jobs:
            run.memory()
    finally:
        run.upstream.stop()
        shutil.rmtree(folder, ignore_errors=True)
    known["load average"] = f"{known['load average']} before, {facts()['load average']} after"
    known["time stolen by other guests"] = f"{stolen_share(times, cpu_times()):.1%}"
    known |= programs.versions([*arguments.peers, "wrk"])
    print(f"{record(run, known)}\n\n" + "\n".join(report.goal_table(run.results) + [""] + report.cost_table(run.results)))


if __name__ == "__main__":
    main()
