"""Opens a record of the SafeStore with joserfc and cryptography, independent of gatepost.

Reads one JSON object on standard input: the bytes of pepper and share in hexadecimal digits, the
wrapped share in base64url, owner, share version, pepper id and the record. Derives both keys as
docs and contract say, and prints one JSON object: header, plaintext and the unwrapped share in
hexadecimal digits.
"""

import base64
import json
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from joserfc import jwe
from joserfc.jwk import OctKey


def derive(secret, purpose, *names):
    """HKDF-SHA-512 with a label and names, each behind its length."""
    info = b"".join(len(name.encode()).to_bytes(8, "big") + name.encode() for name in (purpose, *names))
    return HKDF(algorithm=hashes.SHA512(), length=32, salt=b"safestore/v1", info=info).derive(secret)


given = json.load(sys.stdin)
names = (given["owner"], given["pepper_id"], str(given["version"]))
pepper, share = bytes.fromhex(given["pepper"]), bytes.fromhex(given["share"])

wrapped = base64.urlsafe_b64decode(given["wrapped"] + "==")
unwrapped = aes_key_unwrap(derive(pepper, "share", *names), wrapped)

key = OctKey.import_key(derive(pepper + share, "record", *names))
registry = jwe.JWERegistry(algorithms=["A256KW", "A256CBC-HS512"], strict_check_header=False)
opened = jwe.decrypt_compact(given["record"], key, registry=registry)
print(json.dumps({"header": opened.headers(), "plaintext": opened.plaintext.hex(), "share": unwrapped.hex()}))
