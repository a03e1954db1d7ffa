"""What a run found, for people and for programs.

Owns medians, quartiles and ratios, the goals they are held against, and the three files of a run:
CSV, Markdown, SVG. Never measures.
"""

import csv
import dataclasses
import html
import statistics

from jobs import JOBS
from peers import TITLES

COLOURS = {"gatepost": "#1f6feb", "bare": "#8b949e", "haproxy": "#2da44e", "nginx": "#bf8700", "envoy": "#cf222e"}


@dataclasses.dataclass(frozen=True)
class Goal:
    """The ratio of two medians in one run, and the most it should be."""
    text: str
    job: str
    to_job: str
    to_peer: str
    most: float


GOALS = [
    Goal("full job / bare pingora passing the same requests on", "full", "full", "bare", 0.65),
    Goal("full job / Envoy's", "full", "full", "envoy", 0.28),
    Goal("full job / HAProxy's pass-through, logged", "full", "pass_logged", "haproxy", 0.90),
    Goal("API key / HAProxy's", "api_key", "api_key", "haproxy", 0.95),
    Goal("API key / Envoy's", "api_key", "api_key", "envoy", 0.30),
    Goal("RS256 every time / HAProxy's", "rs256", "rs256", "haproxy", 0.95),
    Goal("ES256 every time / HAProxy's", "es256", "es256", "haproxy", 0.80),
    Goal("RS256 verified before / Envoy's", "rs256_cached", "rs256_cached", "envoy", 0.28),
    Goal("refusal, logged / HAProxy's", "refusal", "refusal", "haproxy", 0.90),
    Goal("pass-through / HAProxy's", "pass", "pass", "haproxy", 0.95),
    Goal("pass-through to a Unix socket / HAProxy's", "unix", "unix", "haproxy", 0.95),
]
MEMORY_GOALS = {"rest_mb": ("memory at rest", "MB", 30), "idle_connection_kb": ("an idle kept connection", "kB", 8),
                "million_keys_mb": ("a million API keys", "MB", None)}


class Results:
    """Every figure of a run: (job, peer, round, figure) -> value."""

    def __init__(self):
        self.rows = []

    def add(self, job, peer, turn, figures):
        self.rows += [(job, peer, turn, figure, round(value, 3)) for figure, value in figures.items()]

    def values(self, job, peer, figure):
        """By round, in order."""
        return [row[4] for row in sorted(self.rows) if row[:2] == (job, peer) and row[3] == figure]

    def by_round(self, job, peer, figure):
        return {row[2]: row[4] for row in self.rows if row[:2] == (job, peer) and row[3] == figure}

    def median(self, job, peer, figure):
        values = self.values(job, peer, figure)
        return statistics.median(values) if values else None

    def quartiles(self, job, peer, figure):
        return spread(self.values(job, peer, figure))


def spread(values):
    """First quartile, median, third quartile."""
    if len(values) < 2:
        return (values * 3)[:3] or None
    return statistics.quantiles(values, n=4, method="inclusive")


def ratio(results, goal):
    """The ratio of medians, and the quartiles of the ratios round by round where there are pairs."""
    ours, theirs = (results.median(goal.job, "gatepost", "cpu_us"),
                    results.median(goal.to_job, goal.to_peer, "cpu_us"))
    if not ours or not theirs:
        return None
    first = results.by_round(goal.job, "gatepost", "cpu_us")
    second = results.by_round(goal.to_job, goal.to_peer, "cpu_us")
    pairs = [first[turn] / second[turn] for turn in first if turn in second]
    return ours / theirs, spread(pairs) if goal.job == goal.to_job else None


def goal_table(results):
    lines = ["| CPU per request, gatepost to | ratio of medians | quartiles of the pairs | goal | |", "|---|---|---|---|---|"]
    for goal in GOALS:
        found = ratio(results, goal)
        if found is None:
            lines.append(f"| {goal.text} | not measured | | {goal.most:.2f} | |")
            continue
        value, quartiles = found
        pairs = f"{quartiles[0]:.2f} to {quartiles[2]:.2f}" if quartiles else "not interleaved"
        held = "holds" if round(value, 2) <= goal.most else "**does not hold**"
        lines.append(f"| {goal.text} | {value:.2f} | {pairs} | {goal.most:.2f} | {held} |")
    for figure, (text, unit, most) in MEMORY_GOALS.items():
        value = results.median("memory", "gatepost", figure)
        if value is None:
            lines.append(f"| {text} | not measured | | {f'{most} {unit}' if most else ''} | |")
        else:
            held = "" if most is None else "holds" if value <= most else "**does not hold**"
            lines.append(f"| {text} | {value:.1f} {unit} | | {f'{most} {unit}' if most else ''} | {held} |")
    return lines


def cost_table(results):
    peers = list(TITLES)
    lines = ["| CPU microseconds per request: median (quartiles) | " + " | ".join(TITLES.values()) + " |",
             "|---|" + "---|" * len(peers)]
    for job in JOBS:
        cells = []
        for peer in peers:
            quartiles = results.quartiles(job.name, peer, "cpu_us")
            cells.append(f"**{quartiles[1]:.1f}** ({quartiles[0]:.1f} to {quartiles[2]:.1f})" if quartiles else "-")
        if any(cell != "-" for cell in cells):
            lines.append(f"| {job.title} | " + " | ".join(cells) + " |")
    return lines


def speed_table(results):
    lines = ["| | | user, system us | requests/s | closed loop: p50, p99, p99.9 us | fixed rate: p50, p99, p99.9 us |",
             "|---|---|---|---|---|---|"]
    for job in JOBS:
        for peer in TITLES:
            middle = lambda figure: results.median(job.name, peer, figure)
            if middle("cpu_us") is None:
                continue
            three = lambda kind: ", ".join(
                f"{middle(f'{kind}_{part}_us'):,.0f}" for part in ("p50", "p99", "p999")
                if middle(f"{kind}_{part}_us") is not None) or "-"
            lines.append(f"| {job.title} | {TITLES[peer]} | {middle('user_us'):.1f}, {middle('system_us'):.1f} | "
                         f"{middle('requests_per_second'):,.0f} | {three('closed')} | {three('open')} |")
    return lines


def memory_table(results):
    lines = ["| memory | at rest, full job's configuration | per idle kept connection |", "|---|---|---|"]
    for peer in TITLES:
        rest, idle = (results.median("memory", peer, figure) for figure in ("rest_mb", "idle_connection_kb"))
        if rest is not None:
            lines.append(f"| {TITLES[peer]} | {rest:.1f} MB | {'-' if idle is None else f'{idle:.1f} kB'} |")
    return lines


def markdown(results, facts, skipped, command):
    lines = ["# gatepost beside its peers", "", f"`{command}`", "",
             "Compare only within one run. The figure that holds still on a noisy machine is the processor time",
             "of the proxy's process per request (user and system, all threads, from the kernel's accounts);",
             "latencies and throughput do not. The proxy has one core, the load and the upstream the other.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += [f"- **skipped**: {what}" for what in skipped]
    for table in (goal_table, cost_table, memory_table, speed_table):
        lines += ["", *table(results)]
    lines += ["", "![CPU microseconds per request](cpu.svg)", ""]
    return "\n".join(lines)


def svg(results):
    """Bars are medians, whiskers quartiles."""
    rows = [(job, peer, results.quartiles(job.name, peer, "cpu_us")) for job in JOBS for peer in TITLES]
    rows = [row for row in rows if row[2]]
    if not rows:
        return "<svg xmlns='http://www.w3.org/2000/svg'/>\n"
    scale = 520 / max(row[2][2] for row in rows)
    parts, y, last = [], 34, None
    for job, peer, (low, middle, high) in rows:
        if job is not last:
            y += 10
            parts.append(f'<text x="8" y="{y + 11}" font-weight="bold">{html.escape(job.title)}</text>')
            y, last = y + 18, job
        end = 110 + middle * scale
        parts.append(f'<text x="104" y="{y + 11}" text-anchor="end">{TITLES[peer]}</text>'
                     f'<rect x="110" y="{y}" width="{middle * scale:.1f}" height="14" fill="{COLOURS[peer]}"/>'
                     f'<path d="M{110 + low * scale:.1f} {y + 7}H{110 + high * scale:.1f}" stroke="#000"/>'
                     f'<text x="{max(end, 110 + high * scale) + 6:.1f}" y="{y + 11}">{middle:.1f}</text>')
        y += 17
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{y + 12}" font-family="sans-serif" '
            'font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
            '<text x="8" y="22" font-size="15">CPU microseconds per request: medians, quartiles</text>')
    return "\n".join([head, *parts, "</svg>", ""])


def write_csv(path, results):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["job", "peer", "round", "figure", "value"])
        writer.writerows(results.rows)
