"""What the fuzz corpora and the tests of the core reach of the modules that decide, line by line.

Builds both with the compiler's counters into target/coverage, runs the tests of the core, has each
fuzz target read its seeds (with --grown also what `make fuzz` has found here), and prints a row for
each module; with --missed also the lines that neither reaches. A line counts if code was generated for
it; tests, oracles and what only a fuzz target calls do not count. Of a line that is reached in part
nothing is said, and a line that is reached is not a line that is judged: mutants tell that.

    rustup component add llvm-tools && python3 tests/coverage.py
"""

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "target/coverage"
DECIDING = ("base", "decide")
NOT_PROGRAM = re.compile(r"(^|/)(tests|fuzz|oracle)(/|\.rs$)")
SECONDS_MAX = 1800  # For one build, or for one target and its corpus.
FILES_AT_ONCE = 500


def run(command, **more):
    environment = {**os.environ, **more.pop("environment", {})}
    return subprocess.run(command, cwd=ROOT, check=True, timeout=SECONDS_MAX, env=environment, **more)


def told(*command):
    return run(command, stdout=subprocess.PIPE, text=True).stdout


def host():
    return re.search(r"^host: (.*)$", told("rustc", "-vV"), re.M)[1]


def tool(name):
    """Of the compiler's own version: the counters have a version, too."""
    return pathlib.Path(told("rustc", "--print", "sysroot").strip()) / "lib/rustlib" / host() / "bin" / name


def build(*command):
    """{name: binary}. With --target the counters stay out of build scripts."""
    environment = {"CARGO_TARGET_DIR": str(FOLDER), "RUSTFLAGS": "-C instrument-coverage", "CARGO_INCREMENTAL": "0",
                   "CARGO_PROFILE_DEV_DEBUG": "0"}
    words = [*command, "--locked", "--target", host(), "--message-format=json-render-diagnostics"]
    rows = run(["cargo", *words], stdout=subprocess.PIPE, text=True, environment=environment).stdout.splitlines()
    made = [made for made in map(json.loads, rows) if made.get("executable")]
    return {one["target"]["name"]: one["executable"] for one in made if "custom-build" not in one["target"]["kind"]}


def replay(target, binary, corpora):
    """The target reads each file once. The runs of a binary add up in one record."""
    folders = [ROOT / corpus / target for corpus in corpora]
    files = sorted(str(file) for folder in folders if folder.is_dir() for file in folder.iterdir())
    environment = {"LLVM_PROFILE_FILE": str(FOLDER / "fuzz-%m.profraw")}
    for at in range(0, len(files), FILES_AT_ONCE):
        run([binary, *files[at : at + FILES_AT_ONCE]], environment=environment, stderr=subprocess.DEVNULL)
    print(f"{target}: {len(files)} inputs", flush=True)


def lines(kind, binaries):
    """{file: {line: times}} as the records of these binaries tell."""
    records, merged = [str(record) for record in FOLDER.glob(f"{kind}-*.profraw")], FOLDER / f"{kind}.profdata"
    run([tool("llvm-profdata"), "merge", "--sparse", *records, "-o", merged])
    objects = [word for binary in binaries[1:] for word in ("--object", binary)]
    export = [tool("llvm-cov"), "export", "--format=lcov", f"--instr-profile={merged}", binaries[0], *objects]
    found, file = collections.defaultdict(collections.Counter), None
    for row in told(*export).splitlines():
        name, _, value = row.partition(":")
        if name == "SF":
            file = pathlib.Path(value)
        elif name == "DA":
            line, times = value.split(",")[:2]
            found[file][int(line)] += int(times)
    return found


def module(file):
    """The deciding module of a file: `base`, `decide/jwt`, `decide/request/path`, or none."""
    if not file.is_relative_to(ROOT / "src") or NOT_PROGRAM.search(str(file)):
        return None
    layer, *parts = file.relative_to(ROOT / "src").with_suffix("").parts
    if layer not in DECIDING:
        return None
    below = {"base": 0, "decide": 2 if parts[0] == "request" else 1}[layer]
    return "/".join([layer, *parts[:below]])


def text(file):
    """The lines of a file without its tests, which stand last."""
    rows = file.read_text().splitlines()
    return rows[: next((at for at, row in enumerate(rows) if row.startswith("mod tests {")), len(rows))]


def compare(tested, fuzzed):
    """A row of counts for each module, and the lines that nothing reached."""
    rows, missed = collections.defaultdict(collections.Counter), []
    for file in sorted(file for file in {*tested, *fuzzed} if module(file)):
        known = {line for line in {*tested[file], *fuzzed[file]} if line <= len(text(file))}
        by_tests, by_fuzz = ({line for line in known if source[file][line]} for source in (tested, fuzzed))
        rows[module(file)].update(lines=len(known), tests=len(by_tests), fuzz=len(by_fuzz),
                                  either=len(by_tests | by_fuzz))
        missed += [(file, line) for line in sorted(known - by_tests - by_fuzz)]
    return rows, missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--missed", action="store_true", help="also the lines that neither reaches")
    parser.add_argument("--grown", action="store_true", help="also the corpora that `make fuzz` has grown")
    arguments = parser.parse_args()
    corpora = ["fuzz/corpus", "fuzz/target/corpus"] if arguments.grown else ["fuzz/corpus"]
    for record in FOLDER.glob("*.prof*"):
        record.unlink()
    (tests,) = build("test", "--no-run", "--lib", "--no-default-features").values()
    targets = build("build", "--manifest-path", "fuzz/Cargo.toml")
    run([tests, "--quiet"], environment={"LLVM_PROFILE_FILE": str(FOLDER / "tests-%m.profraw")})
    for target, binary in sorted(targets.items()):
        replay(target, binary, corpora)
    rows, missed = compare(lines("tests", [tests]), lines("fuzz", list(targets.values())))
    print("\n| module | lines | fuzz corpora | tests of the core | either |\n|---|---|---|---|---|")
    for name, row in [*sorted(rows.items()), ("all of them", sum(rows.values(), collections.Counter()))]:
        share = lambda of: f"{100 * row[of] / row['lines']:.1f} %"
        print(f"| {name} | {row['lines']} | {share('fuzz')} | {share('tests')} | {share('either')} |")
    if arguments.missed:
        print()
        for file, line in missed:
            print(f"{file.relative_to(ROOT)}:{line}: {text(file)[line - 1].strip()}")
    sys.exit(not rows)


if __name__ == "__main__":
    main()
