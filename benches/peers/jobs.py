"""What is measured: each job, who can do it, and what its requests present.

Owns the list of jobs. Never knows how a peer is configured.
"""

import dataclasses

PATH = "/api/orders"
ECHO_PATH = "/api/echo"


@dataclasses.dataclass(frozen=True)
class Job:
    name: str
    title: str
    # none, RS256, ES256, rotating or api_key: what the routes demand.
    demands: str
    peers: tuple
    # Whether verified tokens are remembered.
    caches: bool = False
    limits: bool = False
    logs: bool = False
    # Requests present nothing and are refused.
    refuses: bool = False
    unix: bool = False

    @property
    def status(self):
        return 401 if self.refuses else 200

    @property
    def algorithm(self):
        """What tokens are signed with; None where there are none."""
        return {"none": None, "api_key": None, "rotating": "RS256"}.get(self.demands, self.demands)


ALL = ("gatepost", "bare", "haproxy", "nginx", "envoy")
JOBS = [
    Job("pass", "pass-through", "none", ALL),
    Job("pass_logged", "pass-through, logged", "none", ("gatepost", "haproxy", "nginx"), logs=True),
    Job("rs256", "RS256, verified on every request", "RS256", ("gatepost", "haproxy", "envoy")),
    Job("es256", "ES256, verified on every request", "ES256", ("gatepost", "haproxy", "envoy")),
    Job("rs256_cached", "RS256, verified before", "RS256", ("gatepost", "bare", "envoy"), caches=True),
    Job("api_key", "API key, one of 1,000", "api_key", ("gatepost", "haproxy", "nginx", "envoy")),
    Job("rotating", "20,000 RS256 tokens in turn", "rotating", ("gatepost", "bare", "envoy"), caches=True),
    Job("full", "full job: RS256 verified before, limit per caller, identity, metrics, access log",
        "RS256", ("gatepost", "bare", "envoy"), caches=True, limits=True, logs=True),
    Job("refusal", "refusal: 401, logged", "RS256", ("gatepost", "haproxy", "nginx", "envoy"),
        caches=True, logs=True, refuses=True),
    Job("unix", "pass-through to a Unix socket", "none", ALL, unix=True),
]


def fields(job, credentials):
    """The header fields of one request: what a good caller presents."""
    if job.refuses or job.demands == "none":
        return {}
    if job.demands == "api_key":
        return {"X-API-Key": credentials.api_keys[500][1]}
    return {"Authorization": "Bearer " + credentials.token(job.algorithm)}
