"""A million API keys: what they cost a running gatepost, against the aims.

Writes a key file of JSON Lines (the same one for the same --seed), starts the release binary on
it, and prints: time from start to ready; memory when steady and at most while the file is replaced
and read again; the slowest request during that against calm; and what a change of a small file
beside the large one costs. Only the standard library. Exit code 1 when an aim is missed.

    cargo build --release --locked && python3 tests/rig/million.py
"""

import argparse
import hashlib
import json
import os
import pathlib
import platform
import sys
import tempfile
import threading
import time

import rig

AIMS = {"steady_mb": 150.0, "peak_ratio": 2.2, "load_s": 3.0, "slower_ms": 50.0}
EVERY = 1000  # One key in this number is used.

CONFIG = """\
listeners: [{{ address: "unix:{folder}/public.sock" }}]
admin: {{ address: "unix:{folder}/admin.sock" }}
access_log: {{ file: {folder}/access.log }}
upstreams: {{ app: {{ url: "{upstream}" }} }}
api_keys: {{ header: X-API-Key, files: [keys.jsonl, few.jsonl] }}
defaults: {{ upstream: app }}
routes: [{{ path: /**, access: {{ scopes: [read] }} }}]
"""


def line(seed, n, version):
    """One key; the digests of those that are never used are of nothing in particular."""
    used = n % EVERY == 0
    text = rig.api_key(seed, n) if used else f"{seed}:{n}"
    if n == version:
        text = f"changed:{seed}:{n}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (
        f'{{"id":"k-{n:012}","name":"client {n}","digest":"sha256:{digest}",'
        f'"scopes":["read"],"expires":"20{30 + n % 60}-01-01T00:00:00Z"}}\n'
    )


def write_keys(path, seed, count, version):
    """Replaces the file as a whole; `version` is a key that changes."""
    new = path.with_suffix(".new")
    with new.open("w") as file:
        file.writelines(line(seed, n, version) for n in range(count))
    new.rename(path)


class Caller(threading.Thread):
    """Asks one thing after the other and keeps how long each answer took."""

    def __init__(self, folder, keys):
        super().__init__(daemon=True)
        self.connection = rig.UnixConnection(folder / "public.sock")
        self.keys, self.took, self.wrong, self.stop = keys, [], 0, False

    def run(self):
        turn = 0
        while not self.stop:
            turn = (turn + 1) % len(self.keys)
            begin = time.perf_counter()
            self.connection.request("GET", "/x", headers={"X-API-Key": self.keys[turn]})
            answer = self.connection.getresponse()
            answer.read()
            self.took.append((begin, time.perf_counter() - begin))
            self.wrong += answer.status != 200
            time.sleep(0.001)

    def slowest(self, begin, end):
        return 1000 * max(took for at, took in list(self.took) if begin <= at + took and at <= end)


def reload(gatepost):
    begin = time.perf_counter()
    status, answer = gatepost.reload()
    if status != 200:
        sys.exit(f"reload: {status} {answer[:500]}")
    return begin, time.perf_counter()


def measure(arguments, folder, upstream):
    keys, few = folder / "keys.jsonl", folder / "few.jsonl"
    write_keys(keys, arguments.seed, arguments.keys, None)
    write_keys(few, "few", 10, None)
    few.write_text(few.read_text().replace('"k-', '"few-'))
    found = {"file_mb": keys.stat().st_size / 2**20}
    begin = time.perf_counter()
    gatepost = rig.Gatepost(arguments.binary, folder, CONFIG.format(folder=folder, upstream=upstream))
    try:
        found["load_s"] = time.perf_counter() - begin
        used = [rig.api_key(arguments.seed, n) for n in range(EVERY, arguments.keys, EVERY)]
        caller = Caller(folder, used or [rig.api_key(arguments.seed, 0)])
        caller.start()
        time.sleep(arguments.calm)
        found["steady_mb"] = rig.memory(gatepost.pid)
        peaks, reloads, slower, small, after = [], [], [], [], []
        for version in range(1, arguments.rounds + 1):
            # The next version is written beforehand: writing it is not what is measured.
            write_keys(folder / "next.jsonl", arguments.seed, arguments.keys, version)
            calm_begin = time.perf_counter()
            time.sleep(arguments.calm)
            calm = caller.slowest(calm_begin, time.perf_counter())
            pathlib.Path(f"/proc/{gatepost.pid}/clear_refs").write_text("5")
            (folder / "next.jsonl").rename(keys)
            begin, end = reload(gatepost)
            reloads.append(end - begin)
            slower.append(caller.slowest(begin, end) - calm)
            peaks.append(rig.memory(gatepost.pid, "VmHWM"))
            few.write_text(few.read_text() + f"# {version}\n")
            begin, end = reload(gatepost)
            small.append(end - begin)
            time.sleep(arguments.calm)
            after.append(rig.memory(gatepost.pid))
        caller.stop = True
        caller.join()
        found |= {
            "steady_after_reloads_mb": max(after), "peak_mb": max(peaks),
            "peak_ratio": max(peaks) / found["steady_mb"], "reload_s": max(reloads),
            "small_file_reload_s": max(small), "slower_ms": max(slower),
            "requests": len(caller.took), "wrong": caller.wrong,
        }
        found["steady_mb"] = max(found["steady_mb"], max(after))
        gatepost.stop()
        return found
    finally:
        gatepost.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(rig.ROOT / "target/release/gatepost"))
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calm", type=float, default=3.0, help="seconds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        upstream = rig.Upstream(folder)
        try:
            found = measure(arguments, folder, upstream.url)
        finally:
            upstream.kill()
    print(f"{os.cpu_count()} cores, {platform.machine()}, {arguments.keys} keys")
    missed = found["wrong"] > 0
    for name, value in found.items():
        aim = AIMS.get(name)
        verdict = "" if aim is None else f"  at most {aim:g}: {'yes' if value <= aim else 'NO'}"
        missed |= aim is not None and value > aim
        print(f"{name:24}{value:12.3f}{verdict}" if isinstance(value, float) else f"{name:24}{value:12}")
    print(json.dumps(found))
    sys.exit(missed)


if __name__ == "__main__":
    main()
