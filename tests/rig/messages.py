"""Random HTTP/1 messages from a grammar, with mutations, and what each means. For tests/rig/differential.py.

A message is a list of lines and pieces of body, so that a failing one can be made smaller by leaving
some out. `intended` is the meaning of a message that was spelled within RFC 9112, or None after a
mutation: then only the two readers know. Every choice comes from the given random generator.
"""

import dataclasses

METHODS = ["GET"] * 6 + ["POST"] * 5 + ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"]
VALUES = ["a", "", "x y", "a\tb", "\"q\\\"\"", "a, b", "\x80\xff", "a:b", "=;,", "0", "chunked", "x" * 300]
TARGETS = ["/", "/a/b", "/a?b=c&d", "/a?\"q\"={1}<b>", "/a%20b?%zz", "/a;v=1", "/~u/@:!$&'()*+,=", "/" + "p" * 200, "/a?" + "q" * 900]
# Bytes that readers have disagreed on.
ODD = b"\x00\x01\x08\t\n\x0b\x0c\r \"#%,:;<=@[\\]^`{|}\x7f\x80\x85\xa0\xff_-.0Aa"
LENGTHS = ["+{}", "-{}", "0x{}", "{0},{0}", "{0}, {0}", "{},", ",{}", "{}.0", "{}e0", "00{}", "\t{}\t", "{}\x0b", "{} 1", "\"{}\"", "{}\xa0",
           "99999999999999999999", "18446744073709551621", "", "{}\r\nContent-Length: {}", "{}\r\nContent-Length: 7"]
CODINGS = ["Chunked", "CHUNKED", "chunked, chunked", "gzip, chunked", "chunked, gzip", "gzip", "identity", "chunked,", ",chunked",
           "chunked;a=b", "\"chunked\"", "xchunked", "chunked\x0b", "\x0bchunked", "chunked\t", "", "chun\r\n ked",
           "chunked\r\nTransfer-Encoding: chunked", "identity\r\nTransfer-Encoding: chunked"]
SIZES = ["0{:x}", "0000000{:x}", "{:X}", "{:x} ", "{:x}\t", " {:x}", "0x{:x}", "+{:x}", "-{:x}", "{:x};", "{:x};a", "{:x};a=b", "{:x};a=\"b;c\"",
         "{:x};a=\"b", "{:x} ;a=b", "{:x}; a", "{:x};=", "{:x};a=", "{:x};a=\"\\\"\"", "{:x}\n", "{:x}\r", "{:x};\n", "{:x}:", "{:x},1", "g",
         "1{:016x}", "ffffffffffffffff", "{:x}_", "{:x}\x0b", "{:x};a\x00", "{:x};\x80=\xff", ""]
ENDS = ["\n", "\r", "\n\r", "\r\r\n", "", " \r\n", "\0\r\n", "\x0b\r\n"]
TRAILERS = ["X-T-Late: yes", "x-t-late:", "X_T_Late: y", "no colon", " folded: y", ": empty", "X-T : y", "Content-Length: 5", "Transfer-Encoding: chunked",
            "Host: b", "X-Auth-Subject: root", "X-T-\0: y", "X-T: a\nb", "Trailer: x"]


@dataclasses.dataclass
class Message:
    lines: list  # Head lines with their ends, then pieces of body: bytes.
    method: str
    intended: dict | None
    until_close: bool = False
    kind: str = ""

    def raw(self):
        return b"".join(self.lines)


def octets(text):
    return text.encode("latin-1")


class Generator:
    def __init__(self, choose, mutated=0.5):
        self.choose, self.mutated = choose, mutated

    # -- parts

    def fields(self, serial):
        """Names are in lower case only in what is intended; order and repetition count."""
        choose, found = self.choose, [("x-t-id", serial)]
        for number in range(choose.choice([0, 1, 2, 3, 3, 5, 40])):
            found.append((choose.choice([f"x-t-{number}", "x-t-same", "X-T-Upper", "x-t-!#$%&'*+.^`|~"]), choose.choice(VALUES)))
        return found

    def spell(self, fields):
        choose, rows = self.choose, []
        for name, value in fields:
            before, after = choose.choice([" ", " ", " ", "", "\t", "  \t "]), choose.choice(["", "", "", " ", "\t "])
            rows.append(octets(f"{name}:{before}{value}{after}\r\n"))
        return rows

    def body(self):
        choose = self.choose
        size = choose.choice([0, 1, 2, 5, 16, 17, 100, 1000, choose.randrange(20000)])
        pool = choose.choice([b"x", b"\r\n", b"0\r\n\r\n", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", bytes(range(256)), b"HTTP/1.1 200 OK\r\n\r\n"])
        return (pool * (size // len(pool) + 1))[:size]

    def chunks(self, body):
        """Chunked lines of a body, spelled within RFC 9112: extensions, zeros, upper case, trailers."""
        choose, rows = self.choose, []
        while body:
            size = min(len(body), choose.choice([1, 2, 15, 16, 500, 70000]))
            form = choose.choice(["{:x}"] * 6 + ["{:X}", "0{:x}", "{:x};a=b", "{:x};a;b=\"q;\\\"\"", "{:x} ; a = b"][: 4 if self.strict else 5])
            rows += [octets(form.format(size)) + b"\r\n", body[:size] + b"\r\n"]
            body = body[size:]
        trailer = choose.random() < 0.1
        return rows + [b"0\r\n"] + ([b"X-T-Trailer: t\r\n"] if trailer else []) + [b"\r\n"]

    strict = True

    # -- mutations

    def mutate(self, lines, is_response):
        """One or two faults, or spellings that some readers take for faults."""
        choose = self.choose
        for _ in range(choose.choice([1, 1, 1, 2])):
            find = [self.odd_byte, self.odd_byte, self.line_end, self.length, self.coding, self.size, self.repeat, self.drop,
                    self.fold, self.colon, self.trailer, self.cut, self.both, self.start_line]
            lines = choose.choice(find)(list(lines), is_response) or lines
        return lines

    def at(self, lines, test):
        places = [place for place, line in enumerate(lines) if test(line)]
        return self.choose.choice(places) if places else None

    def head(self, lines):
        return lines.index(b"\r\n") if b"\r\n" in lines else len(lines)

    def odd_byte(self, lines, is_response):
        place = self.choose.randrange(min(len(lines), self.head(lines) + 3))
        # Queries pass unread: above 7f a byte of one arrives as it is, and both readers refuse it.
        pool = ODD if place or is_response else bytes(byte for byte in ODD if byte < 128)
        line, byte = lines[place], bytes([self.choose.choice(pool)])
        at = self.choose.randrange(min(len(line), 60) + 1)
        lines[place] = line[:at] + byte + line[at + self.choose.choice([0, 0, 1]) :]
        return lines

    def line_end(self, lines, _):
        place = self.at(lines, lambda line: line.endswith(b"\r\n") and len(line) < 2000)
        if place is not None:
            lines[place] = lines[place][:-2] + octets(self.choose.choice(ENDS))
        return lines

    def header(self, lines, name, values):
        place = self.at(lines, lambda line: line.lower().startswith(octets(name.lower())))
        number = 5 if place is None else lines[place].split(b":")[-1].strip().decode("latin-1") or "5"
        line = octets(f"{name}: " + self.choose.choice(values).replace("{0}", "{}").replace("{}", str(number)) + "\r\n")
        if place is None:
            lines.insert(1, line)
        else:
            lines[place] = line
        return lines

    def length(self, lines, _):
        return self.header(lines, "Content-Length", LENGTHS)

    def coding(self, lines, _):
        return self.header(lines, "Transfer-Encoding", CODINGS)

    def size(self, lines, _):
        """A chunk size is the line before a piece of body, after the head."""
        end = self.head(lines)
        place = self.at(lines, lambda line: len(line) < 30 and line[:1] in b"0123456789abcdefABCDEF" and line in lines[end + 1 :])
        if place is not None and place > end:
            digits = lines[place].split(b";")[0].strip()
            number = int(digits, 16) if digits.isalnum() and len(digits) < 9 and all(byte in b"0123456789abcdefABCDEF" for byte in digits) else 5
            lines[place] = octets(self.choose.choice(SIZES).format(number)) + b"\r\n"
        return lines

    def repeat(self, lines, _):
        lines.insert(self.choose.randrange(1, len(lines) + 1), lines[self.choose.randrange(len(lines))])
        return lines

    def drop(self, lines, _):
        if len(lines) > 2:
            del lines[self.choose.randrange(len(lines))]
        return lines

    def fold(self, lines, _):
        lines.insert(self.choose.randrange(1, self.head(lines) + 1), octets(self.choose.choice([" x\r\n", "\tx: y\r\n", " \r\n", "x\r\n", ":\r\n"])))
        return lines

    def colon(self, lines, _):
        place = self.choose.randrange(self.head(lines))
        lines[place] = lines[place].replace(b":", octets(self.choose.choice([" :", "\t:", "::", "", ": :", "\0:"])), 1)
        return lines

    def trailer(self, lines, _):
        lines.insert(max(len(lines) - 1, 1), octets(self.choose.choice(TRAILERS)) + b"\r\n")
        return lines

    def cut(self, lines, _):
        """The end is missing."""
        place = self.choose.randrange(len(lines))
        return [*lines[:place], lines[place][: self.choose.randrange(len(lines[place]) + 1)]]

    def both(self, lines, _):
        lines.insert(self.choose.randrange(1, max(self.head(lines), 2)), self.choose.choice([b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"content_length: 5\r\n", b"Connection: transfer-encoding\r\n", b"Transfer_Encoding: chunked\r\n"]))
        return lines

    def start_line(self, lines, is_response):
        faults = ["HTTP/1.1  200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 200", "HTTP/1.1\t200 OK", "http/1.1 200 OK", "HTTP/1.2 200 OK",
                  "HTTP/2.0 200 OK", "HTTP/1.1 099 X", "HTTP/1.1 +20 X", " HTTP/1.1 200 OK", "HTTP/1.1 200 \x80\xff", "HTTP/1.1 101 Up", "HTTP/1.1 205 R", "ICY 200 OK", "HTTP/1.1 600 X"]
        if not is_response:
            faults = ["GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1", "get / HTTP/1.1", "GET\t/\tHTTP/1.1", "GET / HTTP/1.2", "GET / HTTP/2.0",
                      "GET / HTTP/0.9", "GET /", "GET / http/1.1", "GET / HTTP/1.10", "GET / HTTP/01.1", "GET / HTTP/1", "M-SEARCH / HTTP/1.1", "G@T / HTTP/1.1",
                      "GET a HTTP/1.1", "GET http://a HTTP/1.1", "GET http://a:80/x HTTP/1.1", "GET http:///x HTTP/1.1", "GET http://u@a/ HTTP/1.1", "OPTIONS * HTTP/1.1", "GET * HTTP/1.1",
                      "CONNECT a:1 HTTP/1.1", "GET //a HTTP/1.1", "GET /\x80 HTTP/1.1", "GET /a`b HTTP/1.1", "GET /a#b HTTP/1.1", "GET / HTTP/1.1\r\n", "\r\nGET / HTTP/1.1"]
        lines[0] = octets(self.choose.choice(faults)) + b"\r\n"
        return lines

    # -- messages

    def request(self, serial):
        choose = self.choose
        method, target, version = choose.choice(METHODS), choose.choice(TARGETS), choose.choice(["1.1"] * 9 + ["1.0"])
        fields, body = self.fields(serial), self.body() if choose.random() < 0.6 else b""
        form = "http://a{}" if choose.random() < 0.1 else "{}"
        coding = choose.choice(["length", "chunked"]) if version == "1.1" else "length"
        rows = self.spell(fields)
        tail = [body] if body else []
        if coding == "chunked" and body:
            rows.append(b"Transfer-Encoding: chunked\r\n")
            tail = self.chunks(body)
        elif body or method in ("POST", "PUT", "PATCH") or choose.random() < 0.1:
            rows.append(b"Content-Length: %d\r\n" % len(body))
        rows.append(b"Host: a\r\n")
        if choose.random() < 0.1:
            rows += [b"Connection: X-N-1, x-n-2\r\n", b"X-N-1: dropped\r\n", b"x-n-2: dropped\r\n"]
        if version == "1.0" and choose.random() < 0.5:
            rows.append(b"Connection: keep-alive\r\n")
        choose.shuffle(rows)
        order = [row for row in rows if row.lower().startswith(b"x-t-")]
        fields = [[text.lower(), value.strip(" \t")] for text, value in (row.decode("latin-1").split(":", 1) for row in order)]
        fields = [[name, value[:-2].strip(" \t") if value.endswith("\r\n") else value] for name, value in fields]
        lines = [octets(f"{method} {form.format(target)} HTTP/{version}\r\n"), *rows, b"\r\n", *tail]
        intended = {"method": method, "target": target, "fields": fields, "body": body.decode("latin-1"), "complete": True}
        return self.finish(lines, method, intended, False, False)

    def response(self, serial, method):
        choose = self.choose
        status = choose.choice([200] * 8 + [201, 204, 304, 404, 500, 299])
        fields, body = self.fields(serial), self.body()
        rows, tail, until_close = self.spell(fields), [], False
        bodiless = method == "HEAD" or status in (204, 304)
        coding = choose.choice(["length", "length", "chunked", "close"])
        if coding == "length" and status != 204:
            rows.append(b"Content-Length: %d\r\n" % len(body))
            tail = [body]
        elif coding == "chunked" and status not in (204, 304):
            rows.append(b"Transfer-Encoding: chunked\r\n")
            tail = self.chunks(body)
        elif not bodiless:
            until_close, tail = True, [body]
            rows.append(b"Connection: close\r\n")
        if bodiless:
            body, tail = b"", []
        choose.shuffle(rows)
        order = [row for row in rows if row.lower().startswith(b"x-t-")]
        pairs = [row[:-2].decode("latin-1").split(":", 1) for row in order]
        first = [b"HTTP/1.1 100 Continue\r\n\r\n"] if choose.random() < 0.03 else []
        early = [b"HTTP/1.1 103 Early Hints\r\nX-T-Hint: 1\r\n\r\n"] if choose.random() < 0.03 else []
        lines = [*early, *first, octets(f"HTTP/1.1 {status} Reason\r\n"), *rows, b"\r\n", *tail]
        intended = {"status": status, "fields": [[name.lower(), value.strip(" \t")] for name, value in pairs],
                    "body": body.decode("latin-1"), "complete": True}
        return self.finish(lines, method, intended, until_close, True)

    def finish(self, lines, method, intended, until_close, is_response):
        lines = [line for line in lines if line]
        if self.choose.random() < self.mutated:
            changed = self.mutate(lines, is_response)
            if changed != lines:
                return Message(changed, method, None, True, "mutated")
        return Message(lines, method, intended, until_close, "valid")
