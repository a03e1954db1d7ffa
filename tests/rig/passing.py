"""A gatepost that passes everything on, in front of one upstream: for the rigs of the data path.

Not a program of its own. Owns the configuration, the access log by request and the frame of a
program: folder, binary, exit code. Reads no HTTP itself.
"""

import argparse
import contextlib
import json
import pathlib
import shutil
import signal
import sys
import tempfile

import rig
from rig import Wrong, eventually, must, say

CONFIG = """\
listeners: [{{ address: "unix:{folder}/public.sock"{listener} }}, {{ address: "127.0.0.1:0"{listener} }}]
admin: {{ address: "unix:{folder}/admin.sock" }}
access_log: {{ file: {folder}/access.log, format: json }}
connections: {{ {connections} }}
{top}
upstreams:
  app: {{ url: "{upstream}", timeouts: {{ {timeouts} }} }}
{upstreams}
defaults: {{ upstream: app }}
routes:
  - {{ path: /**, access: anonymous{route} }}
{routes}
"""
DEFAULTS = {"listener": "", "top": "", "timeouts": "connect: 5s", "upstreams": "", "route": "", "routes": "",
            "connections": "total: 20000, per_address: 20000"}


def gatepost(binary, folder, upstream, **parts):
    """The process, in front of `upstream`; `parts` fill the places of CONFIG."""
    config = CONFIG.format(**{**DEFAULTS, **parts, "folder": folder, "upstream": upstream})
    return rig.Gatepost(binary, folder, config)


def records(folder):
    """The lines of the access log."""
    with (folder / "access.log").open(errors="replace") as lines:
        return [json.loads(line) for line in lines]


def record(folder, request_id):
    """The one line of a request; it may be written shortly after the answer."""
    find = lambda: [line for line in records(folder) if line["request_id"] == request_id]
    found = eventually(f"the log line of {request_id}", find, 10)
    must(len(found) == 1, f"{len(found)} log lines of {request_id}")
    return found[0]


def parser(text):
    arguments = argparse.ArgumentParser(description=text.splitlines()[0])
    absolute = lambda path: str(pathlib.Path(path).resolve())
    arguments.add_argument("--binary", type=absolute, default=str(rig.ROOT / "target/debug/gatepost"))
    arguments.add_argument("--keep", action="store_true", help="keep the folder with configuration and logs")
    return arguments


@contextlib.contextmanager
def folder(keep=False):
    path = pathlib.Path(tempfile.mkdtemp(prefix="gatepost-rig-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        say(f"kept: {path}") if keep else shutil.rmtree(path, ignore_errors=True)


class Report:
    """Checks by name: prints each as it is decided, and gives the exit code."""

    def __init__(self):
        self.failed, self.count = [], 0

    def check(self, name, holds, note=""):
        self.count += 1
        if not holds:
            self.failed.append(name)
        say(f"{'ok   ' if holds else 'WRONG'} {name}{': ' if note else ''}{note}")
        return holds

    @contextlib.contextmanager
    def case(self, name):
        """One check that ends in Wrong, OSError or well; `note` of what is yielded is printed."""
        notes = []
        try:
            yield notes
        except (Wrong, OSError, rig.Gone, ValueError, KeyError, IndexError) as wrong:
            self.check(name, False, f"{type(wrong).__name__}: {wrong}"[:400])
        else:
            self.check(name, True, "; ".join(notes))

    def end(self):
        say(f"\n{self.count - len(self.failed)} of {self.count} checks passed")
        for name in self.failed:
            say(f"  WRONG {name}")
        return 1 if self.failed else 0


def run(main):
    """SIGTERM ends a program like Ctrl-C, so that what it started is ended as well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except Wrong as wrong:
        say(f"WRONG: {wrong}")
        sys.exit(1)
