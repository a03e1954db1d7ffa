"""Makes certificates in a folder, with code that gatepost has no part in.

Standard input is a JSON list of {name, issuer, authority, common_name, dns, ip, uri, email, begins,
ends, kind, usage, path_length}: begins and ends in days from now, kind "ec" (the default), "rsa" or
"ed25519", usage a list of "client" and "server" for the extended key usage. Without an issuer a certificate signs itself. Writes NAME.crt, with the issuers below the root, and NAME.key; an
issuer may be of an earlier call.
"""

import datetime
import ipaddress
import json
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FOLDER = sys.argv[1]
USAGES = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}
NOW = datetime.datetime.now(datetime.timezone.utc)


def read(name):
    with open(os.path.join(FOLDER, name), "rb") as file:
        return file.read()


def write(name, content):
    # Beside it, then renamed: a reload never reads half a file.
    path = os.path.join(FOLDER, name)
    file = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(file, content)
    os.close(file)
    os.rename(path + ".new", path)


def made_key(kind):
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def alternatives(spec):
    found = [x509.DNSName(one) for one in spec.get("dns", [])]
    found += [x509.IPAddress(ipaddress.ip_address(one)) for one in spec.get("ip", [])]
    found += [x509.UniformResourceIdentifier(one) for one in spec.get("uri", [])]
    found += [x509.RFC822Name(one) for one in spec.get("email", [])]
    return found


def make(spec):
    name = spec["name"]
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, spec.get("common_name", name))]
    )
    key = made_key(spec.get("kind"))
    issuer, issuer_key, chain = subject, key, b""
    if "issuer" in spec:
        chain = read(spec["issuer"] + ".crt")
        above = x509.load_pem_x509_certificate(chain)
        issuer = above.subject
        issuer_key = serialization.load_pem_private_key(read(spec["issuer"] + ".key"), None)
        if above.issuer == above.subject:
            chain = b""
    day = datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + spec.get("begins", -1) * day)
        .not_valid_after(NOW + spec.get("ends", 30) * day)
        .add_extension(
            x509.BasicConstraints(spec.get("authority", False), spec.get("path_length")), True
        )
    )
    if "usage" in spec:
        usage = x509.ExtendedKeyUsage([USAGES[one] for one in spec["usage"]])
        builder = builder.add_extension(usage, False)
    names = alternatives(spec)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    algorithm = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    leaf = builder.sign(issuer_key, algorithm)
    write(name + ".crt", leaf.public_bytes(serialization.Encoding.PEM) + chain)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write(name + ".key", private)


for each in json.load(sys.stdin):
    make(each)
