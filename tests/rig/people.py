"""People in browsers, and the flows that need one: authorization code, refresh, device code.

Not a program of its own: tests/rig/issuer_races.py and tests/rig/flow_kills.py import it. An
application of the rig signs people in (`sign_in.app`), so that no password is hashed; its
applications need no consent where the contract allows that.
"""

import base64
import hashlib
import http.client
import http.server
import json
import re
import secrets
import threading
import urllib.parse

import issuing
import rig
from rig import must

CALLBACK = "https://shop.example.com/callback"
WEB_SECRET = "a-client-secret-of-the-rig-for-web"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
COOKIE = "session"

# Long enough for a busy machine: what is prepared is redeemed after a restart.
ISSUER = """\
  codes: 10m
  refresh_tokens: {{ grace: 10m }}
  sign_in: {{ accounts: off, app: {{ whoami: "{whoami}", login: "/login?next={{return_to}}", cookies: [session] }} }}
"""
APPLICATIONS = """\
    - {{ id: web, profile: compat, secret_files: [web.secret], redirect_uris: ["{callback}"], grants: [authorization_code, refresh_token], first_party: true }}
    - {{ id: phone, type: public, profile: strict, redirect_uris: ["{callback}"], grants: [authorization_code, refresh_token], first_party: true }}
    - {{ id: tv, type: public, profile: strict, grants: ["{device}", refresh_token] }}
"""


class Application:
    """`whoami`: the cookie is the subject."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                found = re.search(r"\bsession=([\w-]+)", self.headers.get("Cookie", ""))
                body = json.dumps({"sub": found[1]}).encode() if found else b""
                self.send_response(200 if found else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/whoami"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def gatepost(binary, folder, upstream, application):
    """The process with people and applications; the rest as in `issuing`."""
    rig.replace(folder / "web.secret", WEB_SECRET + "\n")
    more = {"issuer": ISSUER.format(whoami=application.url), "applications": APPLICATIONS.format(callback=CALLBACK, device=DEVICE)}
    return issuing.Gatepost(binary, folder, upstream.url, algorithm="ES256", **more)


class Person:
    """A person with a browser: a cookie of the application, and those of the pages."""

    def __init__(self, folder, subject, timeout=30):
        self.connection = rig.UnixConnection(folder / "public.sock", timeout)
        self.cookies = {COOKIE: subject}

    def ask(self, method, path, form=None):
        """Status, the target of a redirect, and the page."""
        fields = {"Host": issuing.HOST, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form)
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body=body, headers=fields)
        answer = self.connection.getresponse()
        page = answer.read().decode()
        for text in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = text.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, answer.headers.get("Location"), page

    def sign_in(self):
        status, target, page = self.ask("GET", "/auth/account/profile")
        for _ in range(4):
            if status != 303:
                break
            status, target, page = self.ask("GET", target)
        must(status == 200, f"sign-in: {status} {page[-300:]}")

    def code(self, client, verifier=None):
        """An authorization code of an application that needs no consent."""
        query = {"response_type": "code", "client_id": client, "redirect_uri": CALLBACK, "state": "s", "scope": "read"}
        if verifier:
            digest = hashlib.sha256(verifier.encode()).digest()
            query |= {"code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="), "code_challenge_method": "S256"}
        status, target, page = self.ask("GET", "/oauth/authorize?" + urllib.parse.urlencode(query))
        must(status == 303 and (target or "").startswith(CALLBACK), f"authorize: {status} {target} {page[-300:]}")
        return urllib.parse.parse_qs(urllib.parse.urlsplit(target).query)["code"][0]

    def allow(self, user_code):
        """Enters the code of a device and allows the request."""
        _, _, page = self.ask("GET", "/oauth/device")
        status, _, page = self.ask("POST", "/auth/account/device", {"csrf": hidden(page, "csrf"), "user_code": user_code})
        must(status == 200, f"a user code: {status} {page[-300:]}")
        decision = {"csrf": hidden(page, "csrf"), "user_code": user_code, "decision": "allow"}
        status, _, page = self.ask("POST", "/auth/account/device/decide", decision)
        must(status == 200, f"a decision: {status} {page[-300:]}")

    def close(self):
        self.connection.close()


def hidden(page, name):
    """The last hidden field of a name: forms of the content are behind the one that signs out."""
    return re.findall(rf'name="{name}" value="([^"]*)"', page)[-1]


def answer(client, form):
    """Status and document of the token endpoint."""
    status, text = client.ask("POST", "/oauth/token", form=form)
    return status, json.loads(text)


def code_form(code, verifier=None):
    if verifier:
        return {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "client_id": "phone", "code_verifier": verifier}
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "client_id": "web", "client_secret": WEB_SECRET}


def device_form(code):
    return {"grant_type": DEVICE, "device_code": code, "client_id": "tv"}


def refresh_form(token):
    return {"grant_type": "refresh_token", "refresh_token": token, "client_id": "phone"}


def new_code(person):
    """The form that redeems a new code of a confidential application."""
    return code_form(person.code("web"))


def new_device(person, client):
    """The form that redeems a device code which the person has allowed."""
    status, text = client.ask("POST", "/oauth/device/code", form={"client_id": "tv", "scope": "read"})
    must(status == 200, f"device code: {status} {text}")
    document = json.loads(text)
    person.allow(document["user_code"])
    return device_form(document["device_code"])


def new_refresh_token(person, client):
    """A rotating refresh token: of a public application."""
    verifier = secrets.token_urlsafe(32)
    status, document = answer(client, code_form(person.code("phone", verifier), verifier))
    must(status == 200, f"a code of a public application: {status} {document}")
    return document["refresh_token"]


GONE = (OSError, http.client.HTTPException, ValueError)
