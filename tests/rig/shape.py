"""The shape of the sources: layers, import levels and circles, sizes of functions and files.

Reads `src/*.rs` without compiling, and without unit tests where code is counted. An import is a
`crate::` or `super::` path between two modules that share a parent, and a module with everything
below it counts as one. Prints a table; never judges: tests/it/tidy.rs fails on circles.

    python3 tests/rig/shape.py            this tree
    python3 tests/rig/shape.py 1b54402    that commit
"""

import collections
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = ["base", "decide", "issue", "config", "serve", "cli", "main"]
PATH = re.compile(r"\b(crate|super(?:::super)*)::((?:[a-z_0-9]+::)*)(\{[^;]*\}|[A-Za-z_0-9]+)")
FUNCTION = re.compile(r"^\s*(?:pub(?:\([^)]*\))? )?(?:default )?(?:const )?(?:async )?(?:unsafe )?fn \w+")


def tree(commit):
    """{path below src: text}."""
    if not commit:
        folder = ROOT / "src"
        return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.rs")}
    run = lambda *words: subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = run("ls-tree", "-r", "--name-only", commit, "src").split()
    return {name.removeprefix("src/"): run("show", f"{commit}:{name}") for name in names if name.endswith(".rs")}


def is_test(name):
    return bool(re.search(r"(^|/)(tests|fixture|oracle|fuzz)(/|\.rs$)|/tests/", name))


def code(text):
    """Without comments, string contents and the unit tests at the end."""
    rows = []
    for row in text.splitlines():
        if row.strip() == "mod tests {":
            break
        row = re.sub(r'"(?:\\.|[^"\\])*"', '""', row)
        row = re.sub(r"'(?:\\.|[^'\\])'", "' '", row)
        rows.append(re.sub(r"//.*", "", row))
    return "\n".join(rows)


def module(name):
    parts = name.removesuffix(".rs").removesuffix("/mod").split("/")
    return tuple(part for part in parts if part != "lib")


def imported(module_path, text):
    """The module paths that the code names, absolute."""
    for match in PATH.finditer(text):
        ups = match[1].count("super") if match[1] != "crate" else 0
        start = module_path[: len(module_path) - ups] if ups else ()
        fixed = start + tuple(part for part in match[2].split("::") if part)
        for last in re.findall(r"\b([a-z_0-9]+)\b", match[3]) or [""]:
            yield fixed + ((last,) if last else ())


def edges(files):
    """{parent: {(importer, imported)}} between the children of each module."""
    modules = {module(name) for name in files}
    found = collections.defaultdict(set)
    for name, text in files.items():
        if is_test(name):
            continue
        here = module(name)
        for path in imported(here, code(text)):
            shared = 0
            while shared < min(len(here), len(path)) and here[shared] == path[shared]:
                shared += 1
            if shared < min(len(here), len(path)) and path[: shared + 1] in modules:
                found[here[:shared]].add((here[shared], path[shared]))
    return found


def components(pairs):
    """The strongly connected components (Tarjan), leaves first."""
    after = collections.defaultdict(set)
    for one, other in pairs:
        after[one].add(other)
        after[other] = after[other]
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in after[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            found.append(set(stack[at:]))
            del stack[at:]

    for node in sorted(after):
        if node not in index:
            visit(node)
    return found, after


def levels(pairs):
    """How many levels of imports there are, a circle counting as one node."""
    parts, after = components(pairs)
    of = {node: at for at, part in enumerate(parts) for node in part}
    depth = {}
    for at, part in enumerate(parts):
        below = {of[other] for node in part for other in after[node]} - {at}
        depth[at] = 1 + max((depth[other] for other in below), default=0)
    return max(depth.values(), default=1)


def functions(text):
    """The lines of each function, from its signature to the brace that closes it."""
    rows, sizes = code(text).splitlines(), []
    for at, row in enumerate(rows):
        if not FUNCTION.match(row):
            continue
        depth, opened = 0, False
        for end in range(at, len(rows)):
            depth += rows[end].count("{") - rows[end].count("}")
            opened = opened or "{" in rows[end]
            if (opened and depth <= 0) or (not opened and rows[end].rstrip().endswith(";")):
                break
        if opened:
            sizes.append(end - at + 1)
    return sizes


def percentiles(sizes):
    sizes = sorted(sizes) or [0]
    at = lambda share: sizes[min(len(sizes) - 1, int(share * len(sizes)))]
    return f"{at(0.5)} / {at(0.9)} / {sizes[-1]}"


def main():
    commit = sys.argv[1] if len(sys.argv) > 1 else None
    files = tree(commit)
    program = {name: text for name, text in files.items() if not is_test(name)}
    entries = sorted({name.split("/")[0] for name in files})
    found = edges(files)
    circles = [(parent, sorted(part)) for parent, pairs in sorted(found.items())
               for part in components(pairs)[0] if len(part) > 1]
    layered = set(LAYERS[:-1]) <= {name.split("/")[0] for name in files if "/" in name}
    upward = [pair for pair in sorted(found[()]) if layered and LAYERS.index(pair[1]) > LAYERS.index(pair[0])]
    text = "\n".join(map(code, program.values()))
    rows = len(text.splitlines())
    sizes = [size for one in program.values() for size in functions(one)]
    lengths = [len(code(one).splitlines()) for one in program.values()]
    wide = len(re.findall(r"^\s*pub (?!use)", text, re.M))
    narrow = len(re.findall(r"^\s*pub\([^)]*\) (?!use)", text, re.M))
    unwraps = len(re.findall(r"\.(?:unwrap|expect)\(", text))
    print(f"{commit or 'this tree'}: {len(program)} files, {rows} lines without unit tests")
    print(f"entries in src/                         {len(entries)}: {' '.join(entries)}")
    print(f"import levels at the top                {levels(found[()])}")
    print(f"import circles between siblings         {len(circles)}")
    for parent, part in circles:
        print(f"    {'::'.join(parent) or 'crate'}: {' '.join(part)}")
    print(f"imports of a layer above                {len(upward) if layered else 'no layers'}")
    for one, other in upward:
        print(f"    {one} uses {other}")
    print(f"lines of a function, p50 / p90 / max    {percentiles(sizes)}")
    print(f"functions over 70 lines                 {sum(size > 70 for size in sizes)} of {len(sizes)}")
    print(f"lines of a file, p50 / p90 / max        {percentiles(lengths)}")
    print(f"unwrap and expect per 1,000 lines       {1000 * unwraps / rows:.1f}")
    print(f"pub : pub(crate) or narrower            {wide} : {narrow}")


if __name__ == "__main__":
    main()
