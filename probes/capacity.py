"""What CHE·NU's regions can serve right now, as the pool of a region's instances says it."""

import json
from typing import Any

from stormgate.faults.context import current
from stormgate.net.allow import AllowList
from stormgate.net.fetch import fetch

_TIMEOUT_S = 1.0


def instances(region: str) -> dict[str, Any]:
    """How many instances of its service the region has. Raises OSError when it does not answer,
    LookupError for a region that is not there.
    """
    target = current().target
    service = target.component(f"{region}/service")
    if service.observe is None:
        raise LookupError(f"nobody knows where {service.name} can be asked")
    url = f"http://{service.observe.address}/instances"
    found: dict[str, Any] = json.loads(fetch(url, AllowList(target.allow), _TIMEOUT_S))
    return found


def capacity_per_s(region: str) -> float:
    """Requests per second that the region's ready instances can serve."""
    return float(instances(region)["capacity_per_s"])
