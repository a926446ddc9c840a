"""Where CHE·NU's users are sent, as the steward's table says (it stands for DNS or anycast)."""

import json
import os

from stormgate.faults.context import current
from stormgate.net.allow import AllowList
from stormgate.net.fetch import fetch
from stormgate.net.references import resolved

_TIMEOUT_S = 2.0


def table() -> dict[str, list[str]]:
    """Each population's edges, best first. Raises OSError when the steward does not answer."""
    url = current().target.steering.url
    if url is None:
        raise OSError("the target has no steering table")
    target = current().target
    body = fetch(resolved(url, os.environ), AllowList(target.allow), _TIMEOUT_S)
    populations: dict[str, list[str]] = json.loads(body)["populations"]
    return populations


def avoided(edge: str) -> bool:
    """Whether no population is sent to this edge first."""
    return all(order[:1] != [edge] for order in table().values())


def first_edge(population: str) -> str | None:
    """The edge a population is sent to now; None when it is sent nowhere."""
    return next(iter(table().get(population, [])), None)


def displaced() -> list[str]:
    """The populations that are not sent to their own best edge."""
    sent = table()
    return sorted(
        each.name
        for each in current().target.populations
        if each.edges and sent.get(each.name, [])[:1] != [each.edges[0]]
    )
