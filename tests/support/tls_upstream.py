"""An upstream with TLS, whose certificate a test chooses.

Arguments: the folder of the certificates, and the certificate to begin with. The first line on standard
output is the port. Each line on standard input is JSON: ["certificate", NAME] or ["client_ca", NAME or
null], for connections that begin later; each is answered with an empty line. Answers each request with
JSON: the number of the connection, the server name, the protocol, the common name of the client, and
the fields of the request.
"""

import itertools
import json
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = sys.argv[1]
CONNECTIONS = itertools.count(1)
SETTINGS = {"certificate": sys.argv[2], "client_ca": None}


def path(name):
    return os.path.join(FOLDER, name)


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    name = SETTINGS["certificate"]
    made.load_cert_chain(path(name + ".crt"), path(name + ".key"))
    made.set_alpn_protocols(["h2", "http/1.1"])
    if SETTINGS["client_ca"]:
        made.load_verify_locations(path(SETTINGS["client_ca"] + ".crt"))
        made.verify_mode = ssl.CERT_REQUIRED
        # The refusal is part of the handshake.
        made.maximum_version = ssl.TLSVersion.TLSv1_2

    def named(connection, name, _):
        connection.context.named = name

    made.named = None
    made.sni_callback = named
    return made


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        self.number = next(CONNECTIONS)
        self.context = context()
        self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self):
        peer = self.request.getpeercert() or {}
        names = dict(pair for part in peer.get("subject", ()) for pair in part)
        said = {
            "connection": self.number,
            "server_name": self.context.named,
            "protocol": self.request.selected_alpn_protocol(),
            "client": names.get("commonName"),
            "fields": dict(self.headers.items()),
        }
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
for line in sys.stdin:
    what, value = json.loads(line)
    SETTINGS[what] = value
    print(flush=True)
