"""Writes jwt.json: tokens and keys made by PyJWT, so that two implementations agree on the bytes.

    python -m venv .venv && .venv/bin/pip install pyjwt cryptography
    .venv/bin/python tests/vectors/make_jwt_vectors.py > tests/vectors/jwt.json

Keys are new on every run; a unit test replays the file that is committed.
"""

import datetime
import json

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

CLAIMS = {
    "iss": "https://login.example.com",
    "sub": "user-1",
    "aud": ["orders-api", "other"],
    "exp": 1800000300,
    "scope": "read write",
    "jti": "vector",
}


def public_pem(key, form):
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "login.example.com")])
    start = datetime.datetime(2026, 1, 1)
    signature_hash = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .sign(key, signature_hash)
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def vector(algorithm, key):
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pems = [public_pem(key, spki), certificate(key)]
    if isinstance(key, rsa.RSAPrivateKey):
        pems.append(public_pem(key, serialization.PublicFormat.PKCS1))
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    token = jwt.encode(CLAIMS, key, algorithm=algorithm, headers={"kid": "v"})
    return {"alg": algorithm, "jwk": {**jwk, "kid": "v"}, "pems": pems, "token": token}


def main():
    rsa_key = rsa.generate_private_key(65537, 2048)
    vectors = [vector(f"{kind}{bits}", rsa_key) for kind in ("RS", "PS") for bits in (256, 384, 512)]
    for name, curve in (("ES256", ec.SECP256R1()), ("ES384", ec.SECP384R1()), ("ES512", ec.SECP521R1())):
        vectors.append(vector(name, ec.generate_private_key(curve)))
    vectors.append(vector("EdDSA", ed25519.Ed25519PrivateKey.generate()))
    print(json.dumps(vectors, indent=1))


main()
