"""Two independent readers of HTTP/1 messages: h11, and llhttp in Node.js (tests/rig/llhttp.mjs).

Both give `{messages, error}`: a message has `method` and `target`, or `status`; `version`, `fields`
in lower case without trailers, `body` (Latin-1) and `complete`. Neither shares code with gatepost.
"""

import json
import subprocess

import h11

import rig

LIMIT = 1 << 20  # Bytes of a head that h11 accepts.


class Llhttp:
    def __init__(self):
        command = ["node", "--no-deprecation", str(rig.ROOT / "tests/rig/llhttp.mjs")]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self, raw, methods=None):
        self.child.stdin.write(json.dumps({"raw": raw.decode("latin-1"), "methods": methods}) + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        rig.must(answer, "node ended")
        return json.loads(answer)

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Live:
    """h11 on one connection, fed piece by piece. Every message gets a connection object of its own,
    because h11 would insist on the other half of each exchange."""

    def __init__(self, methods=None, empty_lines=False):
        self.empty_lines = empty_lines
        self.methods, self.answered, self.messages, self.error, self.at_end = methods, 0, [], None, False
        self.begin(b"")

    def begin(self, data):
        if self.methods is None:
            self.reader = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
        else:
            self.reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
            method = "HEAD" if self.methods[self.answered :][:1] == ["HEAD"] else "GET"
            self.reader.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
            self.reader.send(h11.EndOfMessage())
        self.message = None
        if data:
            self.reader.receive_data(data)

    def feed(self, data):
        """Empty data is the end of the connection."""
        if self.error:
            return
        self.at_end = self.at_end or not data
        if not data and not self.message and not self.reader.trailing_data[0]:
            return
        try:
            self.reader.receive_data(data)
            while self.step():
                pass
        except h11.RemoteProtocolError as error:
            self.error = str(error)

    def step(self):
        event = self.reader.next_event()
        if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
            return False
        if isinstance(event, (h11.Request, h11.Response, h11.InformationalResponse)):
            self.open(event)
        elif isinstance(event, h11.Data):
            self.message["body"] += bytes(event.data).decode("latin-1")
        elif isinstance(event, h11.EndOfMessage):
            self.message["complete"] = True
            return self.next()
        return True

    def open(self, event):
        text = lambda octets: bytes(octets).decode("latin-1")
        fields = [[text(name), text(value)] for name, value in event.headers]
        self.message = {"version": text(event.http_version), "fields": fields, "body": "", "complete": False}
        if isinstance(event, h11.Request):
            self.message.update(method=text(event.method), target=text(event.target))
        else:
            self.message["status"] = event.status_code
        self.messages.append(self.message)
        if isinstance(event, h11.InformationalResponse):
            self.message["complete"] = True

    def next(self):
        rest, _ = self.reader.trailing_data
        self.answered += 1
        rest = bytes(rest).lstrip(b"\r\n") if self.empty_lines else bytes(rest)
        self.begin(rest)
        if self.at_end and rest:
            self.reader.receive_data(b"")
        return bool(rest)


def read_h11(raw, methods=None, empty_lines=False):
    """`empty_lines` are skipped before a request (RFC 9112 2.2); h11 itself refuses them."""
    live = Live(methods, empty_lines)
    raw = raw.lstrip(b"\r\n") if empty_lines else raw
    if raw:
        live.feed(raw)
    live.feed(b"")
    return {"messages": live.messages, "error": live.error}
