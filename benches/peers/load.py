"""The load on a peer.

Owns running the generators: wrk as fast as the peer goes (closed loop), and our own on a timetable
(open loop). Both share a core with the upstream, never with the peer.
"""

import json
import os
import subprocess

import configurations
import jobs
from machines import LOAD_CORE

CONNECTIONS = 64
HERE = os.path.dirname(os.path.abspath(__file__))


class Broken(Exception):
    """A measurement that does not count, and why."""


class Load:
    """The requests of one job, ready for both generators."""

    def __init__(self, programs, job, credentials, folder):
        self.programs, self.job = programs, job
        first = jobs.fields(job, credentials)
        many = [first]
        if job.demands == "rotating":
            many = [{"Authorization": "Bearer " + token} for token in credentials.rotating()]
        lines = ("\t".join(f"{name}: {value}" for name, value in
                           {"Host": "api.example.com", **fields}.items()) for fields in many)
        self.fields = configurations.write(folder, "fields.txt", "\n".join(lines) + "\n")
        head = [f"GET {jobs.PATH} HTTP/1.1", "Host: api.example.com",
                *(f"{name}: {value}" for name, value in many[0].items()), "", ""]
        self.request = configurations.write(folder, "request.txt", "\r\n".join(head))

    def closed(self, port, seconds):
        """As fast as it goes; what wrk counted."""
        command = [self.programs["wrk"], "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s",
                   "-s", os.path.join(HERE, "load.lua"),
                   f"http://127.0.0.1:{port}{jobs.PATH}", "--", self.fields]
        found = run(command, "RESULT ")
        wrong = found["requests"] - found["refused"] if self.job.refuses else found["refused"]
        # Bare pingora lets through what the job refuses; it is not asked to do that job.
        if wrong or found["broken"] > found["requests"] // 1000 or not found["requests"]:
            raise Broken(f"wrong answers: {found}")
        return found

    def open(self, port, seconds, rate):
        """At a fixed rate; latencies count from when a request should have left."""
        command = [self.programs["open_loop"], f"127.0.0.1:{port}", self.request,
                   str(self.job.status), str(CONNECTIONS), str(rate), str(seconds)]
        found = run(command, "")
        if found["errors"]:
            raise Broken(f"wrong answers: {found}")
        return found


def run(command, mark):
    done = subprocess.run(["taskset", "-c", str(LOAD_CORE), *command], text=True, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = [line for line in done.stdout.splitlines() if line.startswith(mark + "{")]
    if done.returncode or not lines:
        raise Broken(done.stdout[-500:])
    return json.loads(lines[-1][len(mark):])
