"""The application of tests/rig/upstreams.py as WSGI, and as a server of the standard library (HTTP/1.0).

    gunicorn apps:application
    python3 apps.py PORT
"""

import http.server
import os
import signal
import sys
import time

LARGE = 20 * 1024 * 1024
BLOCK = b"0123456789abcdef" * 4096


def blocks():
    for _ in range(LARGE // len(BLOCK)):
        yield BLOCK


def events():
    for number in range(5):
        yield b"data: %d\n\n" % number
        time.sleep(0.3)


def dying():
    """Half of what was announced; then the process is killed."""
    yield BLOCK
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/large":
        start_response("200 OK", [("Content-Length", str(LARGE))])
        return blocks()
    if path == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    if path == "/die":
        start_response("200 OK", [("Content-Length", str(LARGE))])
        return dying()
    if path == "/same":
        start_response("304 Not Modified", [("ETag", '"e"')])
        return []
    if path == "/early":
        start_response("413 Content Too Large", [("Content-Length", "5"), ("Connection", "close")])
        return [b"large"]
    body = str(len(environ["wsgi.input"].read()) if environ["REQUEST_METHOD"] == "POST" else 0).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Handler(http.server.BaseHTTPRequestHandler):
    """HTTP/1.0, as `python3 -m http.server`: no chunks, and every connection ends."""

    def do_GET(self):
        status, length, body = 200, None, [b"0"]
        if self.path == "/large":
            length, body = LARGE, blocks()
        elif self.path == "/events":
            body = events()
        elif self.path == "/die":
            length, body = LARGE, dying()
        elif self.path == "/same":
            status, body = 304, []
        self.send_response(status)
        if length:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            for piece in body:
                self.wfile.write(piece)
                self.wfile.flush()

    do_HEAD = do_GET

    def do_POST(self):
        if self.path == "/early":
            self.send_response(413)
            self.end_headers()
            self.wfile.write(b"large")
            return
        body = str(self.count()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def count(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return len(self.rfile.read(int(self.headers["Content-Length"])))
        count = 0
        while size := int(self.rfile.readline(), 16):
            count += len(self.rfile.read(size + 2)) - 2
        self.rfile.readline()
        return count

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
