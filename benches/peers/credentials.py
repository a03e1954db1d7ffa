"""Keys and credentials of one run, in the forms the peers read.

Owns two signing keys, a thousand API keys, and the tokens made with them, by PyJWT and
`cryptography`, independent of gatepost. Everything is generated for each run and is
worth nothing afterwards.
"""

import base64
import hashlib
import json
import secrets
import time
import zlib

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER, AUDIENCE, SCOPE = "https://issuer.example", "api", "read"
API_KEYS = 1_000
ROTATING_TOKENS = 20_000
LIFETIME_SECONDS = 12 * 3600
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def api_key():
    """A key of gatepost's own form: 43 random characters and a checksum."""
    text = "gp_key_" + "".join(secrets.choice(ALPHABET) for _ in range(43))
    check = zlib.crc32(text.encode())
    digits = ""
    for _ in range(6):
        check, digit = divmod(check, 62)
        digits = ALPHABET[digit] + digits
    return text + digits


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


class Credentials:
    """What callers present, and what proxies check it with."""

    def __init__(self):
        self.signing = {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
        }
        self.api_keys = [(f"client-{number}", api_key()) for number in range(API_KEYS)]
        self._rotating = None

    def token(self, algorithm, subject="user-1"):
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": subject, "aud": AUDIENCE, "scope": SCOPE, "client_id": "app-1",
            "jti": secrets.token_hex(12), "iat": now, "exp": now + LIFETIME_SECONDS,
        }
        key, kid = self.signing[algorithm], {"kid": algorithm.lower()}
        return jwt.encode(claims, key, algorithm=algorithm, headers=kid)

    def rotating(self):
        """Many valid tokens, of as many callers. Made once: it takes a while."""
        if self._rotating is None:
            count = range(ROTATING_TOKENS)
            self._rotating = [self.token("RS256", f"user-{number}") for number in count]
        return self._rotating

    def pem(self, algorithm):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.signing[algorithm].public_key().public_bytes(serialization.Encoding.PEM, form)

    def jwks(self):
        makers = {"RS256": jwt.algorithms.RSAAlgorithm, "ES256": jwt.algorithms.ECAlgorithm}
        keys = []
        for algorithm, signing in self.signing.items():
            key = json.loads(makers[algorithm].to_jwk(signing.public_key()))
            for unneeded in ("key_ops", "use"):
                key.pop(unneeded, None)
            keys.append({**key, "kid": algorithm.lower(), "alg": algorithm, "use": "sig"})
        return json.dumps({"keys": keys})


def tampered(credential):
    """The same, but for one character in the middle of the last part."""
    head, dot, last = credential.rpartition(".")
    middle = len(last) // 2
    other = "A" if last[middle] != "A" else "B"
    return f"{head}{dot}{last[:middle]}{other}{last[middle + 1:]}"


def foreign_token(credentials):
    """Valid claims without a signature: `alg` none."""
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    payload = credentials.token("RS256").split(".")[1]
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{payload}."
