"""How much of CHE·NU's load is its own making: requests at its services for each one of a user."""

import collections

from stormgate.chaos.metrics import metric

# So many readings back: services and edges are not asked at the same moment, which a stall of the
# machine makes a second's worth.
_READINGS = 5
# Fewer answers of the edges in that time say nothing.
_LEAST = 20
_before: collections.deque[tuple[float, float]] = collections.deque(maxlen=_READINGS)


def per_request() -> float:
    """Requests that services answered for each that edges answered, since five readings before (or
    the first). Below 1 where edges answer some by themselves. Raises ValueError at the first
    reading, and where the edges answered hardly any.
    """
    services, edges = (
        metric("chenu_requests_total", {"kind": kind}) for kind in ("service", "edge")
    )
    then = _before[0] if _before else (services, edges)
    _before.append((services, edges))
    rose = edges - then[1]
    if rose < _LEAST:
        raise ValueError(f"edges answered {rose:g} requests since the readings before")
    return (services - then[0]) / rose
