"""One run at a time in a namespace, whichever machine it runs on: a Lease that this process holds
and renews from its first fault there until its last is taken back.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stormgate.faults.backends.kubernetes.api import Cluster, Json, KubernetesError, run_label
from stormgate.faults.backends.kubernetes.leader import expires_in_s
from stormgate.faults.backends.kubernetes.marks import MANAGED, RUN_LABEL
from stormgate.faults.backends.kubernetes.ways import Permission, Site
from stormgate.faults.errors import CannotBreak
from stormgate.faults.state import Fate, ProcessOwner

NAME = "stormgate-target"
OWNER = "stormgate.dev/owner"
RENEW_S, DURATION_S = 10.0, 45
# Nodes are in no namespace; who breaks some holds the one that every cluster has.
OF_NODES = "default"
PERMISSION = Permission("leases", ("get", "create", "patch", "delete"))


@dataclass
class _Hold:
    cluster: Cluster
    namespace: str
    tokens: set[str]
    # Who has it now, where we lost it: nobody let us reach it for too long, or it was taken away.
    lost_to: str = ""
    stop: threading.Event = field(default_factory=threading.Event)


_holds: dict[tuple[str, str], _Hold] = {}
_lock = threading.Lock()


def hold(site: Site, token: str) -> None:
    """Hold the site's namespace for the fault with this token. Raises CannotBreak naming who has
    it, KubernetesError.
    """
    namespace = site.namespace or OF_NODES
    key = (site.cluster.access.server, namespace)
    with _lock:
        if (held := _holds.get(key)) is not None:
            if held.lost_to:
                raise CannotBreak(
                    f"namespace {namespace} was taken over by {held.lost_to} in mid-run"
                )
            held.tokens.add(token)
            return
        _take(site.cluster, namespace)
        held = _holds[key] = _Hold(site.cluster, namespace, {token})
        threading.Thread(target=_renew, args=(held,), name="namespace", daemon=True).start()


def lost_to(site: Site, token: str) -> str:
    """Who has taken the namespace over from the fault with this token; "" while it is held, and
    where another process holds it.
    """
    with _lock:
        held = _holds.get((site.cluster.access.server, site.namespace or OF_NODES))
        return "" if held is None or token not in held.tokens else held.lost_to


def let_go(site: Site, token: str) -> None:
    """The fault with this token is over; with the last one the namespace is given back. Idempotent.
    Never raises: a Lease that is not given back runs out.
    """
    key = (site.cluster.access.server, site.namespace or OF_NODES)
    with _lock:
        held = _holds.get(key)
        if held is None or token not in held.tokens:
            return
        held.tokens.discard(token)
        if held.tokens:
            return
        del _holds[key]
    _give_back(held)


def living_holder(cluster: Cluster, namespace: str) -> str | None:
    """Who holds a namespace and lives, as far as can be told; None when nobody does. Raises
    KubernetesError.
    """
    found = cluster.find("leases", namespace, NAME)
    return (
        None
        if found is None or _is_over(found, cluster.now())
        else str(found["spec"].get("holderIdentity"))
    )


def _take(cluster: Cluster, namespace: str) -> None:
    # The first answer tells the server's time, which the lease is written in.
    cluster.find("leases", namespace, NAME)
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": NAME,
            "labels": {RUN_LABEL: run_label(), MANAGED: "stormgate"},
            "annotations": {OWNER: json.dumps(ProcessOwner.this().to_dict())},
        },
        "spec": {
            "holderIdentity": _identity(),
            "leaseDurationSeconds": DURATION_S,
            "acquireTime": _now(cluster),
            "renewTime": _now(cluster),
        },
    }
    for _ in range(3):
        try:
            cluster.create("leases", namespace, body)
        except KubernetesError as error:
            if error.status != 409:
                raise
        else:
            return
        found = cluster.find("leases", namespace, NAME)
        if found is None:
            continue
        if not _is_over(found, cluster.now()):
            left_s = expires_in_s(found, cluster.now())
            raise CannotBreak(
                f"namespace {namespace} is in use by {found['spec'].get('holderIdentity')}; wait "
                f"for that run, or stop it (its lease runs out {left_s:.0f} s from now unless it "
                "is renewed)"
            )
        with contextlib.suppress(KubernetesError):  # another took it over first: look again
            cluster.delete("leases", namespace, NAME, uid=found["metadata"]["uid"])
    raise CannotBreak(f"namespace {namespace}: its lease {NAME} changes hands too often")


def _is_over(found: Json, now: datetime) -> bool:
    """Whether a lease protects nothing: its owner was on this machine and is dead, or it has run
    out by the cluster's own clock (`now`), whatever the clocks of its users say.
    """
    try:
        owner = json.loads((found["metadata"].get("annotations") or {})[OWNER])
        fate = ProcessOwner.of(owner).fate()
    except (KeyError, ValueError, AttributeError):
        fate = Fate.UNKNOWN
    if fate is not Fate.UNKNOWN:
        return fate is Fate.DEAD
    return expires_in_s(found, now) < 0


def _renew(held: _Hold) -> None:
    while not held.stop.wait(RENEW_S):
        steps = [
            {"op": "test", "path": "/spec/holderIdentity", "value": _identity()},
            {"op": "replace", "path": "/spec/renewTime", "value": _now(held.cluster)},
        ]
        try:
            held.cluster.patch("leases", held.namespace, NAME, steps)
        except KubernetesError as error:
            # One that fails is tried again; whoever took it over meanwhile keeps it.
            if error.status in (404, 422) and not _taken_again(held, error.status):
                return
        except CannotBreak:
            continue  # credentials that cannot be read just now


def _taken_again(held: _Hold, status: int) -> bool:
    """Whether a lease that is not ours any more is again; else `lost_to` says whose it is."""
    try:
        if status == 404:
            _take(held.cluster, held.namespace)
            return True
        found = held.cluster.find("leases", held.namespace, NAME)
        holder = None if found is None else found["spec"].get("holderIdentity")
        if holder != _identity():
            held.lost_to = str(holder or "somebody")
    except KubernetesError:
        return True  # nobody knows: it is looked at again
    except CannotBreak as error:
        held.lost_to = str(error)
    return not held.lost_to


def _give_back(held: _Hold) -> None:
    held.stop.set()
    with contextlib.suppress(KubernetesError):
        found = held.cluster.find("leases", held.namespace, NAME)
        if found is not None and found["spec"].get("holderIdentity") == _identity():
            held.cluster.delete("leases", held.namespace, NAME, uid=found["metadata"]["uid"])


@atexit.register
def _give_all_back() -> None:
    with _lock:
        left = list(_holds.values())
        _holds.clear()
    for held in left:
        _give_back(held)


def _identity() -> str:
    owner: Any = ProcessOwner.this()
    return f"{owner} ({run_label()}, {owner.start_ticks})"


def _now(cluster: Cluster) -> str:
    return cluster.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
