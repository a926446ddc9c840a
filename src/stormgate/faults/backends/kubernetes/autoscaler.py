"""Whether an autoscaler holds the number of a workload's replicas, and what it will do about
another one.
"""

from __future__ import annotations

from stormgate.faults.backends.kubernetes.api import Json, KubernetesError
from stormgate.faults.backends.kubernetes.handle import shape
from stormgate.faults.backends.kubernetes.handle import told as told_handle
from stormgate.faults.backends.kubernetes.ways import Site
from stormgate.faults.errors import CannotBreak

_RESOURCE = "horizontalpodautoscalers"


def told(site: Site, found: Json, replicas: int) -> str:
    """What an autoscaler of this workload will do about `replicas`, as the end of a sentence; ""
    where none holds it. Raises CannotBreak where it would put them back at once, KubernetesError.
    """
    try:
        every = site.cluster.list(_RESOURCE, site.namespace)
    except KubernetesError as error:
        if error.status == 404:
            return ""  # a cluster without that API has none
        if error.status != 403:
            raise
        return "; whether an autoscaler holds it may not be seen (list horizontalpodautoscalers)"
    mine = [one for one in every if _holds(one, shape(site.handle), found["metadata"]["name"])]
    if not mine:
        return ""
    name, least = mine[0]["metadata"]["name"], int(mine[0]["spec"].get("minReplicas", 1))
    if 0 < replicas < least:
        raise CannotBreak(
            f"{site.part.name}: the autoscaler {name} keeps {told_handle(site.handle)} at {least} "
            f"replicas or more, and would put back what {replicas} lack; scale to 0 (it rests "
            f"then) or to {least} and more, or crash its pods"
        )
    if replicas == 0 and least > 0:
        return f"; the autoscaler {name} rests while it has no replicas"
    most = mine[0]["spec"].get("maxReplicas")
    return f"; the autoscaler {name} ({least} to {most}) may raise it again"


def _holds(scaler: Json, kind: str, name: str) -> bool:
    of = scaler["spec"].get("scaleTargetRef") or {}
    return str(of.get("kind")).lower() == kind and of.get("name") == name
