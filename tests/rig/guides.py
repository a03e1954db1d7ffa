"""Clients that gatepost does not know, against its issuer and its gate, over real sockets.

Programs in TypeScript (compiled by npm `typescript`, run by Node.js) and PHP (curl), written from the
descriptions of the published guides: API keys, client credentials, a plugin that watches `expires_in`
alone, revocation with a bearer and no body. Beside them curl, PyPI `Authlib`, npm `oauth4webapi`, and
`detect-secrets` with the published patterns. The API is a Node.js server that answers with what
arrived. Exit code 1 when one check failed.

    cargo build --locked && make guides
"""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys

import issuer_on
import passing
import rig
from rig import must, say

HERE = rig.ROOT / "tests/rig/guides"
INSTALLED = rig.ROOT / "target/guides"
UPLOAD = 8 * 1024 * 1024
PREFIXES = ("/oauth", "/auth/oauth")
DEAD = "gp_key_0000000000000000000000000000000000000000000376UK8"  # Well formed, and of no one.
ENCODED = ("/odata/products?%24select=id%2Cname%2Cprice&%24filter=stock+gt+0+and+name+ne+%27O%27%27Neil+%26+S%C3%B6hne%27"
           "&%24expand=prices%28%24top%3D1%29&%24top=20&%24orderby=name+asc")
RAW = "/odata/products?$filter=stock%20gt%200&$expand=prices($top=1)&$top=20"


class Client:
    """A program of the guides in one language."""

    def __init__(self, name, command, plugin, gatepost):
        self.name, self.words, self.plugin, self.gatepost = name, command, plugin, gatepost

    def call(self, case, **settings):
        settings = {"API_BASE_URL": self.gatepost.base, "CLIENT_ID": "shop", "CLIENT_SECRET": issuer_on.SHOP, "SCOPE": "read write",
                    "PREFIX": "/auth/oauth", **settings}
        done = subprocess.run([*self.words, case], env=issuer_on.environment(**settings), capture_output=True, text=True, timeout=120)
        must(done.returncode == 0, f"{case} ended with {done.returncode}: {done.stderr[-400:]}")
        return json.loads(done.stdout)

    def token(self, **settings):
        answer = self.call("token", **settings)
        must(answer["status"] == 200, f"token: {answer['status']} {answer['body']}")
        self.gatepost.secrets.add(answer["body"]["access_token"])
        return answer["body"]


def is_(answer, status, **body):
    """Fails unless the answer has this status, and these members in its body."""
    must(answer["status"] == status, f"status {answer['status']}, expected {status}: {str(answer['body'])[:300]}")
    for name, right in body.items():
        got = answer["body"].get(name) if isinstance(answer["body"], dict) else None
        must(got == right, f"{name} is {got!r}, expected {right!r}")
    return answer["body"]


class Guides:
    """The checks that each language runs."""

    def __init__(self, gatepost, folder, report):
        self.gatepost, self.report = gatepost, report
        self.ada = gatepost.command("user", "add", "--login", "ada")
        self.key, self.readable = self.make_key("read", "write"), self.make_key("read")
        self.file = folder / "products.csv"
        self.file.write_bytes(random.Random(13).randbytes(UPLOAD))
        self.digest = hashlib.sha256(self.file.read_bytes()).hexdigest()

    def make_key(self, *scopes):
        words = [word for scope in scopes for word in ("--scope", scope)]
        return self.gatepost.create("key", "create", "--owner", "ada", "--name", "guide", *words)

    def run(self, client):
        for check in (self.key_on_json, self.key_on_odata, self.key_on_upload, self.key_refused, self.token_to_the_member,
                      self.token_refused, self.bearer_on_json, self.bearer_without_scope, self.revoke_with_a_bearer,
                      self.retry_after_401, self.personal_access_token, self.plugin_watches_expires_in):
            with self.report.case(f"{client.name}: {check.__doc__}") as notes:
                check(client, notes)

    def key_on_json(self, client, _):
        """API key on a JSON POST"""
        seen = is_(client.call("query", API_KEY=self.key["key"]), 200, json={"entity": "products", "filter": {"stock": {"gt": 0}}, "limit": 10})
        fields = seen["headers"]
        must("x-api-key" not in fields, "the key reached the API")
        got = (fields.get("x-auth-subject"), fields.get("x-auth-issuer"), fields.get("x-auth-credential"))
        must(got == (self.ada, "urn:gatepost:api-key", "api_key"), f"identity {got}")

    def key_on_odata(self, client, notes):
        """API key on an OData GET, percent-encoded and with a raw $"""
        for case, target in (("encoded", ENCODED), ("raw", RAW)):
            is_(client.call(case, API_KEY=self.key["key"]), 200, url=target, method="GET")
        notes.append("both targets arrived byte for byte")

    def key_on_upload(self, client, notes):
        """API key on a multipart upload of 8 MiB"""
        answer = client.call("upload", API_KEY=self.key["key"], FILE=str(self.file))
        parts = {"file": {"name": "products.csv", "size": UPLOAD, "sha256": self.digest}, "entity": "products", "mapperId": "42"}
        seen = is_(answer, 200, parts=parts)
        notes.append(f"{seen['size']} bytes, the file byte for byte")
        if "expected" in answer:
            must(answer["expected"] and answer["continued"], "curl sent no Expect, or got no 100")
            must(seen.get("early") == 0, f"{seen.get('early')} bytes of the body arrived before the API sent its 100")
            notes.append("Expect: 100-continue reached the API, the 100 reached curl, no byte of the body before it")

    def key_refused(self, client, notes):
        """wrong key 401, revoked key 401, key without the scope 403"""
        revoked = self.make_key("read", "write")
        is_(client.call("query", API_KEY=revoked["key"]), 200)
        self.gatepost.command("key", "delete", revoked["id"])
        for key in (DEAD, "gp_key_mistyped", "something-else", revoked["key"]):
            is_(client.call("query", API_KEY=key), 401)
            answer = client.call("upload", API_KEY=key, FILE=str(self.file)) if client.name == "PHP" else {}
            if answer:
                is_(answer, 401)
                must(answer["expected"] and answer["sent"] == 0 and not answer["continued"], f"{answer['sent']} bytes of a refused upload were sent")
        is_(client.call("query", API_KEY=self.readable["key"]), 200)
        is_(client.call("upload", API_KEY=self.readable["key"], FILE=str(self.file)), 403)
        if client.name == "PHP":
            notes.append("no byte of a refused upload was sent")

    def token_to_the_member(self, client, _):
        """client credentials at both prefixes: members, their order, 200"""
        for prefix in PREFIXES:
            body = client.token(PREFIX=prefix)
            must(list(body) == ["token_type", "expires_in", "access_token", "scope"], f"members {list(body)}")
            right = ("Bearer", 30 * 86400, "read write")
            must((body["token_type"], body["expires_in"], body["scope"]) == right, f"{body['token_type']} {body['expires_in']} {body['scope']}")
            must(body["access_token"].startswith("eyJ0"), "the header of the JWT does not begin with typ")
        must(client.token(SCOPE="")["scope"] == "read write", "an empty scope is not the default")

    def token_refused(self, client, _):
        """wrong secret 401 invalid_client, unknown client 401, unknown scope 400 invalid_scope"""
        is_(client.call("token", CLIENT_SECRET="wrong"), 401, error="invalid_client")
        is_(client.call("token", CLIENT_ID="none"), 401, error="invalid_client")
        is_(client.call("token", SCOPE="everything"), 400, error="invalid_scope")

    def bearer_on_json(self, client, _):
        """access token on JSON, OData and an upload"""
        token = client.token()["access_token"]
        seen = is_(client.call("query", ACCESS_TOKEN=token), 200)
        got = (seen["headers"].get("x-auth-subject"), seen["headers"].get("x-auth-client-id"), seen["headers"].get("x-auth-scopes"))
        must(got == ("app:shop", "shop", "read write"), f"identity {got}")
        must("authorization" not in seen["headers"], "the token reached the API")
        is_(client.call("encoded", ACCESS_TOKEN=token), 200, url=ENCODED)
        is_(client.call("upload", ACCESS_TOKEN=token, FILE=str(self.file)), 200)

    def bearer_without_scope(self, client, _):
        """access token without the scope: 403, tried once"""
        token = client.token(SCOPE="write")["access_token"]
        answer = client.call("retry", ACCESS_TOKEN=token)
        is_(answer, 403)
        must(answer["tries"] == 1, f"{answer['tries']} tries")

    def revoke_with_a_bearer(self, client, _):
        """revoke with a bearer and no body at both prefixes: 200, then 401 everywhere"""
        for prefix in PREFIXES:
            token, other = client.token()["access_token"], client.token()["access_token"]
            is_(client.call("revoke", ACCESS_TOKEN=token, PREFIX=prefix), 200)
            is_(client.call("query", ACCESS_TOKEN=token), 401)
            is_(client.call("revoke", ACCESS_TOKEN=token, PREFIX=prefix), 401)
            is_(client.call("query", ACCESS_TOKEN=other), 200)

    def retry_after_401(self, client, _):
        """the guides' loop ends a 401 with one new token"""
        token = client.token()["access_token"]
        is_(client.call("revoke", ACCESS_TOKEN=token), 200)
        for ended in (token, "null", "not-a-token"):
            answer = client.call("retry", ACCESS_TOKEN=ended)
            is_(answer, 200)
            must(answer["tries"] == 2, f"{answer['tries']} tries")

    def personal_access_token(self, client, _):
        """personal access token on /api/v3/user, ended by its own bearer"""
        made = self.gatepost.create("token", "create", "--user", "ada", "--name", "guide", "--scope", "read")
        seen = is_(client.call("user", ACCESS_TOKEN=made["token"]), 200)
        got = (seen["headers"].get("x-auth-subject"), seen["headers"].get("x-auth-credential"), seen["headers"].get("x-auth-issuer"))
        must(got == (self.ada, "pat", self.gatepost.base), f"identity {got}")
        is_(client.call("revoke", ACCESS_TOKEN=made["token"], PREFIX="/oauth"), 200)
        is_(client.call("user", ACCESS_TOKEN=made["token"]), 401)

    def plugin_watches_expires_in(self, client, notes):
        """a plugin with tokens of 2 s that watches expires_in alone sees no 401"""
        self.gatepost.change(lifetime="2s")
        words = ("plugin", "run", client.name.lower(), "--", *client.plugin)
        seen = json.loads(self.gatepost.command(*words, env=issuer_on.environment(SECONDS="9")))
        self.gatepost.change(lifetime="30d")
        must(list(seen["statuses"]) == ["200"] and 4 <= seen["tokens"] <= 6, str(seen))
        notes.append(f"{seen['tokens']} tokens, {seen['statuses']['200']} requests, all 200")


# ---- Other programs ---------------------------------------------------------------------------


def curl(*words):
    """Status and body."""
    words = ["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", *words]
    done = subprocess.run(words, env=issuer_on.environment(), capture_output=True, text=True, timeout=60)
    must(done.returncode == 0, f"curl: {done.stderr}")
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def curl_revokes(gatepost, _):
    """curl -X POST .../revoke with a bearer and no body: 200, then 401"""
    form = f"grant_type=client_credentials&client_id=shop&client_secret={issuer_on.SHOP}"
    for prefix in PREFIXES:
        # As in the guide, with an empty body that has a length, and with one that has a type.
        for extra in ([], ["-d", ""], ["-H", "Content-Type: application/json"]):
            token = json.loads(curl("-d", form, f"{gatepost.base}{prefix}/token")[1])["access_token"]
            bearer = ["-H", f"Authorization: Bearer {token}"]
            query = [*bearer, "--json", "{}", f"{gatepost.base}/api/query"]
            revoke = ["-X", "POST", *bearer, *extra, f"{gatepost.base}{prefix}/revoke"]
            got = [curl(*words)[0] for words in (query, revoke, query, revoke)]
            must(got == [200, 200, 401, 401], f"{prefix} {extra}: {got}")


def authlib(gatepost, _):
    """PyPI Authlib: client credentials, introspection, revocation by Basic and by form"""
    from authlib.integrations.requests_client import OAuth2Session

    def session(client, method):
        made = OAuth2Session(client, issuer_on.SECRETS[client], token_endpoint_auth_method=method, revocation_endpoint_auth_method=method)
        made.trust_env = False
        return made

    metadata = session("shop", "none").get(f"{gatepost.base}/.well-known/oauth-authorization-server", withhold_token=True).json()
    for method in ("client_secret_basic", "client_secret_post"):
        shop, reader = session("shop", method), session("reader", method)
        token = shop.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope="read")
        must(token["scope"] == "read" and token["expires_at"], str(list(token)))
        must(shop.post(f"{gatepost.base}/api/query", json={}).status_code == 200, "the token is refused")
        seen = reader.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
        must(seen["active"] is True and (seen["client_id"], seen["scope"], seen["iss"]) == ("shop", "read", gatepost.base), str(seen))
        seen = shop.introspect_token(metadata["introspection_endpoint"], token=token["access_token"])
        must(seen.status_code in (400, 401, 403), f"an application without the right: {seen.status_code}")
        must(shop.revoke_token(metadata["revocation_endpoint"], token=token["access_token"]).status_code == 200, "revocation")
        must(shop.post(f"{gatepost.base}/api/query", json={}).status_code == 401, "the token is accepted after its revocation")
        seen = reader.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
        must(seen == {"active": False}, str(seen))


def oauth4webapi(gatepost, notes):
    """npm oauth4webapi: discovery, client credentials, introspection, revocation, errors"""
    settings = {"ISSUER": gatepost.base, "SHOP_SECRET": issuer_on.SHOP, "READER_SECRET": issuer_on.READER}
    done = subprocess.run(["node", "standard.js"], cwd=INSTALLED, env=issuer_on.environment(**settings), capture_output=True, text=True, timeout=120)
    must(done.returncode == 0, done.stderr[-600:])
    notes.extend(json.loads(done.stdout))


def generated(seed, prefix):
    """A secret of the form of `rig.api_key`, with another prefix."""
    text = prefix + rig.api_key(seed, 1)[len("gp_key_"):-6]
    return text + rig.base62(rig.zlib.crc32(text.encode()), 6)


def detect_secrets(gatepost, notes):
    """detect-secrets with the published patterns: every token found, no near miss"""
    app = gatepost.create("app", "create", "--name", "scanned", "--strict", "--grant", "client_credentials")
    issued = [gatepost.create("token", "create", "--user", "ada", "--name", "scanned")["token"],
              gatepost.create("key", "create", "--owner", "ada", "--name", "scanned")["key"], app["client_secret"]]
    forms = ["token = {}", 'export TOKEN="{}"', "https://example.com/?t={}&x=1", "{}", "- secret: '{}'", "// {}."]
    kinds = ("pat", "key", "cs", "rt", "ac", "dc")
    # A secret that is there twice is reported once: one for each line.
    formed = [generated(f"{kind}{at}", f"gp_{kind}_") for kind in kinds for at in range(len(forms))]
    tokens = issued + formed
    sample, near = gatepost.folder / "sample.txt", gatepost.folder / "near.txt"
    sample.write_text("".join(forms[at % len(forms)].format(token) + "\n" for at, token in enumerate(tokens)))
    wrong = lambda token: token[:-1] + ("0" if token[-1] != "0" else "1")
    misses = [lambda t: t[:-1], lambda t: t + "0", lambda t: "x" + t, lambda t: t.replace("_", "-"), wrong,
              lambda t: t.replace("gp_", "gh_"), lambda t: t[:20] + "-" + t[21:], lambda t: t.upper(), lambda t: t.split("_")[2]]
    near.write_text("".join(f"value {miss(token)}\n" for token in tokens for miss in misses))
    must(scan(near) == [], f"near misses in lines {scan(near)}")
    found = scan(sample)
    right = list(range(1, len(tokens) + 1))
    must(found == right, f"not found: lines {sorted(set(right) - set(found))}")
    notes.append(f"{len(issued)} issued and {len(formed)} generated tokens; {len(tokens) * len(misses)} near misses")


def documented(gatepost, notes):
    """docs/guides.md: every block runs as it is printed"""
    page = (rig.ROOT / "docs/guides.md").read_text().replace("https://api.example.com", gatepost.base)
    # The person of the page: ada is there already.
    blocks = re.findall(r"^```(sh|ts|php)\n(.*?)^```$", re.sub(r"\bada\b", "grace", page), re.MULTILINE | re.DOTALL)
    folder, script = gatepost.folder, ["set -eux -o pipefail"]
    (folder / "products.csv").write_text("id;stock\n1;5\n")
    for name, program in (("curl", f"{shutil.which('curl')} -sS --fail-with-body --max-time 30"), ("gatepost", gatepost.binary)):
        tool = folder / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        tool.chmod(0o755)
    for language, text in blocks:
        if language == "sh":
            script.append(text)
            continue
        name = re.search(r"// (\w+)\.", text)[1]
        program = INSTALLED / f"{name}.ts" if language == "ts" else folder / f"{name}.php"
        program.write_text(text)
        script.append(f"node {INSTALLED / name}.js > {name}.ts.out" if language == "ts" else f"php {name}.php > {name}.php.out")
    tsc()
    found = issuer_on.environment(PATH=f"{folder / 'bin'}:{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", "\n".join(script)], cwd=folder, env=found, capture_output=True, text=True, timeout=120)
    (folder / "documented.trace").write_text(done.stdout + done.stderr)
    must(done.returncode == 0, f"{done.stdout[-300:]} {done.stderr[-600:]}")
    outputs = {file.name: file.read_text().split() for file in folder.glob("*.out")}
    right = {"key.ts.out": ["200", "200"], "key.php.out": ["200"], "sync.ts.out": ["200"], "sync.php.out": ["200"]}
    must(outputs == right, f"{outputs}")
    notes.append(f"{len(blocks)} blocks")


def secrets_stay_out(gatepost, notes):
    """no secret that was issued is in a log, the metrics, the audit log or a file of the store"""
    _, metrics = gatepost.admin("GET", "/metrics")
    audit = gatepost.command("audit", "--output", "json")
    must("credential" in audit or "token" in audit, "the audit log is empty")
    files = [file for file in gatepost.folder.rglob("*") if file.is_file() and file.suffix in (".log", ".db", ".db-wal", ".jsonl")]
    must({"gatepost.log", "access.log", "gatepost.db"} <= {file.name for file in files}, f"files {files}")
    written = {"metrics": metrics.encode(), "audit": audit.encode(), **{file.name: file.read_bytes() for file in files}}
    # Of a token, its signature: header and claims are no secret.
    secrets = {secret.rpartition(".")[2].encode() for secret in gatepost.secrets}
    found = [(name, secret[:12]) for name, text in written.items() for secret in secrets if secret in text]
    must(not found, f"found {found}")
    notes.append(f"{len(secrets)} secrets, {sum(map(len, written.values()))} bytes in {len(written)} places")


def scan(file):
    """Numbers of the lines in which detect-secrets sees a secret of gatepost."""
    words = [sys.executable, "-m", "detect_secrets", "scan", "-p", str(HERE / "scanner.py"), file.name]
    found = issuer_on.environment(PYTHONPATH=os.pathsep.join(sys.path), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(words, cwd=file.parent, env=found, capture_output=True, text=True, timeout=120)
    must(done.returncode == 0, done.stderr[-400:])
    results = json.loads(done.stdout)["results"].get(file.name, [])
    return sorted(one["line_number"] for one in results if one["type"] == "gatepost secret")


def compile_typescript():
    """Checks the types as well."""
    for file in [*HERE.glob("*.ts"), HERE / "tsconfig.json"]:
        shutil.copy(file, INSTALLED)
    tsc()


def tsc():
    tool = INSTALLED / "node_modules/.bin/tsc"
    done = subprocess.run([str(tool), "-p", "."], cwd=INSTALLED, capture_output=True, text=True, timeout=300)
    must(done.returncode == 0, f"tsc: {done.stdout[-1000:]}")


def main():
    parser = passing.parser(__doc__)
    parser.add_argument("--only", default="", help="a word of the client's name")
    arguments = parser.parse_args()
    report = passing.Report()
    compile_typescript()
    with passing.folder(arguments.keep) as folder:
        upstream = issuer_on.Upstream(folder)
        gatepost = issuer_on.Gatepost(arguments.binary, folder, upstream.url)
        try:
            guides = Guides(gatepost, folder, report)
            node, php = ["node", str(INSTALLED / "client.js")], ["php", str(HERE / "client.php")]
            for client in (Client("TypeScript", node, ["node", str(INSTALLED / "plugin.js")], gatepost),
                           Client("PHP", php, ["php", str(HERE / "plugin.php")], gatepost)):
                if arguments.only.lower() in client.name.lower():
                    guides.run(client)
            for check in (curl_revokes, authlib, oauth4webapi, detect_secrets, documented, secrets_stay_out):
                if arguments.only.lower() in check.__name__:
                    with report.case(check.__doc__) as notes:
                        check(gatepost, notes)
            gatepost.stop()
        finally:
            gatepost.kill()
            upstream.kill()
    return report.end()


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    passing.run(main)
