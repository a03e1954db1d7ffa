"""A gatepost with its issuer on, for the rigs that call it with clients and resource servers of others.

Not a program of its own. Owns the configuration, a port that stays reserved, and the commands on
the store. Reads no HTTP itself.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import rig
from rig import must

CONFIG = """\
listeners: [{{ address: "127.0.0.1:{port}" }}]
admin: {{ address: "unix:{folder}/admin.sock" }}
access_log: {{ file: "{folder}/access.log", format: json }}
state_dir: state
api_keys: {{ header: X-API-Key }}
issuer:
  url: "http://127.0.0.1:{port}"
  audience: "{audience}"
  scopes: {{ read: See products, write: Change products }}
  access_tokens: {{ compat_lifetime: {lifetime} }}
  applications:
    - {{ id: shop, profile: compat, secret_files: [shop.secret], grants: [client_credentials], scopes: [read, write] }}
    - {{ id: brief, profile: compat, secret_files: [brief.secret], grants: [client_credentials], access_lifetime: 1s }}
    - {{ id: reader, profile: compat, secret_files: [reader.secret], grants: [client_credentials], introspect: true }}
upstreams: {{ app: {{ url: "{upstream}" }} }}
defaults: {{ upstream: app }}
routes:
  - {{ path: /api/query, methods: [POST], access: {{ scopes: [read] }} }}
  - {{ path: /api/import, methods: [POST], access: {{ scopes: [write] }} }}
  - {{ path: /odata/**, methods: [GET], access: {{ scopes: [read] }} }}
  - {{ path: /api/v3/user, methods: [GET], access: authenticated }}
"""
SHOP, READER, BRIEF = (f"a-secret-of-{name}-0123456789-abcdef" for name in ("the-shop", "a-reader", "brief-tokens"))
SECRETS = {"shop": SHOP, "reader": READER, "brief": BRIEF}


def hold_port():
    """A bound socket that does not listen: no other program gets its port, and one with SO_REUSEADDR
    can listen on it."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


class Gatepost(rig.Gatepost):
    """The process; `base` is its URL and the issuer's, `secrets` are those that it issued."""

    def __init__(self, binary, folder, upstream, config=CONFIG, secrets=SECRETS, **more):
        self.held, self.secrets, self.config = hold_port(), set(secrets.values()), config
        self.base = f"http://127.0.0.1:{self.held.getsockname()[1]}"
        for name, secret in secrets.items():
            rig.replace(folder / f"{name}.secret", secret)
        self.settings = {"port": self.base.rpartition(":")[2], "folder": folder, "audience": self.base, "lifetime": "30d", "upstream": upstream, **more}
        super().__init__(binary, folder, config.format(**self.settings))

    def change(self, **settings):
        """Other settings from now on, by a reload: `lifetime`, `audience`."""
        self.settings.update(settings)
        rig.replace(self.folder / "gatepost.yaml", self.config.format(**self.settings))
        self.command("reload")

    def command(self, *words, **options):
        """Standard output of a command on the issuer; `input`, `env` as in `subprocess.run`."""
        at = words.index("--") if "--" in words else len(words)
        words = [self.binary, *words[:at], "--config", "gatepost.yaml", *words[at:]]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=120, **options)
        must(done.returncode == 0, f"{words[1:4]} ended with {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")
        self.secrets.update(re.findall(r"\bgp_[a-z]+_\w+", done.stdout))
        return done.stdout.strip()

    def create(self, *words):
        """The object that a command with `--output json` prints."""
        return json.loads(self.command(*words, "--output", "json"))


class Upstream:
    """tests/rig/guides/api.mjs on a Unix socket."""

    def __init__(self, folder):
        path = folder / "app.sock"
        self.url = f"unix:{path}"
        script = pathlib.Path(__file__).parent / "guides/api.mjs"
        self.child = subprocess.Popen(["node", str(script), str(path)], stderr=sys.stderr)
        rig.eventually("the upstream", path.exists, 20)

    def kill(self):
        self.child.kill()
        self.child.wait()


def environment(**settings):
    """The environment of a client, without proxies of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, **settings}
