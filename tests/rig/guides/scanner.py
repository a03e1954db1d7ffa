"""A plugin for Yelp detect-secrets: the table of docs/security.md, and the checksum that it describes.

    detect-secrets scan -p tests/rig/guides/scanner.py FILE
"""

import pathlib
import re
import zlib

from detect_secrets.plugins.base import RegexBasedDetector

DOCUMENT = pathlib.Path(__file__).resolve().parents[3] / "docs/security.md"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def published():
    """The regular expressions of the table below `Secret scanners`, by the name of the secret."""
    section = DOCUMENT.read_text().split("## Secret scanners")[1]
    rows = re.findall(r"^\| ([^|]+) \| `(\\bgp_(?:[^`])+)` \|$", section, re.MULTILINE)
    return {name: re.compile(pattern.replace("\\|", "|")) for name, pattern in rows}


def has_checksum(secret):
    number = 0
    for letter in secret[-6:]:
        number = number * 62 + ALPHABET.index(letter)
    return number == zlib.crc32(secret[:-6].encode())


class GatepostDetector(RegexBasedDetector):
    """Secrets of gatepost."""

    secret_type = "gatepost secret"
    denylist = [pattern for name, pattern in published().items() if name == "any"]

    def analyze_string(self, string):
        yield from filter(has_checksum, super().analyze_string(string))
