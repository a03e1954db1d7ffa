"""What a process costs.

Owns reading the kernel's accounts of one process: processor time of all its threads, and memory.
Never runs a load itself, but for the connections it leaves idle.
"""

import glob
import os
import socket
import time

import jobs

TICKS = os.sysconf("SC_CLK_TCK")
IDLE_CONNECTIONS = 1_000


def cpu_micros(pid):
    """Processor time so far: in all, as user, as system. The first is exact to the nanosecond."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        words = file.read().rpartition(")")[2].split()
    user, system = (int(word) * 1_000_000 // TICKS for word in words[11:13])
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path, encoding="ascii") as file:
                total += int(file.read().split()[0]) / 1_000
        except OSError:
            continue  # The thread has ended.
    return (total or user + system), user, system


def per_request(pid, load):
    """Runs a load and says what each request cost the process."""
    before = cpu_micros(pid)
    found = load()
    spent = [late - early for early, late in zip(before, cpu_micros(pid))]
    requests = found["requests"]
    return {
        "requests": requests,
        "cpu_us": spent[0] / requests, "user_us": spent[1] / requests, "system_us": spent[2] / requests,
        "requests_per_second": requests * 1_000_000 / found["micros"],
        "closed_p50_us": found["p50_us"], "closed_p99_us": found["p99_us"],
        "closed_p999_us": found["p999_us"],
    }


def resident_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def idle_connection_bytes(process, fields):
    """What a kept connection costs after its first request, when nothing happens on it."""
    request = "\r\n".join([f"GET {jobs.PATH} HTTP/1.1", "Host: api.example.com",
                           *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode()
    exchange_all(process.port, request, 20)  # What is made once is made now.
    before = resident_kb(process.pid)
    connections = exchange_all(process.port, request, IDLE_CONNECTIONS, keep=True)
    time.sleep(0.2)
    after = resident_kb(process.pid)
    for connection in connections:
        connection.close()
    return (after - before) * 1024 / IDLE_CONNECTIONS


def exchange_all(port, request, count, keep=False):
    kept = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        connection.sendall(request)
        if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
            raise OSError("an idle connection's first answer was not 200")
        if keep:
            kept.append(connection)
        else:
            connection.close()
    return kept
