"""Signs tokens for the tests, with PyJWT and cryptography, independent of gatepost.

Reads one JSON request a line on standard input and answers each with one line of JSON.
"""

import base64
import hashlib
import json
import sys

import jwt
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = bytes(range(33, 97))

KEYS = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "other-rsa": rsa.generate_private_key(65537, 2048),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "other-p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "secret": SECRET,
}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(name):
    """The public key as a JWK with its name as kid, without alg."""
    key = KEYS[name].public_key()
    for kind, algorithm in (
        (rsa.RSAPublicKey, RSAAlgorithm),
        (ec.EllipticCurvePublicKey, ECAlgorithm),
        (ed25519.Ed25519PublicKey, OKPAlgorithm),
    ):
        if isinstance(key, kind):
            result = json.loads(algorithm.to_jwk(key))
            result.pop("key_ops", None)
            return {**result, "kid": name, "use": "sig"}


def pem(name, private=False):
    if private:
        return KEYS[name].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
    return (
        KEYS[name]
        .public_key()
        .public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        .decode()
    )


def sign(name, algorithm, header, claims):
    return jwt.encode(claims, KEYS[name], algorithm=algorithm, headers=header)


def sign_text(name, header, payload):
    """The two JSON texts as they are, signed with Ed25519, or HMAC-SHA-256 for a secret."""
    signed = b64(header.encode()) + "." + b64(payload.encode())
    key = KEYS[name]
    if isinstance(key, bytes):
        mac = hmac.HMAC(key, hashes.SHA256())
        mac.update(signed.encode())
        return signed + "." + b64(mac.finalize())
    return signed + "." + b64(key.sign(signed.encode()))


def hmac_with(key_text, header, claims):
    """HS256 over the claims with any text as the secret: PyJWT refuses some on purpose."""
    signed = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims).encode())
    mac = hmac.HMAC(key_text.encode(), hashes.SHA256())
    mac.update(signed.encode())
    return signed + "." + b64(mac.finalize())


def digest(text, pepper=None):
    """SHA-256, or HMAC-SHA-256 with a pepper, as hexadecimal digits."""
    data = text.encode()
    if pepper is None:
        return hashlib.sha256(data).hexdigest()
    mac = hmac.HMAC(pepper.encode(), hashes.SHA256())
    mac.update(data)
    return mac.finalize().hex()


OPERATIONS = {
    "digest": digest,
    "jwk": jwk,
    "pem": pem,
    "secret": lambda: SECRET.decode(),
    "sign": sign,
    "sign_text": sign_text,
    "hmac_with": hmac_with,
}

if __name__ == "__main__":
    for line in sys.stdin:
        operation, *arguments = json.loads(line)
        print(json.dumps(OPERATIONS[operation](*arguments)), flush=True)
