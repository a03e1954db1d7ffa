"""`make profile`: where the instructions of a request go, gatepost beside bare pingora.

Owns counting under callgrind, which repeats on a busy machine: the whole of a request, and the parts
of it that are ours, each with all that it calls. Never says how long anything takes.
"""

import argparse
import os
import re
import socket
import subprocess
import tempfile
import time

import jobs
import machines
import peers
from credentials import Credentials

WARM_REQUESTS, REQUESTS, CONNECTIONS = 200, 1000, 4
DUMP_SECONDS_MAX = 30
# What is ours, by the function that holds it.
PARTS = [
    ("the decision", r"gatepost::decide::gate::Gate::admit"),
    ("the request for the upstream: strip, identity, forwarding", r"gatepost::decide::forward::request::RequestFields::write"),
    ("both ways between client and upstream", r"gatepost::serve::exchange::relay::Relay::poll"),
    ("metrics and access log", r"gatepost::serve::observe::Observers::record"),
    ("an answer of gatepost", r"gatepost::serve::exchange::answer::write"),
]


def wrapped(program, folder):
    """A program that starts another one under callgrind, not counting yet."""
    path, out = os.path.join(folder, "counted.sh"), os.path.join(folder, "callgrind.out")
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nexec valgrind --tool=callgrind --instr-atstart=no --dump-line=no "
                   f"--callgrind-out-file={out} {program} \"$@\"\n")
    os.chmod(path, 0o755)
    return path, out


def exchange(connections, request, count):
    for number in range(count):
        connection = connections[number % len(connections)]
        connection.sendall(request)
        if not connection.recv(65536).startswith(b"HTTP/1.1 "):
            raise OSError("an answer was not HTTP/1.1")


def control(pid, *arguments):
    subprocess.run(["callgrind_control", *arguments, str(pid)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def count(name, programs, job, upstream, credentials, folder):
    """What callgrind counted for `REQUESTS` requests, by function with all that it calls."""
    programs.paths[name], out = wrapped(programs[name], folder)
    process = peers.start(name, programs, job, upstream, credentials, os.path.join(folder, "peer"))
    head = [f"GET {jobs.PATH} HTTP/1.1", "Host: api.example.com",
            *(f"{field}: {value}" for field, value in jobs.fields(job, credentials).items()), "", ""]
    request = "\r\n".join(head).encode()
    try:
        connections = [socket.create_connection(("127.0.0.1", process.port)) for _ in range(CONNECTIONS)]
        exchange(connections, request, WARM_REQUESTS)
        control(process.pid, "-i", "on")
        exchange(connections, request, REQUESTS)
        control(process.pid, "-i", "off")
        control(process.pid, "-d")
        deadline = time.monotonic() + DUMP_SECONDS_MAX
        while not (os.path.exists(out + ".1") and os.path.getsize(out + ".1")):
            if time.monotonic() > deadline:
                raise OSError("callgrind wrote nothing")
            time.sleep(0.1)
    finally:
        process.stop()
    said = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out + ".1"],
                          text=True, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout
    lines = re.findall(r"^\s*([\d,]+) \(\s*[\d.]+%\)\s+(.*)$", said, re.MULTILINE)
    return [(int(number.replace(",", "")) // REQUESTS, what) for number, what in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True, help="cargo's target folder")
    parser.add_argument("--job", default="full", choices=[job.name for job in jobs.JOBS])
    arguments = parser.parse_args()
    machines.START_SECONDS_MAX = 120  # Everything is some fifty times slower.
    programs = peers.Programs(os.path.abspath(arguments.target))
    job = next(job for job in jobs.JOBS if job.name == arguments.job)
    credentials = Credentials()
    with tempfile.TemporaryDirectory(prefix="gatepost-profile-") as folder:
        upstream = peers.Upstream(programs, folder)
        try:
            found = {}
            for name in ("gatepost", "bare"):
                room = os.path.join(folder, name)
                os.makedirs(room)
                found[name] = count(name, programs, job, upstream, credentials, room)
        finally:
            upstream.stop()
    print(f"instructions of a request: {job.title}")
    for name, lines in found.items():
        print(f"{lines[0][0]:>9,}  {peers.TITLES[name]}, all of it")
    for title, pattern in PARTS:
        most = max((number for number, what in found["gatepost"] if re.search(pattern, what)), default=0)
        if most:
            print(f"{most:>9,}  of gatepost's: {title}")


if __name__ == "__main__":
    main()
