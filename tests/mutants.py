"""Every mutant that `cargo mutants --list` finds in the deciding modules, in less than an hour.

`cargo mutants` builds the tests once for each. Here they are built once for all: a function has
one body for each of its mutants, verbatim what `cargo mutants` would write, and the environment
says at the start of the test binary which one runs. A body that does not compile is left out: it
would not compile alone either. Constants, `const fn` and functions that return `impl Trait` cannot
have several bodies; their mutants are built one at a time, beside the others (`--quick` leaves them
out). A mutant meets every unit test of the core that reaches its function when it runs alone, the
quickest first, until one fails; processor time, steps of waiting and memory are bounded.

Ends with a table and the survivors, also in `target/mutants-all/report.md`. Sources as they lie in
the folder, no commit needed. Only the standard library, and `cargo-mutants` for its list.

    python3 tests/mutants.py --quick --only src/decide/request/path/ --only rejection/mod.rs:28
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target/mutants-all"
TREE = WORK / "tree"
BUILD = ["cargo", "rustc", "--lib", "--profile=test", "--no-default-features", "--features=fuzzing"]
# The tests need no copy of the library beside the one they are compiled with.
ITSELF = re.compile(r"^gatepost = \{.*\n", re.MULTILINE)
# The switch; with MUTANTS_REACHED the functions that a test reaches are written to that file.
SWITCH = """
pub(crate) fn mutant(function: usize) -> u32 {
    use std::io::Write;
    use std::sync::{LazyLock, Mutex};
    static CHOSEN: LazyLock<u32> =
        LazyLock::new(|| std::env::var("MUTANT").map_or(0, |number| number.parse().unwrap()));
    static FILE: LazyLock<Option<std::fs::File>> = LazyLock::new(|| {
        std::env::var("MUTANTS_REACHED").ok().map(|path| std::fs::File::create(path).unwrap())
    });
    static SEEN: Mutex<std::collections::BTreeSet<usize>> =
        Mutex::new(std::collections::BTreeSet::new());
    if let Some(file) = FILE.as_ref() {
        let is_new = SEEN.lock().unwrap().insert(function);
        if is_new {
            (&mut &*file).write_all(format!("{function}\\n").as_bytes()).unwrap();
        }
    }
    *CHOSEN
}
"""
# Tests run the quickest first, in turns of about these many seconds; then the rest.
TURNS = [0.3, 2.0]
MEMORY = 8 << 30
COMPILER_SECONDS = 600


@dataclasses.dataclass
class Mutant:
    """One of the list; the places are offsets into the text of its file."""

    number: int
    name: str
    file: str
    start: int
    end: int
    text: str
    body: tuple | None  # Of the function around it, when it can have several.
    verdict: str = ""
    note: str = ""


def say(*words):
    print(*words, flush=True)


def line_starts(text):
    return [0, *(match.end() for match in re.finditer("\n", text))]


def offset(starts, place):
    return starts[place["line"] - 1] + place["column"] - 1


def body(text, start, end, function):
    """Where the body of a function begins and ends, unless it can have only one."""
    name = re.escape(function["function_name"].split("::")[-1])
    head = re.compile(rf"\b(const )?fn {name}\b")
    head = head.search(text, start, end)
    if not head or head[1] or "impl " in function["return_type"]:
        return None
    depth = 0
    for at in range(head.end(), end):
        depth += (text[at] in "([") - (text[at] in ")]")
        if text[at] == "{" and depth == 0:
            return at + 1, end - 1
    return None


def copy():
    """The sources as they lie there, in a folder of their own; nothing is read from ROOT later."""
    names = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(names, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    shutil.rmtree(TREE, ignore_errors=True)
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, TREE / name)
    manifest = TREE / "Cargo.toml"
    manifest.write_text(ITSELF.sub("", manifest.read_text()))


def listed(only):
    """The list of `cargo mutants`, or of it what contains one of the words in `only`; and the
    files as they are without a mutant."""
    command = ["cargo", "mutants", "--list", "--json"]
    found = json.loads(subprocess.run(command, cwd=TREE, check=True, stdout=subprocess.PIPE).stdout)
    files = {one["file"]: (TREE / one["file"]).read_text() for one in found}
    starts = {file: line_starts(text) for file, text in files.items()}
    mutants = []
    for number, one in enumerate(found, 1):
        places = [one["span"][side] for side in ("start", "end")]
        function, around = one["function"], None
        if function:
            places += [function["span"][side] for side in ("start", "end")]
        start, end, *span = (offset(starts[one["file"]], place) for place in places)
        if function:
            around = body(files[one["file"]], *span, function)
        mutant = Mutant(number, one["name"], one["file"], start, end, one["replacement"], around)
        mutants.append(mutant)
    # The body of a function inside a function is part of the outer one.
    bodies = {(one.file, one.body) for one in mutants if one.body}
    for one in mutants:
        if one.body:
            start, end = one.body
            here = [around for file, around in bodies if file == one.file]
            one.body = min(it for it in here if it[0] <= start and end <= it[1])
    return [one for one in mutants if not only or any(word in one.name for word in only)], files


class Switched:
    """The files with all bodies of their functions, and which place belongs to which mutant."""

    def __init__(self, mutants, files):
        self.functions, self.places = {}, {}
        by_file = collections.defaultdict(list)
        for one in mutants:
            by_file[one.file].append(one)
        for file, ones in by_file.items():
            self.write(file, files[file], ones)

    def write(self, file, text, ones):
        out, done, places = "", 0, []
        bodies = collections.defaultdict(list)
        for one in ones:
            bodies[one.body].append(one)
        for (start, end), here in sorted(bodies.items()):
            function = self.functions.setdefault((file, start), len(self.functions))
            out += f"{text[done:start]} match crate::mutant({function}) {{"
            for one in here:
                begin = len(out)
                changed = text[start : one.start] + one.text + text[one.end : end]
                out += f"\n{one.number} => {{{changed}\n}}"
                places.append((begin, len(out), one.number))
            out += f"\n_ => {{{text[start:end]}}} }}"
            done = end
        out += text[done:]
        (TREE / file).write_text(out)
        self.places[file] = (places, line_starts(out))

    def owners(self, error):
        """The mutants whose text a message of the compiler is about."""
        for span in error["spans"]:
            places, starts = self.places.get(span["file_name"], ([], []))
            if span["is_primary"] and starts:
                at = starts[span["line_start"] - 1] + span["column_start"] - 1
                yield from (number for begin, end, number in places if begin <= at < end)


def build():
    """The test binary, or the errors of the compiler."""
    command = [*BUILD, "--message-format=json", "--", "--cap-lints=allow"]
    environment = dict(
        os.environ, CARGO_PROFILE_DEV_DEBUG="0", CARGO_TARGET_DIR=str(ROOT / "target/mutants")
    )
    # A mutant can also keep the compiler busy for ever: the limit holds for each of its processes.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen(command, cwd=TREE, env=environment, **pipes)
    resource.prlimit(child.pid, resource.RLIMIT_CPU, (COMPILER_SECONDS, COMPILER_SECONDS + 5))
    out, said = child.communicate()
    messages = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    binaries = [one.get("executable") for one in messages if one["reason"] == "compiler-artifact"]
    errors = [one["message"] for one in messages if one["reason"] == "compiler-message"]
    errors = [one for one in errors if one["level"].startswith("error")]
    errors = errors or [{"message": said[-2000:], "rendered": said[-2000:], "spans": []}]
    return (None, errors) if child.returncode else (list(filter(None, binaries))[-1], [])


def build_switched(mutants, files):
    """All that compile in one binary; the others are marked."""
    with (TREE / "src/lib.rs").open("a") as lib:
        lib.write(SWITCH)
    while True:
        switched = Switched([one for one in mutants if not one.verdict], files)
        binary, errors = build()
        if binary:
            kept = WORK / "switched"
            shutil.copy(binary, kept)
            return kept, switched
        broken = {number: error["message"] for error in errors for number in switched.owners(error)}
        if not broken:
            sys.exit("no mutant's fault: " + "\n".join(one["rendered"] for one in errors[:5]))
        for one in mutants:
            if one.number in broken:
                one.verdict, one.note = "does not build", broken[one.number]
        say(f"{len(broken)} more do not build")


def run(binary, tests, seconds, **environment):
    """What the tests say of a mutant, within some seconds of processor time."""
    environment = dict(os.environ, RUST_MIN_STACK=str(64 << 20), RUST_BACKTRACE="0", **environment)
    command = [str(binary), "--test-threads=1", "--exact", *tests]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(command, cwd=TREE, env=environment, **quiet)
    resource.prlimit(child.pid, resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
    resource.prlimit(child.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.prlimit(child.pid, resource.RLIMIT_CORE, (0, 0))
    # Steps of a loop, not a time of the clock: one that is stopped for a while is not late.
    for _ in range(int(50 * (60 + 4 * seconds))):
        try:
            code = child.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        hung = -code in (signal.SIGXCPU, signal.SIGKILL)
        return "hung" if hung else "caught" if code else "survived"
    child.kill()
    child.wait()
    return "hung"


def measure(binary):
    """How long each test takes, and the functions it reaches."""
    out = subprocess.run([binary, "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout
    tests = [line.removesuffix(": test") for line in out.splitlines() if line.endswith(": test")]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([binary], cwd=TREE, **both)
    if done.returncode:
        sys.exit(f"the tests fail without any mutant:\n{done.stdout[-3000:]}")
    reached, took, file = collections.defaultdict(set), {}, WORK / "reached"
    for test in tests:
        file.write_text("")
        begin = time.monotonic()
        run(binary, [test], 600, MUTANTS_REACHED=str(file))
        took[test] = time.monotonic() - begin
        for function in file.read_text().split():
            reached[int(function)].add(test)
    return took, reached


def try_one(binary, mutant, tests, took):
    """All these tests, the quickest first, until one fails."""
    turns, left = [[] for _ in (*TURNS, 0)], sorted(tests, key=took.get)
    passed = 0.0
    for test in left:
        passed += took[test]
        turns[sum(passed > turn for turn in TURNS)].append(test)
    mutant.verdict = "survived"
    for turn in filter(None, turns):
        seconds = 10 + 5 * sum(took[test] for test in turn)
        mutant.verdict = run(binary, turn, seconds, MUTANT=str(mutant.number))
        if mutant.verdict != "survived":
            return


def try_alone(mutant, text, took):
    """A mutant that is built by itself: it meets every test."""
    path = TREE / mutant.file
    path.write_text(text[: mutant.start] + mutant.text + text[mutant.end :])
    binary, errors = build()
    if binary:
        try_one(binary, mutant, took, took)
    else:
        mutant.verdict, mutant.note = "does not build", errors[0]["message"].split("\n")[0]
    path.write_text(text)


def report(mutants, seconds):
    """The table, and the survivors by name."""
    verdicts = ("caught", "hung", "survived")
    rows = collections.defaultdict(collections.Counter)
    for one in mutants:
        for row in (one.file.removeprefix("src/"), "all"):
            rows[row].update(["listed", one.verdict])
    lines = ["| module | mutants listed | tried | caught | hung | survived |", f"|{6 * '---|'}"]
    for row in [*sorted(set(rows) - {"all"}), "all"]:
        tried = sum(rows[row][verdict] for verdict in verdicts)
        cells = [rows[row]["listed"], tried, *(rows[row][verdict] for verdict in verdicts)]
        name = row if row == "all" else f"`{row}`"
        lines.append(f"| {' | '.join([name, *map(str, cells)])} |")
    total = rows["all"]
    caught = 100 * (total["caught"] + total["hung"]) / max(tried, 1)
    lines += ["", f"{caught:.1f} % of {tried} caught or hung, in {seconds / 60:.0f} minutes."]
    untried = ", ".join(f"{total[one]} {one}" for one in ("does not build", "left out"))
    lines += [f"Not tried: {untried}.", ""]
    for one in mutants:
        if one.verdict in ("survived", "hung"):
            lines.append(f"{one.verdict}: {one.name} {one.note}".rstrip())
    return "\n".join(lines) + "\n"


def tell(mutant):
    """One line in the file for each; on the screen what survives."""
    with (WORK / "verdicts.tsv").open("a") as file:
        file.write(f"{mutant.verdict}\t{mutant.name}\t{mutant.note}\n")
    if mutant.verdict == "survived":
        say(f"survived: {mutant.name} {mutant.note}")


def try_together(mutants, binary, switched, took, reached):
    for count, one in enumerate(mutants, 1):
        if not one.verdict:
            tests = reached[switched.functions[one.file, one.body[0]]]
            one.note = "" if tests else "no test reaches it"
            try_one(binary, one, tests, took)
        tell(one)
        if count % 100 == 0:
            say(f"{count} of {len(mutants)} that are built together")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", default=[], help="what their names contain")
    parser.add_argument("--quick", action="store_true", help="only what is built together")
    arguments = parser.parse_args()
    begin = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "verdicts.tsv").write_text("")
    copy()
    mutants, files = listed(arguments.only)
    together = [one for one in mutants if one.body]
    alone = [one for one in mutants if not one.body]
    binary, switched = build_switched(together, files)
    took, reached = measure(binary)
    say(f"{len(mutants)} mutants, {len(alone)} of them alone; {len(took)} tests")
    for file, text in files.items():
        (TREE / file).write_text(text)
    others = threading.Thread(target=try_together, args=(together, binary, switched, took, reached))
    others.start()
    for one in alone:
        if arguments.quick:
            one.verdict = "left out"
        else:
            try_alone(one, files[one.file], took)
        tell(one)
    others.join()
    text = report(mutants, time.monotonic() - begin)
    (WORK / "report.md").write_text(text)
    say(text)


if __name__ == "__main__":
    main()
