"""Serves a key set over TLS, with certificates of an authority made here.

The first line on standard output is JSON with the port and the authority in PEM. Each line on
standard input is JSON: ["body", TEXT] or ["certificate", "good" | "expired" | "wrong-name" |
"self-signed"], answered with an empty line.
"""

import datetime
import ipaddress
import json
import ssl
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(subject, key, issuer, issuer_key, begin, end, authority=False, alternative=None):
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(authority, None), True)
    )
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), False)
    return builder.sign(issuer_key, hashes.SHA256())


def pem(thing):
    return thing.public_bytes(serialization.Encoding.PEM)


def context(leaf, key):
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem(leaf) + private)
        file.flush()
        result.load_cert_chain(file.name)
    return result


root_key = ec.generate_private_key(ec.SECP256R1())
key = ec.generate_private_key(ec.SECP256R1())
root = certificate("test root", root_key, "test root", root_key, NOW - DAY, NOW + DAY, True)
here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
there = x509.DNSName("keys.example.com")


def leaf(begin, end, alternative):
    return certificate(
        "key server", key, "test root", root_key, begin, end, alternative=alternative
    )


CERTIFICATES = {
    "good": context(leaf(NOW - DAY, NOW + DAY, here), key),
    "expired": context(leaf(NOW - 3 * DAY, NOW - 2 * DAY, here), key),
    "wrong-name": context(leaf(NOW - DAY, NOW + DAY, there), key),
    "self-signed": context(
        certificate("key server", key, "key server", key, NOW - DAY, NOW + DAY, False, here), key
    ),
}
state = {"body": "", "certificate": "good"}


class Handler(BaseHTTPRequestHandler):
    timeout = 20

    def setup(self):
        self.request = CERTIFICATES[state["certificate"]].wrap_socket(
            self.request, server_side=True
        )
        super().setup()

    def do_GET(self):
        body = state["body"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.server_port, "authority": pem(root).decode()}), flush=True)
for line in sys.stdin:
    what, value = json.loads(line)
    state[what] = value
    print(flush=True)
