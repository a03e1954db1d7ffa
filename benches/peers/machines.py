"""The machine and the processes on it.

Owns facts about the machine (never a path or a name of it), free ports, and processes: each is
pinned to a core, known by its id and ended by that id. Never knows what a process is for.
"""

import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time

PROXY_CORE, LOAD_CORE = 1, 0
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 5


def say(text):
    print(text, file=sys.stderr, flush=True)


def facts():
    """What a reader needs to judge the figures."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        model = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
    return {
        "cpu": model.group(1).strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load average": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def stolen_share(before, after):
    """The share of time that another guest had our cores, between two `cpu_times`."""
    spent = [late - early for early, late in zip(before, after)]
    return spent[7] / max(1, sum(spent[:8]))


def cpu_times():
    with open("/proc/stat", encoding="ascii") as file:
        return [int(word) for word in file.readline().split()[1:]]


# Bound until this program ends, so that the kernel picks their ports for no other socket.
HELD = []


def held_port():
    """A port of loopback for a program to listen on.

    Its socket is bound with SO_REUSEADDR and does not listen: a program that names the port, with
    SO_REUSEADDR as servers do, may listen there.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    HELD.append(held)
    return held.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class NotStarted(Exception):
    """A process that ended, or did not listen in time; the text is what it said last."""


class Process:
    """A pinned process that listens on a port."""

    def __init__(self, command, folder, port, core):
        self.port = port
        self.output = os.path.join(folder, "output.log")
        with open(self.output, "ab") as output:
            self.child = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )
        self._wait()

    @property
    def pid(self):
        # taskset replaces itself by the command, so the id stays.
        return self.child.pid

    def _wait(self):
        give_up = time.monotonic() + START_SECONDS_MAX
        while not answers(self.port):
            if self.child.poll() is not None or time.monotonic() > give_up:
                self.stop()
                with open(self.output, encoding="utf-8", errors="replace") as output:
                    raise NotStarted(output.read()[-2000:])
            time.sleep(0.02)

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
