"""A gatepost with an issuer: configuration, administration, and clients of its endpoints.

Not a program of its own: tests/rig/issuer_bench.py, tests/rig/issuer_kills.py,
tests/rig/issuer_faults.py and tests/rig/people.py import it. Makes keys and rows in the form of the program; never reads the
store of a running process.
"""

import base64
import hashlib
import http.client
import json
import random
import sqlite3
import subprocess
import urllib.parse
import zlib

import rig

HOST = "api.example.com"
URL = f"https://{HOST}"
SECRETS = {name: f"a-client-secret-of-the-rig-for-{name}" for name in ("sync", "check", "brief")}

CONFIG = """\
listeners: [{{ address: "unix:{folder}/public.sock" }}, {{ address: "127.0.0.1:0" }}]
admin: {{ address: "unix:{folder}/admin.sock" }}
access_log: {{ file: {folder}/access.log, format: json }}
state_dir: {state}
upstreams: {{ app: {{ url: "{upstream}" }} }}
api_keys: {{ header: X-API-Key }}
issuer:
  url: {url}
  scopes: {{ read: See, write: Change }}
  access_tokens: {{ lifetime: 1h, compat_lifetime: 30d, algorithm: {algorithm} }}
  applications:
    - {{ id: sync, name: Sync, profile: compat, secret_files: [sync.secret], grants: [client_credentials], scopes: [read] }}
    - {{ id: check, name: Check, profile: compat, secret_files: [check.secret], grants: [client_credentials], introspect: true }}
{applications}{issuer}{top}
defaults: {{ upstream: app }}
routes:
  - {{ path: /api/**, access: {{ scopes: [read] }} }}
"""


class Gatepost(rig.Gatepost):
    """The process; its administration demands the token of `state_dir`."""

    def __init__(self, binary, folder, upstream, state=None, algorithm="RS256", top="", issuer="", applications="", ready=True, **popen):
        self.state = state or folder / "state"
        for name, secret in SECRETS.items():
            rig.replace(folder / f"{name}.secret", secret + "\n")
        parts = {"folder": folder, "state": self.state, "upstream": upstream, "url": URL, "algorithm": algorithm}
        more = {"top": top, "issuer": issuer, "applications": applications}
        super().__init__(binary, folder, CONFIG.format(**parts, **more), ready, **popen)

    def admin_fields(self):
        try:
            return {"Authorization": "Bearer " + (self.state / "admin.token").read_text().strip()}
        except OSError:
            return {}

    def call(self, method, path, body=None):
        """Status and document of the administration."""
        status, text = self.admin(method, path, None if body is None else json.dumps(body))
        return status, json.loads(text)

    def made(self, path, body=None):
        """The document of something that must be made."""
        status, document = self.call("POST", path, body or {})
        rig.must(status in (200, 201), f"POST {path}: {status} {document}")
        return document

    def command(self, *words, text=None):
        """A command of the program on the same configuration."""
        command = [self.binary, *words, "--config", "gatepost.yaml"]
        return subprocess.run(command, cwd=self.folder, input=text, capture_output=True, text=True, timeout=60)

    @property
    def store(self):
        return self.state / "gatepost.db"


class Client:
    """One connection to the public listener, opened again when it is closed."""

    def __init__(self, folder, timeout=30):
        self.connection = rig.UnixConnection(folder / "public.sock", timeout)

    def ask(self, method, path, fields=(), form=None):
        """Status and text of an answer."""
        fields = {"Host": HOST, **dict(fields)}
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form)
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        elif method == "POST":
            fields["Content-Length"] = "0"
        try:
            self.connection.request(method, path, body=body, headers=fields)
            answer = self.connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def api(self, credential):
        """The status of a request with a credential of any kind."""
        if credential.startswith("gp_key_"):
            return self.ask("GET", "/api/x", {"X-API-Key": credential})[0]
        return self.ask("GET", "/api/x", {"Authorization": "Bearer " + credential})[0]

    def token(self, client="sync", secret=None):
        """Status and document of the client credentials grant."""
        form = {"grant_type": "client_credentials"}
        basic = base64.b64encode(f"{client}:{secret or SECRETS[client]}".encode()).decode()
        status, text = self.ask("POST", "/oauth/token", {"Authorization": "Basic " + basic}, form)
        return status, json.loads(text)

    def revoke(self, token):
        """The revocation of the guides: a bearer and no body."""
        status, text = self.ask("POST", "/oauth/revoke", {"Authorization": "Bearer " + token})
        return status, text

    def is_active(self, token):
        form = {"token": token, "client_id": "check", "client_secret": SECRETS["check"]}
        status, text = self.ask("POST", "/oauth/introspect", (), form)
        rig.must(status == 200, f"introspection: {status} {text}")
        return json.loads(text)["active"]

    def close(self):
        self.connection.close()


# ---- Rows, as the program writes them ----------------------------------------------------------


def credential(kind, seed, number):
    """A key or personal access token, made from the seed."""
    body = int.from_bytes(hashlib.sha256(f"{kind}:{seed}:{number}".encode()).digest(), "big")
    text = f"gp_{kind}_" + rig.base62(body % 62**43, 43)
    return text + rig.base62(zlib.crc32(text.encode()), 6)


def identifier(prefix, choose):
    return prefix + rig.base62(choose.getrandbits(130), 22)


def connect(store):
    """A connection of the rig to the file, with the settings of the program."""
    connection = sqlite3.connect(store, isolation_level=None, timeout=30)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def columns(connection, table):
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def insert(connection, table, example, rows):
    """Inserts rows that are like `example`, a row of the program, but for the given columns."""
    names = list(example)
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(statement, (tuple({**example, **row}.values()) for row in rows))
    connection.execute("COMMIT")


def row(connection, table, where="true"):
    """One row, by the names of its columns."""
    found = connection.execute(f"SELECT * FROM {table} WHERE {where}").fetchone()
    return dict(zip(columns(connection, table), found))


def people(choose, count):
    """Ids of people, and the rows that differ between them."""
    ids = [identifier("usr_", choose) for _ in range(count)]
    return ids, ({"id": id, "login": f"person{number}"} for number, id in enumerate(ids))


def credentials(seed, owners, count):
    """Keys and personal access tokens in turn, spread over the owners."""
    choose = random.Random(f"credentials:{seed}")
    for number in range(count):
        kind = KINDS[number % 2]
        text = credential(kind, seed, number)
        digest = hashlib.sha256(text.encode()).digest()
        owner = owners[number // 2 % len(owners)]
        yield {"id": identifier(kind + "_", choose), "kind": kind, "owner": owner, "name": f"client {number}",
               "digest": digest, "hint": text[-4:]}


KINDS = ("key", "pat")
