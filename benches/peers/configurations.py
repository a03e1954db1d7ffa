"""The same job, in the words of each peer.

Owns the text of every configuration. Each is written to do no more than the job, in the way its
makers recommend for speed: kept connections on both sides, buffered logs, no retries of its own.
Never starts anything.
"""

import json
import os

import credentials as creds
import jobs

MANY = 1_000_000_000
# The most a limit of gatepost takes a second; no caller reaches it here.
RATE = 1_000_000


def write(folder, name, content):
    path = os.path.join(folder, name)
    data = content if isinstance(content, bytes) else content.encode()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    return path


def upstream(folder, port, socket):
    """The upstream of every peer: nginx, answering from memory."""
    echo = "$http_x_auth_subject|$http_authorization|$http_x_api_key"
    return nginx_frame(folder, f"""
  access_log off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    listen unix:{socket} backlog=4096;
    default_type application/json;
    location = {jobs.ECHO_PATH} {{ return 200 "{echo}"; }}
    location / {{ return 200 '{{"orders":[{{"id":1,"state":"paid"}},{{"id":2,"state":"sent"}}],"next":null}}'; }}
  }}""")


def nginx_frame(folder, servers):
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"  {kind}_temp_path {folder}/temp-{kind};" for kind in kinds)
    return f"""
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
{paths}
  keepalive_requests {MANY};
  keepalive_timeout 3600s;
{servers}
}}
"""


def nginx(folder, job, port, upstream, credentials):
    """No JWT in what Debian builds; API keys by a map."""
    clients, demand, log = "", "", "access_log off;"
    if job.demands != "none":
        lines = "\n".join(f'    "{key}" {name};' for name, key in credentials.api_keys)
        clients = f'  map_hash_bucket_size 128;\n  map $http_x_api_key $client {{\n    default "";\n{lines}\n  }}'
        demand = 'if ($client = "") { return 401; }\n      proxy_set_header X-Auth-Subject $client;' \
                 '\n      proxy_set_header X-API-Key "";'
    if job.logs:
        log = f"access_log {folder}/access.log combined buffer=64k flush=1s;"
    server = f"unix:{upstream.socket}" if job.unix else f"127.0.0.1:{upstream.port}"
    return nginx_frame(folder, f"""
  {log}
{clients}
  upstream app {{ server {server}; keepalive 128; keepalive_requests {MANY}; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      {demand}
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_pass http://app;
    }}
  }}""")


def haproxy(folder, job, port, upstream, credentials):
    server = f"unix@{upstream.socket}" if job.unix else f"127.0.0.1:{upstream.port}"
    log = "  log stdout format raw local0\n  option httplog" if job.logs else ""
    rules = ""
    if job.demands == "api_key":
        lines = (f"{creds.digest(key).upper()} {name}\n" for name, key in credentials.api_keys)
        path = write(folder, "keys.map", "".join(lines))
        rules = f"""
  http-request del-header x-auth-subject
  http-request set-var(txn.sub) req.hdr(x-api-key),sha2(256),hex,map_str({path})
  http-request deny deny_status 401 unless {{ var(txn.sub) -m found }}
  http-request del-header x-api-key
  http-request set-header x-auth-subject %[var(txn.sub)]"""
    elif job.algorithm:
        path = write(folder, "key.pem", credentials.pem(job.algorithm))
        rules = f"""
  http-request deny deny_status 401 unless {{ http_auth_bearer -m found }}
  http-request del-header x-auth-subject
  http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')
  http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str {job.algorithm} }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_payload_query('$.iss') -m str {creds.ISSUER} }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_payload_query('$.aud') -m str {creds.AUDIENCE} }}
  http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_verify(txn.alg,"{path}") -m int 1 }}
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request set-header x-auth-subject %[http_auth_bearer,jwt_payload_query('$.sub')]
  http-request set-header x-auth-scopes %[http_auth_bearer,jwt_payload_query('$.scope')]
  http-request del-header authorization"""
    return f"""
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  http-reuse always
  option http-keep-alive
frontend public
  bind 127.0.0.1:{port} backlog 4096
{log}
{rules}
  default_backend app
backend app
  server app {server}
"""


def gatepost(folder, job, port, upstream, credentials):
    """JSON is YAML."""
    to = f"unix:{upstream.socket}" if job.unix else f"http://127.0.0.1:{upstream.port}"
    config = {
        "listeners": [{"address": f"127.0.0.1:{port}"}],
        "threads": 1,
        "access_log": {"file": "access.log"} if job.logs else "off",
        "token_cache": "128MiB" if job.caches else "off",
        "upstreams": {"app": {"url": to}},
        "defaults": {"upstream": "app"},
        "routes": [{"path": "/api/**", "name": "api", "access": "anonymous"}],
    }
    if job.demands == "api_key":
        keys = [{"id": name, "subject": name, "digest": "sha256:" + creds.digest(key), "scopes": [creds.SCOPE]}
                for name, key in credentials.api_keys]
        write(folder, "keys.yaml", json.dumps({"keys": keys}, indent=1))
        config["api_keys"] = {"header": "X-API-Key", "files": ["keys.yaml"]}
    elif job.algorithm:
        write(folder, "jwks.json", credentials.jwks())
        config["issuers"] = [{"issuer": creds.ISSUER, "name": "corp", "audiences": [creds.AUDIENCE],
                              "algorithms": ["RS256", "ES256"], "keys": {"file": "jwks.json"}}]
    if job.demands != "none":
        config["routes"][0]["access"] = {"scopes": [creds.SCOPE]}
    if job.limits:
        config["limits"] = {"per-caller": {"rate": f"{RATE}/s", "by": "principal"}}
        config["routes"][0]["limits"] = ["per-caller"]
    return json.dumps(config, indent=1)


def gatepost_with_keys(folder, job, port, upstream, credentials, count):
    """The keys are a thousand that exist and many without a known text: only digests count."""
    config = json.loads(gatepost(folder, job, port, upstream, credentials))
    config["api_keys"]["files"].append("more.jsonl")
    lines = (f'{{"id":"more-{number}","digest":"sha256:{os.urandom(32).hex()}","scopes":["{creds.SCOPE}"]}}\n'
             for number in range(count - len(credentials.api_keys)))
    write(folder, "more.jsonl", "".join(lines))
    return write(folder, "gatepost.yaml", json.dumps(config))


def envoy(folder, job, port, upstream, credentials):
    extension = "type.googleapis.com/envoy.extensions."
    if job.unix:
        address = {"pipe": {"path": upstream.socket}}
    else:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": upstream.port}}
    filters = envoy_filters(job, credentials)
    filters["router"] = {"@type": extension + "filters.http.router.v3.Router"}
    manager = {
        "@type": extension + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public",
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
        }]},
        "http_filters": [{"name": f"envoy.filters.http.{name}", "typed_config": settings}
                         for name, settings in filters.items()],
    }
    if job.logs:
        manager["access_log"] = [{"name": "file", "typed_config": {
            "@type": extension + "access_loggers.file.v3.FileAccessLog",
            "path": os.path.join(folder, "access.log")}}]
    listener = {
        "name": "public",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }
    cluster = {
        "name": "app", "connect_timeout": "1s", "type": "STATIC",
        "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_requests": 4096,
                                             "max_pending_requests": 4096}]},
        "load_assignment": {"cluster_name": "app", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address}}]}]},
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=1)


def envoy_filters(job, credentials):
    """What decides, in order, by name."""
    extension = "type.googleapis.com/envoy.extensions.filters.http."
    filters = {}
    if job.demands == "api_key":
        filters["api_key_auth"] = {
            "@type": extension + "api_key_auth.v3.ApiKeyAuth",
            "credentials": [{"key": key, "client": name} for name, key in credentials.api_keys],
            "key_sources": [{"header": "X-API-Key"}],
            "forwarding": {"header": "x-auth-subject", "hide_credentials": True},
        }
    elif job.algorithm:
        provider = {
            "issuer": creds.ISSUER, "audiences": [creds.AUDIENCE], "forward": False,
            "local_jwks": {"inline_string": credentials.jwks()},
            "claim_to_headers": [{"header_name": "x-auth-subject", "claim_name": "sub"},
                                 {"header_name": "x-auth-scopes", "claim_name": "scope"}],
        }
        if job.caches:
            provider["jwt_cache_config"] = {"jwt_cache_size": 100_000}
        filters["jwt_authn"] = {
            "@type": extension + "jwt_authn.v3.JwtAuthentication",
            "providers": {"corp": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}],
        }
    if job.limits:
        bucket = {"max_tokens": RATE, "tokens_per_fill": RATE, "fill_interval": "1s"}
        always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
        filters["local_ratelimit"] = {
            "@type": extension + "local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "limit", "token_bucket": bucket,
            "filter_enabled": always, "filter_enforced": always,
            "max_dynamic_descriptors": 100_000,
            "descriptors": [{"entries": [{"key": "subject"}], "token_bucket": bucket}],
            "rate_limits": [{"actions": [{"request_headers": {
                "header_name": "x-auth-subject", "descriptor_key": "subject"}}]}],
        }
    return filters
