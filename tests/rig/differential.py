"""Random requests and responses through gatepost, read again by h11 and llhttp: no disagreement.

Starts one gatepost for each of --workers and sends --cases connections of one to three pipelined
requests through it (tests/rig/messages.py), over Unix sockets and TCP. A small upstream answers with
random responses. h11 and llhttp read the bytes that were sent and the bytes that arrived, on
both sides. Wrong is: a forwarded message that one of them refuses or that they read differently; one
that means something else than what was sent; a refused message that was spelled within RFC 9112; a
cut that looks complete; a response without X-Request-Id; other than one log line for a response.
A failing case is made smaller and printed as bytes; --seed and --only repeat it. Needs Node.js.

    cargo build --locked && PYTHONPATH=.venv PYTHONDONTWRITEBYTECODE=1 python3 tests/rig/differential.py --cases 5000
"""

import collections
import json
import multiprocessing
import os
import pathlib
import random
import re
import select
import signal
import socket
import struct
import sys
import time
import traceback

import messages
import passing
import readers
from rig import say

IDLE = 0.05  # Seconds without progress after which the client ends its side.
HANG = 20.0
ADDED = {"host", "content-length", "transfer-encoding", "connection", "x-request-id", "x-forwarded-for", "x-forwarded-proto",
         "x-forwarded-host", "x-auth-credential", "trailer", "date", "server", "content-type", "keep-alive", "te", "via"}
READERS = ("h11", "llhttp")
EXTENSION = re.compile(rb"(?<=\r\n)([0-9A-Fa-f]+)[ \t]*;[^\r\n\0]*\r\n")
CODING = re.compile(rb"(transfer-encoding:[^\r\n]*?)[ \t]+\r\n", re.IGNORECASE)


class Case:
    """The messages of one connection, and how they are sent."""

    def __init__(self, choose, serial):
        generator = messages.Generator(choose, choose.choice([0.0, 0.5, 0.9]))
        count = choose.choice([1, 1, 1, 2, 3])
        self.requests = [generator.request(f"{serial}-{number}") for number in range(count)]
        answers = messages.Generator(choose, choose.choice([0.0, 0.0, 0.5, 0.9]))
        self.responses = [answers.response(f"{serial}-{number}", one.method) for number, one in enumerate(self.requests)]
        self.slices = choose.choice([1, 1, 1, 2, 5])
        self.early, self.finish = choose.random() < 0.04, choose.random() < 0.2
        self.serial = serial

    def methods(self):
        """HEAD or another one, as they were sent: a mutation may have changed it."""
        return ["HEAD" if one.raw().lstrip(b"\r\n").startswith(b"HEAD ") else "GET" for one in self.requests]

    def sent(self):
        return b"".join(one.raw() for one in self.requests)

    def pieces(self):
        data = self.sent()
        size = max(1, len(data) // self.slices + 1)
        return [data[at : at + size] for at in range(0, len(data), size)]


class Seen:
    """The bytes of a case at both ends."""

    def __init__(self):
        self.upstream = {}  # connection: bytes that arrived
        self.answered = []  # (connection, request number, response message) in the order of arrival
        self.client, self.reset, self.hung = b"", False, False


class Upstream:
    """Answers each request that h11 finds complete with the response of the case."""

    def __init__(self, path):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.connections = {}

    def begin(self, case, seen):
        self.case, self.seen, self.used = case, seen, set()

    def settle(self):
        while True:
            poll = select.poll()
            for number in [self.listener.fileno(), *self.connections]:
                poll.register(number, select.POLLIN)
            events = poll.poll(0)
            for number, _ in events:
                self.accept() if number == self.listener.fileno() else self.read(number)
            if not events:
                break
        for number, (_, live, _) in list(self.connections.items()):
            if live.message or live.reader.trailing_data[0]:
                self.close(number)

    def accept(self):
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(True)
        self.connections[connection.fileno()] = [connection, readers.Live(), 0]

    def read(self, number):
        connection, live, answered = self.connections[number]
        try:
            data = connection.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            return self.close(number)
        self.seen.upstream[connection] = self.seen.upstream.get(connection, b"") + data
        live.feed(data)
        ready = [one for one in live.messages[answered:] if one["complete"] or self.case.early]
        for message in ready:
            self.connections[number][2] += 1
            if not self.answer(connection, message):
                return self.close(number)
        if live.error:
            self.close(number)

    def answer(self, connection, message):
        """Whether the connection goes on."""
        numbers = [value.rsplit("-", 1)[-1] for name, value in message["fields"] if name == "x-t-id" and value.startswith(self.case.serial + "-")]
        number = int(numbers[0]) if numbers and numbers[0].isdigit() and int(numbers[0]) < len(self.case.responses) else len(self.seen.answered)
        response = self.case.responses[min(number, len(self.case.responses) - 1)]
        self.seen.answered.append((connection, number, response, message["method"]))
        try:
            connection.sendall(response.raw())
        except OSError:
            return False
        # A response without its body, because it was meant for HEAD, has no other end than the connection's.
        other = (message["method"] == "HEAD") != (response.method == "HEAD")
        return not (response.until_close or self.case.early or other)

    def close(self, number):
        connection = self.connections.pop(number)[0]
        # No reset while bytes of a request are unread: gatepost may still read the response.
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        connection.close()


class Worker:
    def __init__(self, arguments, number, folder):
        self.folder, self.upstream = folder, Upstream(folder / "app.sock")
        self.gatepost = passing.gatepost(arguments.binary, folder, f"unix:{folder}/app.sock")
        self.address = self.gatepost.tcp() if number % 4 == 0 else str(folder / "public.sock")
        self.llhttp, self.answers = readers.Llhttp(), []

    # -- one case over the sockets

    def connect(self):
        if isinstance(self.address, tuple):
            client = socket.create_connection(self.address)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Without TIME_WAIT: a hundred thousand connections would use up the ports.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.address)
        return client

    def exchange(self, case):
        seen = self.relay(case)
        # What is still on its way upstream belongs to this case, and a connection within a message ends.
        self.upstream.settle()
        return seen

    def relay(self, case):
        seen, client = Seen(), self.connect()
        self.upstream.begin(case, seen)
        pieces, methods = collections.deque(case.pieces()), case.methods()
        live, finished, until = readers.Live(methods), False, time.monotonic() + HANG
        client.setblocking(False)
        while True:
            poll = select.poll()
            poll.register(client, select.POLLIN | (select.POLLOUT if pieces else 0))
            poll.register(self.upstream.listener, select.POLLIN)
            for number in self.upstream.connections:
                poll.register(number, select.POLLIN)
            events = poll.poll(IDLE * 1000)
            for number, event in events:
                if number == client.fileno() and event & ~select.POLLOUT:
                    if not self.receive(client, seen, live):
                        client.close()
                        return seen
                if number == client.fileno() and event & select.POLLOUT and pieces:
                    self.send(client, pieces)
                elif number == self.upstream.listener.fileno():
                    self.upstream.accept()
                elif number in self.upstream.connections:
                    self.upstream.read(number)
            done = live.answered >= len(methods) + sum(one["status"] < 200 for one in live.messages)
            if not pieces and not finished and (case.finish or done or not events):
                finished = True
                try:
                    client.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            if time.monotonic() > until:
                seen.hung = True
                client.close()
                return seen

    def send(self, client, pieces):
        try:
            count = client.send(pieces[0])
        except BlockingIOError:
            return
        except OSError:
            pieces.clear()
            return
        pieces[0] = pieces[0][count:]
        if not pieces[0]:
            pieces.popleft()

    def receive(self, client, seen, live):
        try:
            data = client.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            seen.reset = True
            return False
        seen.client += data
        if data:
            live.feed(data)
        return bool(data)

    # -- judgement

    def both(self, raw, methods=None, sent=False):
        return {"h11": readers.read_h11(raw, methods, empty_lines=sent), "llhttp": self.llhttp.read(raw, methods)}

    def judge(self, case, seen):
        """The first thing that is wrong, or None."""
        if seen.hung:
            return "no end: the connection was still open after 8 s"
        return self.judge_requests(case, seen) or self.judge_responses(case, seen)

    def judge_requests(self, case, seen):
        direct = self.both(case.sent(), sent=True)
        forwarded = []
        for connection, raw in seen.upstream.items():
            read = self.both(raw)
            if wrong := agree(read):
                return f"upstream: {wrong}"
            forwarded += read["h11"]["messages"]
        expected = [one.intended for one in case.requests]
        valid = all(expected)
        forwarded.sort(key=lambda one: place(one, case))
        for order, message in enumerate(forwarded):
            number = min(place(message, case), order if place(message, case) == 99 else 99)
            if strange := strangers(message, case, valid):
                return f"request {number}: fields {strange} were forwarded"
            if not message["complete"]:
                if valid and not case.early and all(one.kind == "valid" for one in case.responses):
                    return f"request {number}: valid, and its forwarded body has no end"
                continue
            if wrong := self.meant(message, number, expected, direct, case):
                return wrong
        if valid and len(forwarded) < len(expected) and not case.early and not closing(case):
            return f"{len(forwarded)} of {len(expected)} valid requests were forwarded"
        return None

    def meant(self, message, number, expected, direct, case):
        """How a forwarded message differs from what was intended, or read in what was sent."""
        mine = simple(message)
        if number < len(expected) and all(expected[: number + 1]):
            # A mutation of another request may have given it the id of this one.
            if same(mine, expected[number]):
                return None
            if all(expected):
                return f"request {number}: forwarded {brief(mine)}, intended {brief(dict(expected[number]))}"
        accepted = []
        for name in READERS:
            read = direct[name]["messages"]
            one = alike(message, read, number)
            accepted.append(name) if one else None
            if one and not same(mine, simple(one)) and not self.alike_normally(mine, case.sent(), None):
                return f"request {number}: forwarded {brief(mine)}, {name} reads {brief(simple(one))} in what was sent"
        if not accepted and not self.alike_normally(mine, case.sent(), None):
            errors = {name: direct[name]["error"] for name in READERS}
            return f"request {number}: forwarded {brief(mine)}, and both readers refuse what was sent: {errors}"
        return None

    def alike_normally(self, mine, raw, methods):
        """RFC 9112 7.1.1 allows white space around the `;` of chunk extensions, which both readers refuse,
        and RFC 9110 5.5 a tab at the end of a value, which llhttp takes for a part of a coding; RFC 9110 2.5
        treats HTTP/1.2 as 1.1."""
        normal = CODING.sub(rb"\1\r\n", EXTENSION.sub(rb"\1\r\n", raw)).replace(b" HTTP/1.2\r\n", b" HTTP/1.1\r\n")
        read = self.both(normal, methods, sent=methods is None)
        matches = [any(same(mine, simple(one)) for one in read[name]["messages"]) for name in READERS]
        return any(matches) and all(match or read[name]["error"] for name, match in zip(READERS, matches))

    def judge_responses(self, case, seen):
        """Which response belongs to HEAD is unsure after a mutation: one pairing must be right."""
        valid = all(one.intended for one in case.requests)
        methods = case.methods()
        pairings = [methods] if valid else [self.read_methods(case), methods, [one[3] for one in seen.answered]]
        wrongs = []
        for pairing in pairings:
            ids = []
            wrong = self.judge_received(case, seen, self.both(seen.client, pairing + ["GET"] * 4), ids)
            if not wrong:
                self.answers += ids
                return None
            wrongs.append(wrong)
        return wrongs[0]

    def judge_received(self, case, seen, received, request_ids):
        """The first thing that is wrong with the bytes that the client received; adds the request ids."""
        cut = seen.reset or any(one["messages"] and not one["messages"][-1]["complete"] for one in received.values())
        if not cut and (wrong := agree(received)):
            return f"client: {wrong}: {seen.client[:300]!r}"
        finals = [one for one in received["h11"]["messages"] if one["status"] >= 200]
        if len(finals) > len(case.requests) and all(one.intended for one in case.requests):
            return f"{len(finals)} responses to {len(case.requests)} requests"
        for message in finals:
            ids = [value for name, value in message["fields"] if name == "x-request-id"]
            if len(ids) != 1:
                return f"{len(ids)} X-Request-Id on {message['status']}"
            request_ids.append(ids[0])
        if not finals and not seen.upstream and not cut and any(one.intended for one in case.requests[:1]):
            return "no answer at all"
        relayed = [one for one in finals if "application/problem+json" not in [value for name, value in one["fields"] if name == "content-type"]]
        return self.judge_relayed(case, seen, relayed, seen.reset)

    def read_methods(self, case):
        return [one["method"] for one in readers.read_h11(case.sent(), empty_lines=True)["messages"]]

    def judge_relayed(self, case, seen, relayed, reset):
        for message in relayed:
            ids = [value for name, value in message["fields"] if name == "x-t-id"]
            sent = [one for one in seen.answered if ids and one[2].raw().find(ids[0].encode("latin-1")) >= 0] or (seen.answered if len(seen.answered) == 1 else [])
            if not sent:
                if message["body"] and not seen.answered:
                    return f"a response without an upstream: {brief(simple(message))}"
                continue
            _, number, response, method = sent[0]
            # gatepost answers `OPTIONS *` itself.
            if message["status"] == 204 and b"OPTIONS *" in case.sent():
                continue
            if wrong := self.relayed(case, message, response, method, reset):
                return f"response {number}: {wrong}"
        if all(one.kind == "valid" for one in case.requests + case.responses) and not case.early:
            own = len(seen.answered) - len(relayed)
            if own > 0 and not reset:
                return f"{own} valid responses were not relayed"
        return None

    def relayed(self, case, message, response, method, reset):
        mine = simple(message)
        # A request that was cut may have swallowed the next one, and its method.
        if response.intended and (method == "HEAD") == (response.method == "HEAD"):
            if case.early and not message["complete"]:
                return None
            intended = dict(response.intended)
            return None if same(mine, intended) else f"received {brief(mine)}, intended {brief(intended)}"
        # To HTTP/1.0 a cut is a reset, which a Unix socket does not have.
        if not message["complete"] or reset or (b"HTTP/1.0" in case.sent() and not isinstance(self.address, tuple)):
            return None
        direct, accepted = self.both(response.raw(), [method]), []
        for name in READERS:
            finals = [one for one in direct[name]["messages"] if one["status"] >= 200]
            one = finals[0] if finals and finals[0]["complete"] else None
            accepted.append(name) if one else None
            if one and not same(mine, simple(one)) and not self.alike_normally(mine, response.raw(), [method]):
                return f"received {brief(mine)}, {name} reads {brief(simple(one))} in what the upstream sent"
        if not accepted and not self.alike_normally(mine, response.raw(), [method]):
            errors = {name: direct[name]["error"] for name in READERS}
            return f"received {brief(mine)}, and both readers refuse what the upstream sent: {errors}"
        return None

    def end(self):
        """The log against the answers: exactly one line for each."""
        self.gatepost.stop()
        counts = collections.Counter(line["request_id"] for line in passing.records(self.folder))
        answers = collections.Counter(self.answers)
        wrong = [f"{counts[one]} log lines of request id {one}" for one in answers if counts[one] != 1]
        wrong += [f"request id {one} on {count} answers" for one, count in answers.items() if count != 1]
        self.llhttp.close()
        return wrong


def place(message, case):
    ids = [value.rsplit("-", 1)[-1] for name, value in message["fields"] if name == "x-t-id" and value.startswith(case.serial + "-")]
    return int(ids[0]) if ids and ids[0].isdigit() else 99


def alike(message, read, number):
    """The complete message of the same id; an equal one, or the one at the same place."""
    ids = [pair for pair in message["fields"] if pair[0] == "x-t-id"]
    found = [one for one in read if ids and ids[0] in one["fields"]]
    found = found or [one for one in read if same(simple(message), simple(one))] or read[number : number + 1]
    return found[0] if found and found[0]["complete"] else None


def unknown_method(read):
    """llhttp has a closed list of methods; RFC 9110 9.1 has none."""
    return "HPE_INVALID_METHOD" in (read["error"] or "")


def strangers(message, case, valid):
    """Names of forwarded fields that gatepost is not known to add, or should have removed."""
    names = {name for name, _ in message["fields"] if not name.startswith("x-t-")} - ADDED
    return sorted(name for name in names if valid or name.encode("latin-1") not in case.sent().lower())


def simple(message):
    """What must survive: fields of the rig in their order, body, start line. The target without scheme and host."""
    found = {"fields": [[name, value.strip(" \t")] for name, value in message["fields"] if name.startswith("x-t-")],
             "body": message["body"], "complete": message["complete"]}
    if "status" in message:
        found["status"] = message["status"]
    else:
        target = message["target"]
        if target.lower().startswith("http://"):
            rest = target[7:]
            cut = min((rest.find(end) for end in "/?" if end in rest), default=len(rest))
            target = rest[cut:] if rest[cut : cut + 1] == "/" else "/" + rest[cut:]
        found.update(method=message["method"], target=canonical(target))
    return found


def canonical(target):
    """Dot segments are removed before a path is decided on and forwarded (RFC 3986 5.2.4)."""
    path, mark, query = target.partition("?")
    segments, kept = path.split("/"), []
    if not path.startswith("/") or not {".", ".."} & set(segments):
        return target
    for segment in segments[1:]:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept) + mark + query


def same(mine, other):
    return all(mine[key] == other[key] for key in mine if key in other)


def agree(read):
    """How the two readings of one stream differ."""
    one, other = read["h11"], read["llhttp"]
    if unknown_method(other) and len(one["messages"]) > len(other["messages"]):
        one = {"messages": one["messages"][: len(other["messages"])], "error": None}
        other = {**other, "error": None}
    if bool(one["error"]) != bool(other["error"]) or len(one["messages"]) != len(other["messages"]):
        return f"h11 {len(one['messages'])} {one['error']}, llhttp {len(other['messages'])} {other['error']}"
    pairs = zip(one["messages"], other["messages"])
    for number, (first, second) in enumerate(pairs):
        if not same(simple(first), simple(second)):
            return f"message {number}: h11 {brief(simple(first))}, llhttp {brief(simple(second))}"
    incomplete = one["messages"] and not one["messages"][-1]["complete"]
    return f"both refuse: {one['error']}; {other['error']}" if one["error"] and not incomplete else None


def closing(case):
    """A valid request after which gatepost may close: HTTP/1.0, or a response that ends with its connection."""
    return any(b"HTTP/1.0" in one.lines[0] for one in case.requests) or any(one.kind != "valid" or one.until_close for one in case.responses)


def brief(message):
    text = {**message, "body": message["body"][:60] + (f"... {len(message['body'])}" if len(message["body"]) > 60 else "")}
    text["fields"] = [[name, value[:40]] for name, value in text["fields"][:8]]
    return json.dumps(text)[:700]


def smaller(worker, case, wrong):
    """Leaves out messages and lines while the same kind of failure remains, in at most 200 tries."""
    kind, tries = wrong.split(":")[0][:20], 0

    def still():
        nonlocal tries, wrong
        tries += 1
        found = worker.judge(case, worker.exchange(case))
        if found and found.split(":")[0][:20] == kind:
            wrong = found
            return True
        return False

    case.slices = 1
    for message in [*case.requests, *case.responses]:
        at = len(message.lines) - 1
        while at > 0 and tries < 200:
            line, intended = message.lines.pop(at), message.intended
            message.intended, message.kind, message.until_close = None, "mutated", True
            if not still():
                message.lines.insert(at, line)
                message.intended = intended
            at -= 1
    return case, wrong


def work(arguments, number, results):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(arguments.folder) / str(number)
    folder.mkdir()
    worker = Worker(arguments, number, folder)
    try:
        attempt(worker, arguments, number, results)
        results.put(("end", number, worker.end(), len(worker.answers)))
    except Exception:
        results.put(("end", number, [f"worker {number} ended: {traceback.format_exc()}"], len(worker.answers)))
    finally:
        worker.gatepost.kill()


def attempt(worker, arguments, number, results):
    failures = 0
    for serial in range(number, arguments.cases, arguments.workers):
        if arguments.only is not None and serial != arguments.only:
            continue
        case = Case(random.Random(f"{arguments.seed}:{serial}"), f"c{serial}")
        wrong = worker.judge(case, worker.exchange(case))
        if wrong:
            failures += 1
            if failures <= arguments.smaller:
                case, wrong = smaller(worker, case, wrong)
            results.put(("wrong", serial, wrong, [one.raw() for one in case.requests], [one.raw() for one in case.responses]))


def main():
    parser = passing.parser(__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2 * (os.cpu_count() or 2))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", type=int, help="the number of one case")
    parser.add_argument("--smaller", type=int, default=3, help="failing cases of each worker that are made smaller")
    parser.add_argument("--stop-after", type=int, default=50, help="failing cases")
    arguments = parser.parse_args()
    say(f"seed {arguments.seed}: {arguments.cases} connections, {arguments.workers} workers")
    begun, failures, ended, answers = time.monotonic(), [], 0, 0
    with passing.folder(arguments.keep) as folder:
        arguments.folder, results = str(folder), multiprocessing.Queue()
        children = [multiprocessing.Process(target=work, args=(arguments, number, results), daemon=True) for number in range(arguments.workers)]
        for child in children:
            child.start()
        while ended < len(children) and len(failures) < arguments.stop_after:
            kind, *rest = results.get(timeout=300)
            if kind == "wrong":
                failures.append(rest)
                show(rest)
            elif kind == "end":
                ended, answers = ended + 1, answers + rest[2]
                failures += rest[1]
                for text in rest[1][:5]:
                    say(f"WRONG {text}")
        for child in children:
            child.terminate()
    say(f"\n{answers} answers in {time.monotonic() - begun:.0f} s, {len(failures)} failures (seed {arguments.seed})")
    return 1 if failures else 0


def show(failure):
    serial, wrong, requests, responses = failure
    say(f"\nWRONG case {serial}: {wrong}")
    for raw in requests:
        say(f"  > {raw[:400]!r}{' ...' if len(raw) > 400 else ''}")
    for raw in responses:
        say(f"  < {raw[:300]!r}{' ...' if len(raw) > 300 else ''}")


if __name__ == "__main__":
    passing.run(main)
