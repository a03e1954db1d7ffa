"""Counts words that do not belong in technical English: at most 3 per 1,000 lines of comments.

Reads the comments of `src/`, `tests/`, `benches/` and `fuzz/` (Rust, Python, Lua, JavaScript, YAML,
Makefile and shell), the sentences in string literals of `src/`, and the Markdown files outside
`tests/evidence/` and `benches/runs/`. Prints every place with a replacement, and exits with
status 1 above the limit. Never changes a file.

    python3 tests/language.py            the repository in the current directory
    python3 tests/language.py src docs   some folders or files of it
    python3 tests/language.py --words    the patterns
"""

import collections
import io
import pathlib
import re
import sys
import tokenize

ROOT = pathlib.Path.cwd()
LIMIT = 3.0
FOLDERS = ["src", "tests", "benches", "fuzz", "docs", "config", ".github"]
FILES = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", ".ci/run"]
# Dated records keep their words; vectors and corpora are data; the list is in this file.
SKIPPED = ("tests/evidence/", "benches/runs/", "tests/vectors/", "fuzz/corpus/", "tests/language.py")

# One pattern, what to write instead.
WORDS = [
    (r"whoever|whomever|whosoever|whatever it is|whichever it is", "name the caller, client or operator"),
    (r"nobody|somebody|anybody|everybody", "name who: no client, the operator, every caller"),
    (r"whom", "name who"),
    (r"(?:of|than) ours|of (?:our|my) own|a word of our own|of theirs|of yours", "gatepost's, internal"),
    (r"anew", "again"),
    (r"so many", "that many, n"),
    (r"(?:is|are|was|were|be|been|being|not|get|gets) told(?! apart)|tells (?:nobody|them|us|it)", "receives, reports"),
    (r"stands? (?:for|in|there|by|so|at|on)|(?:how|where|as) (?:\w+ ){1,3}stands?|stands|stood", "is, means, represents, status"),
    (r"(?:was|were|is|are|be|been|never|not yet|yet|once|never been) had(?! been)", "fetched, received, available"),
    (r"(?:gives?|gave|given|giving) (?:it |them |this )?up", "abort, stop, time out, fail"),
    (r"the wish(?:es)?|a wish|wished|wishes", "request"),
    (r"behind us|before us|in us", "upstream, downstream, in the proxy"),
    (r"is worth|are worth|worth (?:a|an|one|so)", "state the cost or the effect"),
    (r"(?:does|do|did) not hold(?! (?:the|a|an|any|more)\b)|no longer holds?", "invalid, false, mismatch"),
    (r"bad days?|good days?", "failure, normal operation"),
    (r"a good many|a great many", "many, n"),
    (r"in vain|for nothing|nothing but", "without result, only"),
    (r"(?:a|an|the) \w+ is due|what is due", "expected"),
    (r"heeded|heeds?|bidden|bids?|betoken|hence|thereof|therein|whereof|lest|ere|nay|shall", "plain words"),
    (r"look(?:s|ed|ing)? after", "manage, maintain"),
    (r"of (?:its|their) own accord|by (?:its|their) own hand", "itself"),
]
PATTERN = re.compile("|".join(rf"(\b(?:{words})\b)" for words, _ in WORDS), re.IGNORECASE)

# Openings of a summary that are no noun phrase and no verb (RFC 1574).
OPENING = re.compile(r"^\s*//[/!] (What|Whether|How|Who|Whose|Whom|Where|When)\b")


def rust_comments(text):
    """The comments of Rust and JavaScript that begin with `//`, outside of string literals."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r'"(?:\\.|[^"\\])*"', lambda it: '"' + "_" * (len(it[0]) - 2) + '"', line)
        at = re.search(r"(?<!:)//", code)
        if at:
            lines.append((number, line[at.start():]))
    return lines


def python_comments(text):
    """The comments of Python, and the docstrings."""
    lines = []
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return hash_comments(text)
    begins = True
    for token in tokens:
        if token.type == tokenize.COMMENT:
            lines.append((token.start[0], token.string))
        elif token.type == tokenize.STRING and begins:
            lines += enumerate(token.string.splitlines(), token.start[0])
        begins = token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT,
                                tokenize.COMMENT, tokenize.ENCODING)
    return lines


def hash_comments(text):
    """`# ...` at the start of a line or after a space: Makefile, shell, YAML, TOML."""
    found = ((number, re.search(r"(?:^|\s)(#.*)", line)) for number, line in enumerate(text.splitlines(), 1))
    return [(number, match[1]) for number, match in found if match]


def dash_comments(text):
    found = ((number, line.find("--")) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for (number, at), line in zip(found, text.splitlines()) if at >= 0]


def prose(text):
    """Every line of a document that is not blank, without its code blocks."""
    lines, code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif line.strip() and not code:
            lines.append((number, line))
    return lines


def sentences(text):
    """The string literals of program text with two spaces or more, without its unit tests."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() == "mod tests {":
            break
        if not line.lstrip().startswith("//"):
            found = re.findall(r'"(?:\\.|[^"\\])*"', line)
            lines += [(number, one) for one in found if one.count(" ") > 1]
    return lines


def program(text):
    return rust_comments(text) + sentences(text)


READERS = {".rs": rust_comments, ".mjs": rust_comments, ".js": rust_comments, ".py": python_comments,
           ".lua": dash_comments, ".md": prose, ".sh": hash_comments, ".yaml": hash_comments,
           ".yml": hash_comments, ".toml": hash_comments}
HASHED = {"Makefile", "run"}


def files(chosen):
    found = [ROOT / name for name in chosen or FILES + FOLDERS]
    found = [path for name in found for path in ([name] if name.is_file() else name.rglob("*"))]
    for path in sorted(set(found)):
        name = path.resolve().relative_to(ROOT).as_posix() if path.resolve().is_relative_to(ROOT) else path.as_posix()
        hidden = "/target/" in f"/{name}" or "/.venv/" in f"/{name}" or name.startswith("target/")
        if path.is_file() and not hidden and not any(part in name for part in SKIPPED):
            reader = READERS.get(path.suffix) or (hash_comments if path.name in HASHED else None)
            if reader is rust_comments and "src/" in f"/{name}" and not path.name.startswith("test"):
                reader = program
            if reader:
                yield path, name, reader


def main():
    arguments = sys.argv[1:]
    if "--words" in arguments:
        for words, instead in WORDS:
            print(f"{words}\n    {instead}")
        return 0
    lines, places, openings = 0, [], []
    counts = collections.Counter()
    for path, name, reader in files(arguments):
        for number, line in reader(path.read_text(errors="replace")):
            lines += not line.startswith('"')
            for match in PATTERN.finditer(line):
                counts[match[0].lower()] += 1
                instead = WORDS[match.lastindex - 1][1]
                places.append(f"{name}:{number}: \"{match[0]}\" ({instead}): {line.strip()}")
            if OPENING.match(line):
                openings.append(name)
    for place in places:
        print(place)
    share = 1000 * len(places) / max(lines, 1)
    most = ", ".join(f"{word} {count}" for word, count in counts.most_common(12))
    print(f"\n{len(places)} in {lines} lines of comments and documents: {share:.1f} per 1,000 (limit {LIMIT:g})")
    if most:
        print(f"most frequent: {most}")
    print(f"lines of documentation comments that open with What, Whether, How, ...: {len(openings)} (not counted)")
    return 0 if share <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
