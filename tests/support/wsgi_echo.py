"""A WSGI server that answers every request with its environment, as JSON.

WSGI folds `-` and `_` in header names into one, and the server of the standard library does so
for every field, as many deployed ones do: what reaches the application is what counts.
"""

import json
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    # Not the environment of the process, which WSGI mixes in.
    seen = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    seen["body"] = environ["wsgi.input"].read(length).decode("latin-1")
    body = json.dumps(seen).encode()
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", fields)
    return [body]


server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
print(server.server_port, flush=True)
# Ends with the test, which holds the other end of standard input.
import threading

threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever(poll_interval=0.05)
