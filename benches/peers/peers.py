"""The peers: where each comes from, how it is started, and whether it does its job.

Owns finding the programs and the check that a peer answers rightly. A proxy that answers wrongly is
not measured: a fast no-op wins every benchmark.
"""

import glob
import http.client
import os
import re
import shutil
import subprocess

import configurations
import credentials as creds
import jobs
from machines import LOAD_CORE, PROXY_CORE, Process, held_port

TITLES = {"gatepost": "gatepost", "bare": "bare pingora", "haproxy": "HAProxy", "nginx": "nginx",
          "envoy": "Envoy"}


class Wrong(Exception):
    """What a peer answered wrongly."""


class Programs:
    """Where the programs are; None for those that are not installed."""

    def __init__(self, target):
        path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
        built = lambda name: os.path.join(target, "release", name)
        wheel = glob.glob(os.path.join(target, "peers", "envoy", "envoy", "_bin", "envoy*"))
        found = {
            "gatepost": built("gatepost"), "bare": built("bare_pingora"),
            "open_loop": built("open_loop"), "wrk": shutil.which("wrk", path=path),
            "haproxy": shutil.which("haproxy", path=path), "nginx": shutil.which("nginx", path=path),
            "envoy": next((one for one in wheel if os.access(one, os.X_OK)), None),
        }
        self.paths = {name: one if one and os.path.exists(one) else None for name, one in found.items()}

    def __getitem__(self, name):
        return self.paths[name]

    def versions(self, names):
        """What each says its version is."""
        flags, said = {"haproxy": "-v", "nginx": "-v", "wrk": "-v"}, {}
        for name in names:
            if name == "bare":
                continue
            run = subprocess.run([self[name], flags.get(name, "--version")], text=True, check=False,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            version = re.search(r"\d+\.\d+\.\d+[-\w.]*", run.stdout)
            said[name] = version.group(0) if version else "unknown"
        return said


class Upstream:
    """The one upstream of all peers."""

    def __init__(self, programs, folder):
        self.port, self.socket = held_port(), os.path.join(folder, "app.sock")
        config = configurations.write(folder, "nginx.conf", configurations.upstream(folder, self.port, self.socket))
        self.process = Process([programs["nginx"], "-c", config, "-p", folder], folder, self.port, LOAD_CORE)

    def stop(self):
        self.process.stop()


def start(name, programs, job, upstream, credentials, folder):
    """A peer set up for a job, listening."""
    os.makedirs(folder, exist_ok=True)
    port = held_port()
    if name == "bare":
        to = f"unix:{upstream.socket}" if job.unix else f"127.0.0.1:{upstream.port}"
        return Process([programs[name], f"127.0.0.1:{port}", to], folder, port, PROXY_CORE)
    text = getattr(configurations, name)(folder, job, port, upstream, credentials)
    suffix = {"gatepost": "yaml", "envoy": "json"}.get(name, "conf")
    config = configurations.write(folder, f"{name}.{suffix}", text)
    command = {
        "gatepost": ["run", "--config", config],
        "haproxy": ["-db", "-f", config],
        "nginx": ["-c", config, "-p", folder],
        "envoy": ["-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"],
    }[name]
    return Process([programs[name], *command], folder, port, PROXY_CORE)


def start_with_keys(programs, upstream, credentials, folder, count):
    """gatepost with many more API keys than a job has."""
    job = next(job for job in jobs.JOBS if job.name == "api_key")
    port = held_port()
    config = configurations.gatepost_with_keys(folder, job, port, upstream, credentials, count)
    return Process([programs["gatepost"], "run", "--config", config], folder, port, PROXY_CORE)


def ask(port, path, fields):
    """One request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": "api.example.com", **fields})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def expect(what, found, wanted):
    if found != wanted:
        raise Wrong(f"{what}: {found!r} instead of {wanted!r}")


def check(name, port, job, credentials):
    """Whether a peer does the job it is measured at. The baseline has none: it lets all pass."""
    if name == "bare" or job.demands == "none":
        expect("a request", ask(port, jobs.PATH, {})[0], 200)
        return
    expect("no credential", ask(port, jobs.PATH, {})[0], 401)
    if job.refuses:
        return
    if job.demands == "api_key":
        subject, key = credentials.api_keys[500]
        field, good = "X-API-Key", key
        bad = [creds.api_key(), creds.tampered(key)]
    else:
        subject, token = "user-1", credentials.token(job.algorithm)
        field, good = "Authorization", "Bearer " + token
        bad = ["Bearer " + creds.tampered(token), "Bearer " + creds.foreign_token(credentials)]
    for credential in bad:
        expect("a bad credential", ask(port, jobs.PATH, {field: credential})[0], 401)
    for time in ("first", "second"):
        fields = {field: good, "X-Auth-Subject": "root"}
        expect(f"a good credential, the {time} time", ask(port, jobs.PATH, fields)[0], 200)
        seen = ask(port, jobs.ECHO_PATH, fields)[1]
        expect("identity at the upstream", seen, f"{subject}||")
    for credential in bad:
        expect("a bad credential after a good one", ask(port, jobs.PATH, {field: credential})[0], 401)
