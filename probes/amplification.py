"""How much of CHE·NU's load is its own making: requests at its services for each one of a user."""

from stormgate.chaos.metrics import metric

# Fewer answers of the edges since the reading before say nothing.
_LEAST = 20
_before: dict[str, float] = {}


def per_request() -> float:
    """Requests that services answered for each that edges answered, since the reading before.
    Below 1 where edges answer some by themselves. Raises ValueError at the first reading, and where
    the edges answered hardly any.
    """
    rose = {}
    for kind in ("service", "edge"):
        now = metric("chenu_requests_total", {"kind": kind})
        rose[kind] = now - _before.get(kind, now)
        _before[kind] = now
    if rose["edge"] < _LEAST:
        raise ValueError(f"edges answered {rose['edge']:g} requests since the reading before")
    return rose["service"] / rose["edge"]
