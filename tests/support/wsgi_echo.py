"""A WSGI server that answers every request with its environment, as JSON.

WSGI folds `-` and `_` in header names into one, and the server of the standard library does so
for every field, as many deployed ones do: what reaches the application is what counts. The first
argument chooses the server: wsgiref (the default), waitress or gunicorn, which is set to pass on
names with `_`, as it did by default before version 22.
"""

import json
import os
import signal
import sys
import threading


def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    # Not the environment of the process, which WSGI mixes in.
    seen = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    seen["body"] = environ["wsgi.input"].read(length).decode("latin-1")
    body = json.dumps(seen).encode()
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", fields)
    return [body]


def announce(port):
    print(port, flush=True)


def end_with_the_test(stop):
    """The test holds the other end of standard input."""
    threading.Thread(target=lambda: (sys.stdin.read(), stop()), daemon=True).start()


def wsgiref():
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_message(self, *arguments):
            pass

    server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
    announce(server.server_port)
    end_with_the_test(server.shutdown)
    server.serve_forever(poll_interval=0.05)


def waitress():
    from waitress.server import create_server

    server = create_server(application, host="127.0.0.1", port=0, threads=2)
    announce(server.effective_port)
    end_with_the_test(lambda: os._exit(0))
    server.run()


def gunicorn():
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):
        def load_config(self):
            self.cfg.set("bind", "127.0.0.1:0")
            self.cfg.set("workers", 1)
            self.cfg.set("loglevel", "critical")
            self.cfg.set("header_map", "dangerous")
            ready = lambda server: announce(server.LISTENERS[0].sock.getsockname()[1])
            self.cfg.set("when_ready", ready)

        def load(self):
            return application

    main = os.getpid()
    end_with_the_test(lambda: os.getpid() == main and os.kill(main, signal.SIGTERM))
    Server().run()


{"wsgiref": wsgiref, "waitress": waitress, "gunicorn": gunicorn}[(sys.argv[1:] or ["wsgiref"])[0]]()
