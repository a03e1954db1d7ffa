"""Apache with Debian's mod_oauth2 as a resource server of gatepost's issuer, independent of gatepost.

Three locations: one verifies access tokens by the key set, two by introspection with either method of
client authentication. Presents good, expired, forged and revoked tokens, tokens of another audience
and of another key, and personal access tokens, while signing keys change. Apache listens on a port of
loopback. Exit code 1 when one check failed.

    cargo build --locked && make resource-server
"""

import base64
import http.client
import json
import shutil
import subprocess
import sys
import time
import urllib.parse

import issuer_on
import passing
import rig
import upstreams
from rig import eventually, must

APACHE = """\
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
Mutex file:{folder}
ErrorLog {folder}/apache.error
LogLevel warn oauth2:debug
DocumentRoot {folder}/www
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule oauth2_module {modules}/mod_oauth2.so
# One cache for each location: with the default one, what a location accepted all accept.
OAuth2Cache shm name=keys
OAuth2Cache shm name=asks
OAuth2Cache shm name=posts
<Location />
  AuthType oauth2
  <RequireAll>
    Require oauth2_claim iss:{issuer}
    Require oauth2_claim aud:{issuer}
  </RequireAll>
</Location>
# Answers are kept for a second, so that the rig sees changes soon.
<Location /keys>
  OAuth2TokenVerify jwks_uri {issuer}/.well-known/jwks.json jwks_uri.cache=keys&jwks_uri.expiry=1&verify.cache=keys&expiry=1&verify.exp=required&verify.iat=required
</Location>
<Location /asks>
  OAuth2TokenVerify introspect {issuer}/oauth/introspect introspect.auth=client_secret_basic&client_id=reader&client_secret={secret}&introspect.cache=asks&introspect.expiry=1&verify.cache=asks&expiry=1
</Location>
<Location /posts>
  OAuth2TokenVerify introspect {issuer}/auth/oauth/introspect introspect.auth=client_secret_post&client_id=reader&client_secret={secret}&introspect.cache=posts&introspect.expiry=1&verify.cache=posts&expiry=1
</Location>
"""
MODULES = "/usr/lib/apache2/modules"
LOCATIONS = ("keys", "asks", "posts")
ASKING = LOCATIONS[1:]


class Apache:
    """The process, started and ended by its id."""

    def __init__(self, folder, issuer):
        self.folder, self.held = folder, issuer_on.hold_port()
        self.port = self.held.getsockname()[1]
        for name in LOCATIONS:
            page = folder / "www" / name / "page"
            page.parent.mkdir(parents=True)
            page.write_text(name)
        file = folder / "apache.conf"
        file.write_text(APACHE.format(folder=folder, port=self.port, modules=MODULES, issuer=issuer, secret=issuer_on.READER))
        words = [shutil.which("apache2", path=upstreams.PATHS), "-DFOREGROUND", "-f", str(file)]
        self.child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        eventually("Apache on its port", self.answers, 30)

    def answers(self):
        must(self.child.poll() is None, f"Apache ended: {self.child.poll()}")
        return upstreams.answers(self.port)

    def get(self, location, token=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", f"/{location}/page", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        must(answer.status != 200 or body == location, f"{location}: {body[:100]}")
        return answer.status

    def stop(self):
        self.child.terminate()
        self.child.wait()


class Checks:
    def __init__(self, gatepost, apache):
        self.gatepost, self.apache = gatepost, apache

    def post(self, path, bearer=None, **form):
        """Status and body of a form of the application in `client_id`, or of a bearer."""
        connection = http.client.HTTPConnection(self.gatepost.base.removeprefix("http://"), timeout=30)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        connection.request("POST", path, urllib.parse.urlencode(form), headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def token(self, client="shop"):
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": issuer_on.SECRETS[client]}
        status, body = self.post("/oauth/token", **form)
        must(status == 200, f"token: {status} {body[:200]}")
        return json.loads(body)["access_token"]

    def revoke(self, token):
        status, body = self.post("/oauth/revoke", token)
        must(status == 200, f"revoke: {status} {body[:200]}")

    def all(self, token, right, locations=LOCATIONS):
        got = [self.apache.get(location, token) for location in locations]
        must(got == [right] * len(locations), f"{dict(zip(locations, got))}, expected {right}")

    def soon(self, token, right, location):
        """The status changes when Apache's answer of a second ago has expired."""
        eventually(f"{right} at /{location}", lambda: self.apache.get(location, token) == right, 20, 0.2)

    def good(self, _):
        """a good token: 200 by key set and by introspection; none: 401"""
        self.all(self.token(), 200)
        self.all(None, 401)

    def forged(self, _):
        """changed claims, a changed signature, another key under the same kid, alg none: 401"""
        head, claims, signature = self.token().split(".")
        encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
        decode = lambda part: json.loads(base64.urlsafe_b64decode(part + "=="))
        richer = encode(json.dumps({**decode(claims), "scope": "read write admin"}).encode())
        at = len(signature) // 2
        other = signature[:at] + ("A" if signature[at] != "A" else "B") + signature[at + 1:]
        none = encode(json.dumps({**decode(head), "alg": "none"}).encode())
        for token in (f"{head}.{richer}.{signature}", f"{head}.{claims}.{other}", f"{none}.{claims}.", self.foreign(decode(head), decode(claims))):
            self.all(token, 401)

    def foreign(self, head, claims):
        from joserfc import jwt
        from joserfc.jwk import RSAKey

        return jwt.encode(head, claims, RSAKey.generate_key(2048))

    def expired(self, notes):
        """an expired token: 401"""
        for location in LOCATIONS:
            token = self.token("brief")
            begin = time.monotonic()
            must(self.apache.get(location, token) == 200, f"/{location} refuses a token of one second")
            self.soon(token, 401, location)
            notes.append(f"{location} after {time.monotonic() - begin:.1f} s")
        token = self.token("brief")
        eventually("the expiry", lambda: not self.active(token), 20, 0.1)
        self.all(token, 401, ASKING)

    def active(self, token):
        status, body = self.post("/oauth/introspect", client_id="reader", client_secret=issuer_on.READER, token=token)
        must(status == 200, f"introspection: {status}")
        return json.loads(body)["active"]

    def other_audience(self, _):
        """a token for another audience: refused"""
        self.gatepost.change(audience="https://other.example")
        token = self.token()
        self.gatepost.change(audience=self.gatepost.base)
        self.all(token, 401)
        self.all(self.token(), 200)

    def revoked(self, notes):
        """a revoked token: 401 by introspection, while its keys still verify it"""
        token = self.token()
        self.all(token, 200)
        self.revoke(token)
        for location in ASKING:
            self.soon(token, 401, location)
        self.all(token, 401, ASKING)
        must(self.apache.get("keys", token) == 200, "the key set knows no revocation")
        unseen = self.token()
        self.revoke(unseen)
        self.all(unseen, 401, ASKING)
        notes.append("the key set knows no revocation: 200 until it expires")

    def personal(self, _):
        """a personal access token: 200 by introspection alone, 401 once it is revoked"""
        made = self.gatepost.create("token", "create", "--user", "ada", "--name", "apache", "--scope", "read")
        self.all(made["token"], 200, ASKING)
        must((got := self.apache.get("keys", made["token"])) == 401, f"no key verifies it: {got}")
        self.gatepost.command("token", "revoke", made["id"])
        for location in ASKING:
            self.soon(made["token"], 401, location)

    def key_change(self, notes):
        """a retired signing key: its tokens 401, those of the next key 200"""
        old = self.token()
        self.all(old, 200)
        kid = json.loads(base64.urlsafe_b64decode(old.split(".")[0] + "=="))["kid"]
        self.gatepost.command("signing-key", "retire", kid)
        for location in LOCATIONS:
            self.soon(old, 401, location)
        new = eventually("another key", lambda: (token := self.token()).split(".")[0] != old.split(".")[0] and token, 20, 0.1)
        for location in LOCATIONS:
            self.soon(new, 200, location)
        notes.append("without a restart of Apache")


def main():
    parser = passing.parser(__doc__)
    arguments = parser.parse_args()
    report = passing.Report()
    with passing.folder(arguments.keep) as folder:
        gatepost = issuer_on.Gatepost(arguments.binary, folder, "http://127.0.0.1:9")
        try:
            gatepost.command("user", "add", "--login", "ada")
            apache = Apache(folder, gatepost.base)
            try:
                checks = Checks(gatepost, apache)
                for check in (checks.good, checks.forged, checks.expired, checks.other_audience, checks.revoked, checks.personal, checks.key_change):
                    with report.case(f"Apache: {check.__doc__}") as notes:
                        check(notes)
            finally:
                apache.stop()
            gatepost.stop()
        finally:
            gatepost.kill()
    return report.end()


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    passing.run(main)
