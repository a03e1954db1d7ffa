"""`make bench-variants`: gatepost beside itself, with one thing done another way.

Owns the list of choices (allocator, scheduling, buffer sizes) and building each: a copy of the
sources under `target/variants` in which one line is another. What is compared runs in interleaved
rounds, as in `make bench-peers`. Never changes the tree, and never says what to choose.
"""

import argparse
import ctypes.util
import dataclasses
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import configurations
import measure
import peers
from credentials import Credentials
from jobs import JOBS, fields
from load import Broken, Load
from machines import LOAD_CORE, PROXY_CORE, NotStarted, Process, cpu_times, facts, held_port, say, stolen_share

WARM_SECONDS = 1
LOG_SECONDS = 0.3


@dataclasses.dataclass(frozen=True)
class Variant:
    name: str
    # A line of the sources: file, what it is, what it becomes. None: as it is.
    edit: tuple = None
    # Built without an allocator of its own; `preload` is the library that takes the system's place.
    system: bool = False
    preload: str = None
    threads: int = 1

    @property
    def build(self):
        """The name of its program, which variants share that differ in how they are run alone."""
        made = f"{self.edit} {self.system}"
        return f"gatepost-{hashlib.sha256(made.encode()).hexdigest()[:12]}"


NO_STEALING = ("src/serve/mod.rs", "        ..ServerConf::default()\n",
               "        work_stealing: false,\n        ..ServerConf::default()\n")
read_bytes = lambda count: ("src/serve/downstream/connection/mod.rs", "const READ_BYTES: usize = 4096;", f"const READ_BYTES: usize = {count};")
gather = lambda millis: ("src/serve/observe/access_log/writer.rs", "const GATHER_MAX: Duration = Duration::from_millis(10);",
                         f"const GATHER_MAX: Duration = Duration::from_millis({millis});")
GROUPS = {
    "allocator": [Variant("mimalloc (as released)"), Variant("the system's (glibc)", system=True),
                  Variant("jemalloc", system=True, preload="jemalloc"),
                  Variant("tcmalloc", system=True, preload="tcmalloc_minimal")],
    "scheduling": [Variant("work stealing, 1 thread (as released)"),
                   Variant("a runtime for each thread, 1 thread", edit=NO_STEALING),
                   Variant("work stealing, 2 threads", threads=2),
                   Variant("a runtime for each thread, 2 threads", edit=NO_STEALING, threads=2)],
    "head": [Variant("reads of 4 KiB (as released)"), Variant("reads of 1 KiB", edit=read_bytes(1024)),
             Variant("reads of 16 KiB", edit=read_bytes(16384))],
    "log": [Variant("lines gathered for 10 ms (as released)"), Variant("for 1 ms", edit=gather(1)),
            Variant("for 100 ms", edit=gather(100))],
}


def build(variant, folder):
    """The program of a variant, and what is preloaded into it; None where it is not installed."""
    library = variant.preload and ctypes.util.find_library(variant.preload)
    if variant.preload and not library:
        return None
    program = os.path.join(folder, variant.build)
    if not os.path.exists(program):
        sources = os.path.join(folder, "src-of", variant.build)
        shutil.rmtree(sources, ignore_errors=True)
        shutil.copytree(".", sources, ignore=lambda path, names: [
            name for name in names if path == "." and name not in ("src", "benches", "Cargo.toml", "Cargo.lock", "config")])
        if variant.edit:
            change(os.path.join(sources, variant.edit[0]), *variant.edit[1:])
        features = ["--no-default-features", "--features", "server"] if variant.system else []
        # Without link-time optimisation: all are compared with each other alone.
        subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "gatepost", *features], cwd=sources, check=True,
                       env=os.environ | {"CARGO_TARGET_DIR": os.path.abspath(os.path.join(folder, "target")),
                                         "CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"})
        shutil.copy(os.path.join(folder, "target", "release", "gatepost"), program)
        shutil.rmtree(sources)
    return [*(["env", f"LD_PRELOAD={library}"] if library else []), os.path.abspath(program)]


def change(path, old, new):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text.count(old) != 1:
        sys.exit(f"bench-variants: {path} has not one line {old.strip()!r}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


def start(variant, command, job, upstream, credentials, folder):
    os.makedirs(folder, exist_ok=True)
    port = held_port()
    config = json.loads(configurations.gatepost(folder, job, port, upstream, credentials)) | {"threads": variant.threads}
    path = configurations.write(folder, "gatepost.yaml", json.dumps(config))
    core = PROXY_CORE if variant.threads == 1 else f"{LOAD_CORE},{PROXY_CORE}"
    process = Process([*command, "run", "--config", path], folder, port, core)
    peers.check("gatepost", port, job, credentials)
    return process


def compare(job, variants, commands, arguments, upstream, credentials, folder):
    """Rounds of all variants, one after the other: figures of each, by round."""
    running, found = {}, {variant.name: [] for variant in variants}
    load = Load({"wrk": shutil.which("wrk"), "open_loop": arguments.open_loop}, job, credentials, folder)
    try:
        for number, variant in enumerate(variants):
            room = os.path.join(folder, job.name, str(number))
            running[variant.name] = start(variant, commands[variant], job, upstream, credentials, room)
            load.closed(running[variant.name].port, WARM_SECONDS)
        for _ in range(arguments.rounds):
            for name, process in running.items():
                figures = measure.per_request(process.pid, lambda: load.closed(process.port, arguments.seconds))
                figures |= {f"open_{key}": value for key, value in
                            load.open(process.port, arguments.seconds, arguments.rate).items()}
                found[name].append(figures)
                time.sleep(LOG_SECONDS if job.logs else 0)
        idle = {}
        for name, process in running.items():
            idle[name] = (measure.resident_kb(process.pid) / 1e3,
                          measure.idle_connection_bytes(process, fields(job, credentials)) / 1e3 if not job.refuses else None)
    finally:
        for process in running.values():
            process.stop()
    return found, idle


def table(job, variants, found, idle):
    lines = [f"| {job.title} | CPU µs a request | of the first, quartiles | p99 µs at a fixed rate | resident MB after | kB an idle connection |",
             "|---|---|---|---|---|---|"]
    first = [figures["cpu_us"] for figures in found[variants[0].name]]
    for variant in variants:
        rounds = found[variant.name]
        mine = [figures["cpu_us"] for figures in rounds]
        low, middle, high = statistics.quantiles([one / other for one, other in zip(mine, first)], n=4, method="inclusive")
        resident, connection = idle[variant.name]
        lines.append(f"| {variant.name} | {statistics.median(mine):.1f} | {middle:.2f} ({low:.2f} to {high:.2f}) "
                     f"| {statistics.median(figures['open_p99_us'] for figures in rounds):,.0f} | {resident:.1f} "
                     f"| {'' if connection is None else f'{connection:.1f}'} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="target/variants")
    parser.add_argument("--open-loop", default="target/release/open_loop")
    parser.add_argument("--groups", default=" ".join(GROUPS))
    parser.add_argument("--jobs", default="full api_key")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rate", type=int, default=4000)
    parser.add_argument("--build-only", action="store_true")
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    chosen = {group: GROUPS[group] for group in arguments.groups.split()}
    commands = {variant: build(variant, arguments.folder) for group in chosen.values() for variant in group}
    if arguments.build_only:
        return
    times, folder = cpu_times(), tempfile.mkdtemp(prefix="gatepost-variants-")
    programs = peers.Programs(os.path.abspath("target"))
    upstream, credentials = peers.Upstream(programs, folder), Credentials()
    try:
        for group, variants in chosen.items():
            for variant in [variant for variant in variants if not commands[variant]]:
                say(f"SKIPPED: {variant.name}: its library is not installed")
            variants = [variant for variant in variants if commands[variant]]
            for job in (job for job in JOBS if job.name in arguments.jobs.split()):
                room = os.path.join(folder, group)
                os.makedirs(room, exist_ok=True)
                try:
                    print("\n".join([*table(job, variants, *compare(job, variants, commands, arguments, upstream, credentials, room)), ""]), flush=True)
                except (NotStarted, peers.Wrong, Broken) as error:
                    say(f"SKIPPED: {group}, {job.title}: {error}")
    finally:
        upstream.stop()
        shutil.rmtree(folder, ignore_errors=True)
    known = facts()
    print(f"{known['cpu']}, {known['cores']} cores, kernel {known['kernel']}; {stolen_share(times, cpu_times()):.1%} of the time stolen by other guests; "
          f"{arguments.rounds} rounds of {arguments.seconds} s, open loop {arguments.rate} requests a second")


if __name__ == "__main__":
    main()
