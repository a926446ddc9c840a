"""`slow`, `lossy`, `refuse`, `blackhole`, `bandwidth` of a Service: its selector is moved to a
Toxiproxy pod of ours, which leads on to a shadow Service with the selector it had. Traffic moves
first and is broken then; it is proven by the proxy's own counters.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from stormgate.faults.backends import FaultRequest, Observation
from stormgate.faults.backends.kubernetes.api import Json, KubernetesError, within
from stormgate.faults.backends.kubernetes.detour import objects
from stormgate.faults.backends.kubernetes.detour.carrier import ThroughApiServer
from stormgate.faults.backends.kubernetes.detour.seen import before, shown
from stormgate.faults.backends.kubernetes.marks import VanishedError, is_marked, same
from stormgate.faults.backends.kubernetes.pods import is_ready, pods_of
from stormgate.faults.backends.kubernetes.traffic.selector import MovedSelector, ready_ends
from stormgate.faults.backends.kubernetes.ways import Permission, Record, Site, begun, where
from stormgate.faults.backends.toxiproxy import ToxiproxyBackend
from stormgate.faults.declared import Parameters
from stormgate.faults.errors import NotApplied, UndoFailed
from stormgate.toxiproxy.errors import ToxiproxyError
from stormgate.toxiproxy.modes import ensure, wanted_toxics

READY_S, MOVED_S = 60.0, 10.0
_AGAIN_S = 0.05
_CLEAR_S = 2.0


class Detour(MovedSelector):
    """One of the modes of a link, for a Service."""

    key = objects.DETOUR
    moved = "led round"

    def __init__(self, mode: str) -> None:
        self.parameters: type[Parameters] = ToxiproxyBackend.modes[mode]

    def permissions(self, handle: Mapping[str, Any]) -> tuple[Permission, ...]:
        return (
            Permission("services", ("get", "create", "patch", "delete")),
            Permission("deployments", ("get", "create", "delete")),
            Permission("pods", ("get", "list")),
            Permission("pods/proxy", ("get", "create", "patch", "delete")),
            Permission("endpointslices", ("list",)),
        )

    def plan(self, site: Site, request: FaultRequest) -> dict[str, Any]:
        resource, found, selector, ready = self.selecting(site)
        pods = [pod for pod in pods_of(site) if is_ready(pod)]
        ports = objects.ports_of(site.part.name, found, pods)
        params, before_ms = before(site.part, request.mode, dict(request.params))
        return begun(
            request,
            object=where(resource, found),
            before=selector,
            after={objects.DETOUR: request.token},
            ready_before=len(ready),
            image=str(site.handle["detour_image"]),
            ports=ports,
            api_port=objects.api_port(ports),
            toxics=wanted_toxics(request.mode, request.params, f"stormgate_{request.token}"),
            params=params,
            before_ms=before_ms,
        )

    def apply(self, site: Site, record: Record, stop: threading.Event) -> None:
        name, inside = objects.name_of(str(record["token"])), site.namespace
        made = site.cluster.create("services", inside, objects.shadow(record))
        site.cluster.create("deployments", inside, objects.deployment(record))
        pod = _until(lambda: _proxy(site, record), READY_S, stop)
        if pod is None:
            raise NotApplied(f"{site.part.name}: {_unready(site, record)}")
        if not _until(lambda: ready_ends(site, name), MOVED_S, stop):
            raise NotApplied(f"{site.part.name}: shadow service {name} has no ready endpoint")
        carrier = _carrier(record, site, pod)
        client = carrier.client()
        address = str(pod["status"]["podIP"])
        try:
            for one in record["ports"]:
                upstream = objects.joined(str(made["spec"]["clusterIP"]), int(one["port"]))
                client.create(one["key"], upstream, objects.joined(address, int(one["listen"])))
            self.move(site, record)
            service = str(record["object"]["name"])
            if not _until(lambda: ready_ends(site, service) == {address}, MOVED_S, stop):
                raise NotApplied(f"{site.part.name}: the endpoints did not follow its selector")
            for one in record["ports"]:
                _break(client, str(one["key"]), record)
        except ToxiproxyError as error:
            raise NotApplied(f"{site.part.name}: the proxy of the detour: {error}") from None

    def undo(self, site: Site, record: Record, timeout_s: float) -> None:
        vanished = None
        try:
            super().undo(site, record, timeout_s)
        except VanishedError as error:
            vanished = error
        self._clear(site, record)
        for resource in ("deployments", "services"):
            self._remove(site, record, resource)
        if vanished is not None:
            raise vanished

    def _clear(self, site: Site, record: Record) -> None:
        """What still passes the proxy passes it unharmed from now on. It is deleted either way."""
        with contextlib.suppress(KubernetesError, ToxiproxyError), within(_CLEAR_S):
            pod = _proxy(site, record)
            if pod is not None:
                _carrier(record, site, pod).client().reset()

    def _remove(self, site: Site, record: Record, resource: str) -> None:
        name = objects.name_of(str(record["token"]))
        found = site.cluster.find(resource, site.namespace, name)
        if found is None or found["metadata"].get("deletionTimestamp"):
            return
        if not is_marked(found, record):
            raise UndoFailed(f"{site.part.name}: {resource}/{name} does not carry our mark")
        with contextlib.suppress(KubernetesError):  # whether it is gone is looked at
            site.cluster.delete(resource, site.namespace, name, uid=found["metadata"]["uid"])

    def in_effect(self, site: Site, record: Record) -> Observation:
        found = same(site.cluster, record["object"])
        if why := self.other(found, record):
            return Observation(False, why)
        pod = _proxy(site, record)
        if pod is None:
            return Observation(False, _unready(site, record))
        address, about = str(pod["status"]["podIP"]), pod["metadata"]
        ends = ready_ends(site, str(record["object"]["name"]))
        if ends != {address}:
            return Observation(False, f"its endpoints are {', '.join(sorted(ends)) or 'none'}")
        carrier = _carrier(record, site, pod)
        try:
            missing = _missing(carrier, record)
            if missing:
                return Observation(False, missing)
            seen = shown(site.part, record)
            passed = sum(carrier.counters().values())
        except ToxiproxyError as error:
            return Observation(False, f"the proxy of the detour: {error}")
        saw = (
            f"all endpoints are the proxy {about['name']} (uid {about['uid']}); "
            f"{passed} bytes have come in through it; {seen.saw}"
        )
        # Who is refused brings no bytes; all else has to have passed it.
        return Observation(seen.seen and (passed > 0 or record["mode"] == "refuse"), saw)

    def is_whole(self, site: Site, record: Record) -> Observation:
        name, seen = objects.name_of(str(record["token"])), self.back(site, record)
        for resource in ("deployments", "services") if seen.seen else ():
            if site.cluster.find(resource, site.namespace, name) is not None:
                return Observation(False, f"{resource}/{name} is still there")
        return seen

    def by_hand(self, site: Site, record: Record) -> str:
        name = objects.name_of(str(record["token"]))
        pairs = ",".join(f'"{key}":"{value}"' for key, value in sorted(record["before"].items()))
        steps = f'[{{"op":"replace","path":"/spec/selector","value":{{{pairs}}}}}]'
        patch = site.kubectl(f"patch service {record['object']['name']} --type=json -p '{steps}'")
        return f"{patch}; {site.kubectl(f'delete deployment/{name} service/{name}')}"


def _break(client: Any, key: str, record: Record) -> None:
    if record["mode"] == "refuse":
        client.set_enabled(key, False)
    for toxic in record["toxics"]:
        ensure(client, key, toxic)


def _missing(carrier: ThroughApiServer, record: Record) -> str:
    """What of the fault is not in the proxy (any more), in words. Raises ToxiproxyError."""
    proxies = carrier.client().proxies()
    for one in record["ports"]:
        proxy = proxies.get(str(one["key"]))
        if proxy is None:
            return f"the proxy has no {one['key']} (it was started anew?)"
        if proxy.enabled == (record["mode"] == "refuse"):
            return f"{one['key']} is {'not ' if not proxy.enabled else ''}enabled"
        there = {toxic.name for toxic in proxy.toxics}
        gone = [toxic["name"] for toxic in record["toxics"] if toxic["name"] not in there]
        if gone:
            return f"{one['key']} has no toxic {gone[0]}"
    return ""


def _proxy(site: Site, record: Record) -> Json | None:
    """The proxy's pod, once it is ready. Raises KubernetesError."""
    pods = site.cluster.list("pods", site.namespace, f"{objects.DETOUR}={record['token']}")
    return next((pod for pod in pods if is_ready(pod) and pod["status"].get("podIP")), None)


def _unready(site: Site, record: Record) -> str:
    pods = site.cluster.list("pods", site.namespace, f"{objects.DETOUR}={record['token']}")
    why = [
        f"{reason.get('reason')} {reason.get('message') or ''}".strip()
        for pod in pods
        for one in (pod.get("status") or {}).get("containerStatuses") or []
        if (reason := (one.get("state") or {}).get("waiting"))
    ]
    what = f"the proxy of the detour ({record['image']}) is not ready"
    return f"{what}: {'; '.join(why) or f'{len(pods)} pods'}"


def _carrier(record: Record, site: Site, pod: Json) -> ThroughApiServer:
    about = pod["metadata"]
    return ThroughApiServer(
        site.cluster, str(about["namespace"]), str(about["name"]), int(record["api_port"])
    )


def _until(look: Callable[[], Any], most_s: float, stop: threading.Event) -> Any:
    """What `look` says as soon as it says anything; None when it does not in time."""
    end = time.monotonic() + most_s
    while True:
        if found := look():
            return found
        if time.monotonic() >= end or stop.wait(_AGAIN_S):
            return None
