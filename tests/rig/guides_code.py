"""The authorization code flow with clients that gatepost does not know, over real sockets.

A page on another origin in Debian's chromium (TypeScript, driven by npm `playwright-core`) and PHP do
the flow of the published guides: state, no PKCE, the secret in the body, an empty `scope=`, then the
API across origins, a refresh that ignores a new refresh token, a refresh and another try after a 401.
Beside them npm `oauth4webapi` and PyPI `Authlib`, with PKCE as a public client and with a secret, and
Debian's `oidc-agent` with a device code. The person has a local account. Exit code 1 when one check
failed.

    cargo build --locked && make guides
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request

import guides
import issuer_on
import passing
import people
import rig
from rig import must

PASSWORD = "correct horse battery"
CALLBACK = "https://shop.example.com/callback"
MONTH, YEAR = 2592000, 31536000
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
SECRETS = {name: f"a-secret-of-{name}-0123456789-abcdef" for name in ("shop", "year", "agent")}
# Packages of Debian, unpacked by `make guides`.
AGENT = rig.ROOT / "target/oidc-agent/usr"

CONFIG = """\
listeners: [{{ address: "127.0.0.1:{port}" }}]
admin: {{ address: "unix:{folder}/admin.sock" }}
access_log: {{ file: "{folder}/access.log", format: json }}
state_dir: state
issuer:
  url: "http://127.0.0.1:{port}"
  scopes: {{ read: See products, write: Change products, openid: Know your id }}
  access_tokens: {{ compat_lifetime: 30d, max_lifetime: 366d }}
  applications:
    - {{ id: shop, profile: compat, secret_files: [shop.secret], grants: [authorization_code, refresh_token], redirect_uris: ["http://localhost:{page}/callback", "{callback}"], scopes: [read, write] }}
    - {{ id: year, profile: compat, secret_files: [year.secret], grants: [authorization_code, refresh_token], redirect_uris: ["{callback}"], scopes: [read, write], access_lifetime: 365d }}
    - {{ id: agent, profile: compat, secret_files: [agent.secret], grants: ["{device}", refresh_token] }}
    - {{ id: phone, type: public, profile: strict, grants: [authorization_code, refresh_token], redirect_uris: ["{callback}"] }}
upstreams: {{ app: {{ url: "{upstream}" }} }}
defaults: {{ upstream: app }}
routes:
  - {{ path: /api/query, access: {{ scopes: [read] }}, cors: {{ origins: [applications], headers: [Authorization, Content-Type] }} }}
"""


class Gatepost(issuer_on.Gatepost):
    def __init__(self, binary, folder, upstream):
        self.page = issuer_on.hold_port()
        self.page_port = self.page.getsockname()[1]
        super().__init__(binary, folder, upstream, CONFIG, SECRETS, page=self.page_port, callback=CALLBACK, device=DEVICE)
        self.command("user", "add", "--login", "ada", "--password-stdin", input=PASSWORD + "\n")


class Person:
    """Signs in with a password, and allows what an application asks for."""

    def __init__(self, gatepost):
        self.host, self.cookies = gatepost.base.removeprefix("http://"), {}

    def ask(self, method, target, form=None):
        connection = http.client.HTTPConnection(self.host, timeout=30)
        fields = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, target, urllib.parse.urlencode(form) if form is not None else None, fields)
        answer = connection.getresponse()
        page = answer.read().decode()
        for text in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = text.partition(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        return answer.status, answer.headers.get("Location"), page

    def open(self, address):
        """A page, after sign-in where it is asked for."""
        parts = urllib.parse.urlsplit(address)
        status, target, page = self.ask("GET", f"{parts.path}?{parts.query}")
        if 'name="password"' in page:
            form = {"csrf": people.hidden(page, "csrf"), "next": people.hidden(page, "next"), "login": "ada", "password": PASSWORD}
            status, target, page = self.ask("POST", "/auth/account/sign-in", form)
            must(status == 303, f"sign-in: {status}")
            status, target, page = self.ask("GET", target)
        return status, target, page

    def allow(self, address, user_code):
        """Enters the code of a device at an address and allows the request."""
        _, _, page = self.open(address)
        status, _, page = self.ask("POST", "/auth/account/device", {"csrf": people.hidden(page, "csrf"), "user_code": user_code})
        must(status == 200, f"a user code: {status}")
        form = {"csrf": people.hidden(page, "csrf"), "user_code": user_code, "decision": "allow"}
        status, _, _ = self.ask("POST", "/auth/account/device/decide", form)
        must(status == 200, f"a decision: {status}")

    def sent_back(self, address):
        """Where the browser is sent after sign-in and consent."""
        status, target, page = self.open(address)
        if status == 200:
            form = {"csrf": people.hidden(page, "csrf"), "request": people.hidden(page, "request"), "decision": "allow"}
            status, target, page = self.ask("POST", "/auth/account/consent", form)
        must(status == 303 and target, f"consent: {status} {re.sub('<[^>]*>', ' ', page)[-400:]}")
        return target


def converse(gatepost, words, **settings):
    """A program that prints an address, reads where the browser was sent, and prints results."""
    child = subprocess.Popen(words, cwd=guides.INSTALLED, env=issuer_on.environment(**settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        first = child.stdout.readline()
        must(first, f"{words} printed nothing")
        out, _ = child.communicate(Person(gatepost).sent_back(json.loads(first)["authorize"]) + "\n", timeout=120)
        must(child.returncode == 0, f"{words} ended with {child.returncode}")
        return json.loads(out)
    finally:
        child.kill()


def as_in_the_guides(seen, expires_in, notes):
    must("error" not in seen, str(seen))
    must(seen["members"] == ["token_type", "expires_in", "access_token", "refresh_token", "scope"], f"members {seen['members']}")
    right = {"token_type": "Bearer", "expires_in": expires_in, "scope": "read write"}
    must(seen["shown"] == right, f"{seen['shown']}")
    got = (seen["called"], seen["refreshed"], seen["revoked"], seen["retried"])
    must(got == (200, [200, 200], 200, [401, 200]), f"called, refreshed, revoked, retried: {got}")
    notes.append(f"expires_in {expires_in}; the API 200; two refreshes with the first refresh token; after a revocation 401, refreshed, 200")


def chromium(gatepost, notes):
    """a page on another origin in chromium: code flow without PKCE, the API across origins"""
    settings = {"BASE": gatepost.base, "CLIENT_ID": "shop", "CLIENT_SECRET": SECRETS["shop"], "PASSWORD": PASSWORD, "PAGE_PORT": str(gatepost.page_port)}
    gatepost.page.close()
    done = subprocess.run(["node", "person.js"], cwd=guides.INSTALLED, env=issuer_on.environment(**settings), capture_output=True, text=True, timeout=180)
    must(done.returncode == 0, done.stderr[-800:])
    seen = json.loads(done.stdout)
    as_in_the_guides(seen, MONTH, notes)
    must(seen["iss"] == gatepost.base, f"iss {seen['iss']}")


def php(gatepost, notes):
    """PHP: code flow without PKCE, tokens of a month and of a year"""
    for client, expires_in in (("shop", MONTH), ("year", YEAR)):
        settings = {"API_BASE_URL": gatepost.base, "CLIENT_ID": client, "CLIENT_SECRET": SECRETS[client], "REDIRECT_URI": CALLBACK}
        as_in_the_guides(converse(gatepost, ["php", str(guides.HERE / "code.php")], **settings), expires_in, notes)


def oauth4webapi(gatepost, notes):
    """npm oauth4webapi: code flow with PKCE, with a secret and without; refresh, revocation"""
    for client, secret, rotated, expires_in in (("shop", SECRETS["shop"], False, MONTH), ("phone", "", True, 3600)):
        settings = {"ISSUER": gatepost.base, "CLIENT_ID": client, "CLIENT_SECRET": secret, "REDIRECT_URI": CALLBACK, "API": f"{gatepost.base}/api/query"}
        seen = converse(gatepost, ["node", "code.js"], **settings)
        right = {"scope": "read", "expires_in": expires_in, "called": 200, "rotated": rotated, "ended": "invalid_grant", "revoked": 401}
        must(seen == right, f"{client}: {seen}")
        notes.append(f"{client}: {'a new refresh token' if rotated else 'the same refresh token'}")


def authlib(gatepost, _):
    """PyPI Authlib: code flow, with a secret and as a public client with PKCE"""
    from authlib.integrations.requests_client import OAuth2Session

    # Of the library: plain HTTP on loopback.
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    for client, secret, method in (("shop", SECRETS["shop"], "client_secret_basic"), ("phone", None, "none")):
        session = OAuth2Session(client, secret, scope="read", redirect_uri=CALLBACK, token_endpoint_auth_method=method, code_challenge_method="S256")
        session.trust_env = False
        verifier = "v" * 64
        address, state = session.create_authorization_url(f"{gatepost.base}/oauth/authorize", code_verifier=verifier)
        back = Person(gatepost).sent_back(address)
        token = session.fetch_token(f"{gatepost.base}/oauth/token", authorization_response=back, state=state, code_verifier=verifier)
        must(token["scope"] == "read" and token["refresh_token"].startswith("gp_rt_"), str(list(token)))
        must(session.get(f"{gatepost.base}/api/query").status_code == 200, "the token is refused")
        fresh = session.refresh_token(f"{gatepost.base}/oauth/token", refresh_token=token["refresh_token"])
        must((fresh["refresh_token"] == token["refresh_token"]) == bool(secret), "rotation")
        must(session.get(f"{gatepost.base}/api/query").status_code == 200, "the refreshed token is refused")


def oidc_agent(gatepost, notes):
    """Debian's oidc-agent: device flow, a token from the agent, another by refresh"""
    must((AGENT / "bin/oidc-gen").exists(), f"{AGENT} is missing: make guides unpacks the packages of Debian")
    home = gatepost.folder / "home"
    home.mkdir(mode=0o700)
    settings = {"LD_LIBRARY_PATH": str(AGENT / "lib/x86_64-linux-gnu"), "HOME": str(home), "OIDC_CONFIG_DIR": str(home), "TMPDIR": str(home), "OIDC_ENCRYPTION_PW": "pw"}
    run = lambda *words: subprocess.run([str(AGENT / "bin" / words[0]), *words[1:]], env=issuer_on.environment(**settings), capture_output=True, text=True, timeout=60)
    started = run("oidc-agent").stdout
    settings["OIDC_SOCK"], agent = re.search("OIDC_SOCK=([^;]+)", started)[1], int(re.search(r"OIDCD_PID=(\d+)", started)[1])
    try:
        words = [f"--issuer={gatepost.base}", "--client-id=agent", f"--client-secret={SECRETS['agent']}", "--scope=read", "--flow=device",
                 f"--dae={gatepost.base}/oauth/device/code", "--pw-env", "--confirm-yes", "--prompt=none", "--no-url-call", "-m"]
        child = subprocess.Popen([str(AGENT / "bin/oidc-gen"), "shop", *words], env=issuer_on.environment(**settings), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        address, printed = None, ""
        for line in child.stdout:
            printed += line
            address = re.search(r"http://\S+", line) or address
            if code := re.search(r"enter the code: ([A-Z]{4}-[A-Z]{4})", line):
                Person(gatepost).allow(address[0], code[1])
        must(child.wait(60) == 0, f"oidc-gen: {printed[-400:]}")
        tokens = []
        # Longer than a token lasts: the agent refreshes.
        for least in ("60", str(MONTH + 1)):
            given = run("oidc-token", "--time", least, "shop")
            must(given.returncode == 0, f"oidc-token: {given.stderr}")
            tokens.append(given.stdout.strip())
            request = urllib.request.Request(f"{gatepost.base}/api/query", headers={"Authorization": "Bearer " + tokens[-1]})
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                must(answer.status == 200, f"the API: {answer.status}")
        must(tokens[0] != tokens[1], "the agent did not refresh")
        notes.append("oidc-gen and oidc-token, as a confidential application")
    finally:
        os.kill(agent, signal.SIGTERM)


def main():
    parser = passing.parser(__doc__)
    parser.add_argument("--only", default="", help="a word of the client's name")
    arguments = parser.parse_args()
    report = passing.Report()
    guides.compile_typescript()
    with passing.folder(arguments.keep) as folder:
        upstream = issuer_on.Upstream(folder)
        gatepost = Gatepost(arguments.binary, folder, upstream.url)
        try:
            for check in (chromium, php, oauth4webapi, authlib, oidc_agent):
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
