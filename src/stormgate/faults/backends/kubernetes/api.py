"""Calls to an API server: one request each, with time limits, no repeats of its own, and errors
that say in one line what was asked and what was answered.

The `kubernetes` client reads the kubeconfig and opens the connections; it is imported at the first
call, in processes that break or restore, and never in one that has locust.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from stormgate.faults.backends.kubernetes.bounded import in_time
from stormgate.faults.backends.kubernetes.kubeconfig import Access, access
from stormgate.faults.errors import CannotBreak

CONNECT_S, READ_S = 3.0, 8.0
LOOK_S = 5.0
# A plugin of the kubeconfig asks a cloud, or a person who is not there.
_CREDENTIALS_S = 15.0
_PAGE = 500
_THROTTLED_S = 10.0
_LONGEST_WORDS = 400
# Whom the API server notes as who last wrote a field.
FIELD_MANAGER = "stormgate"

Json = Mapping[str, Any]

GROUPS = {
    "pods": "api/v1",
    "services": "api/v1",
    "nodes": "api/v1",
    "namespaces": "api/v1",
    "deployments": "apis/apps/v1",
    "statefulsets": "apis/apps/v1",
    "daemonsets": "apis/apps/v1",
    "replicasets": "apis/apps/v1",
    "horizontalpodautoscalers": "apis/autoscaling/v2",
    "endpointslices": "apis/discovery.k8s.io/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "apis/policy/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "selfsubjectaccessreviews": "apis/authorization.k8s.io/v1",
}


_end: ContextVar[float] = ContextVar("end", default=math.inf)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """All requests of this thread in the block together take no longer than that: each is cut short
    at what is left, and none is begun after it.
    """
    before = _end.set(min(_end.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(before)


def left_s(most_s: float) -> float:
    """How long something may take now: `most_s`, or what is left of the time it was given."""
    return min(most_s, max(_end.get() - time.monotonic(), 0.0))


class KubernetesError(Exception):
    """An answer that is no success. `status` is the HTTP status, 0 when nobody answered."""

    def __init__(self, status: int, words: str, details: Json | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.details: Json = details or {}


class Cluster:
    """One API server as one context of the kubeconfig reaches it. Safe from several threads."""

    def __init__(self, found: Access) -> None:
        self.access = found
        self._client: Any = None
        self._lock = threading.Lock()
        self._ahead_s = 0.0

    def get(self, resource: str, namespace: str | None, name: str) -> dict[str, Any]:
        """One object. Raises KubernetesError."""
        return self.call("GET", path_of(resource, namespace, name))

    def find(self, resource: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        """One object; None when there is none of that name. Raises KubernetesError."""
        try:
            return self.get(resource, namespace, name)
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self, resource: str, namespace: str | None, selector: str = "", fields: str = ""
    ) -> list[dict[str, Any]]:
        """All objects that match, over as many pages as there are. Raises KubernetesError."""
        return list(self._pages(path_of(resource, namespace), selector, fields))

    def create(self, resource: str, namespace: str | None, body: Json) -> dict[str, Any]:
        """Make an object. Raises KubernetesError (409: one of that name is there)."""
        return self.call("POST", path_of(resource, namespace), body=body)

    def delete(
        self,
        resource: str,
        namespace: str | None,
        name: str,
        *,
        uid: str,
        grace_s: int | None = None,
    ) -> None:
        """Delete the one object with this uid. Raises KubernetesError (404: gone, 409: another of
        that name).
        """
        body: dict[str, Any] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
        }
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        self.call("DELETE", path_of(resource, namespace, name), body=body)

    def patch(
        self, resource: str, namespace: str | None, name: str, steps: Sequence[Json]
    ) -> dict[str, Any]:
        """A JSON patch; all of it or nothing. Raises KubernetesError (422: a test of it failed)."""
        kind = "application/json-patch+json"
        return self.call("PATCH", path_of(resource, namespace, name), body=list(steps), kind=kind)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> dict[str, Any]:
        """One request and its answer. A server that is too busy (429 with Retry-After, from its own
        queues) is asked again until 10 s have gone. Raises KubernetesError.
        """
        end = min(time.monotonic() + _THROTTLED_S, _end.get())
        held: KubernetesError | None = None
        while True:
            try:
                status, headers, data = self._send(method, path, body, query or {}, kind)
            except KubernetesError as error:
                # Where the time is over, that it was too busy all along is what matters.
                raise (held or error) from None
            if 200 <= status < 300:
                return _object(data)
            busy = status == 429 and not _refused_by_budget(data)
            again_s = _retry_after_s(headers) if busy else None
            held = _error(self, method, path, status, data)
            if again_s is None or time.monotonic() + again_s >= end:
                raise held
            time.sleep(again_s)

    def answer(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """(status, body) of one request, whatever they are: for what answers behind the API server.
        Raises KubernetesError when nobody answers.
        """
        status, _, data = self._send(method, path, body, {}, "application/json")
        return status, data

    def error(self, method: str, path: str, status: int, data: bytes) -> KubernetesError:
        """An answer that is no success, in one line with what was asked."""
        return _error(self, method, path, status, data)

    def settings(self) -> Any:
        """The client's configuration: certificates, and whom the server is told we are."""
        return self._connected().configuration

    def now(self) -> datetime:
        """What time it is by the clock that all who use this cluster share: the API server's own,
        as far as it has told (to a second).
        """
        return datetime.now(UTC) + timedelta(seconds=self._ahead_s)

    def renewed(self) -> bool:
        """Read the credentials anew, for a server that does not take these any more; whether they
        are others now. Raises CannotBreak, KubernetesError.
        """
        before = self.authorization()
        with self._lock:
            self._client = None
        return self.authorization() != before

    def authorization(self) -> dict[str, str]:
        """The header that says who asks; none where a certificate does. Raises KubernetesError."""
        settings = self.settings()
        found = self._in_time(settings.auth_settings)
        auth = found.get("BearerToken")
        return {"Authorization": auth["value"]} if auth and auth.get("value") else {}

    def _send(
        self, method: str, path: str, body: Any, query: Mapping[str, str], kind: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request; what was not let in at all is sent again when there are other credentials
        by now. Raises KubernetesError.
        """
        found = self._sent(method, path, body, query, kind)
        if found[0] == 401 and self.renewed():
            found = self._sent(method, path, body, query, kind)
        return found

    def _sent(
        self, method: str, path: str, body: Any, query: Mapping[str, str], kind: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        import urllib3

        left = left_s(READ_S)
        if left <= 0:
            raise KubernetesError(0, f"{_asked(self, method, path)}: not asked, time was over")
        client = self._connected()
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        headers |= self.authorization()
        data = None
        if body is not None:
            headers["Content-Type"] = kind
            data = json.dumps(body).encode()
        url = f"{self.access.server}/{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            answer = client.rest_client.pool_manager.request(
                method,
                url,
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(CONNECT_S, left), read=left),
                retries=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise KubernetesError(
                0, f"{_asked(self, method, path)}: no answer: {_short(error)}"
            ) from None
        with contextlib.suppress(TypeError, ValueError):
            told = email.utils.parsedate_to_datetime(answer.headers["Date"])
            self._ahead_s = (told - datetime.now(UTC)).total_seconds()
        return int(answer.status), answer.headers, bytes(answer.data)

    def _pages(self, path: str, selector: str, fields: str) -> Iterator[dict[str, Any]]:
        query = {"limit": str(_PAGE)}
        query |= {"labelSelector": selector} if selector else {}
        query |= {"fieldSelector": fields} if fields else {}
        while True:
            page = self.call("GET", path, query=query)
            yield from page.get("items") or []
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return
            query["continue"] = str(more)

    def _connected(self) -> Any:
        if not self._lock.acquire(timeout=left_s(_CREDENTIALS_S)):
            raise KubernetesError(0, self._none_came())
        try:
            if self._client is None:
                self._client = self._in_time(functools.partial(_client, self.access))
            return self._client
        finally:
            self._lock.release()

    def _in_time(self, work: Callable[[], Any]) -> Any:
        """What may run a plugin of the kubeconfig."""
        try:
            return in_time(work, left_s(_CREDENTIALS_S))
        except TimeoutError:
            raise KubernetesError(0, self._none_came()) from None

    def _none_came(self) -> str:
        found = self.access
        return f"{found.files}, context {found.context!r}: its credentials did not come in time"


def cluster_of(handle: Mapping[str, Any]) -> Cluster:
    """The cluster of a component. Raises CannotBreak for a kubeconfig that does not lead there."""
    return _cluster(access(handle))


@functools.cache
def _cluster(found: Access) -> Cluster:
    return Cluster(found)


def path_of(resource: str, namespace: str | None, name: str = "") -> str:
    """The path of a resource (`pods/eviction` is a subresource of the named one)."""
    plural, _, sub = resource.partition("/")
    parts = [GROUPS[plural]]
    if namespace is not None:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(plural)
    parts += [quote(name, safe="")] if name else []
    return "/".join([*parts, *([sub] if sub else [])])


def _client(found: Access) -> Any:
    if "locust" in sys.modules:
        raise CannotBreak("the Kubernetes client is not for a process that has locust in it")
    try:
        from kubernetes.config import ConfigException

        from kubernetes import client, config
    except ImportError:
        raise CannotBreak(
            "backend kubernetes needs the kubernetes client: pip install 'stormgate[kubernetes]'"
        ) from None
    settings = client.Configuration()
    settings.proxy = None  # it would carry everything past the target's allow list
    try:
        load: Any = config.load_kube_config
        load(
            config_file=found.files,
            context=found.context,
            client_configuration=settings,
            persist_config=False,
        )
    except (ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        raise CannotBreak(f"{found.files}, context {found.context!r}: {_short(error)}") from None
    settings.proxy = None
    if str(settings.host).rstrip("/") != found.server:
        raise CannotBreak(
            f"{found.files}, context {found.context!r}: the client reads server {settings.host}, "
            f"and the file says {found.server}"
        )
    return client.ApiClient(configuration=settings)


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        raise KubernetesError(0, f"an answer that is no JSON: {data[:60]!r}") from None
    if not isinstance(found, dict):
        raise KubernetesError(0, "an answer that is no object")
    return found


def _error(cluster: Cluster, method: str, path: str, status: int, data: bytes) -> KubernetesError:
    try:
        told = json.loads(data)
        details = told if isinstance(told, dict) else {}
    except ValueError:
        details = {}
    words = " ".join(str(details.get("message") or data[:200].decode("utf-8", "replace")).split())
    hint = ""
    if status == 401:
        hint = " (the credentials of this context are not valid, or no longer)"
    elif status == 403:
        hint = " (stormgate check --permissions prints the role that is needed)"
    asked = _asked(cluster, method, path)
    return KubernetesError(status, f"{asked}: {status} {words[:_LONGEST_WORDS]}{hint}", details)


def _asked(cluster: Cluster, method: str, path: str) -> str:
    return f"context {cluster.access.context} ({cluster.access.host}): {method} {path}"


def _refused_by_budget(data: bytes) -> bool:
    return b"DisruptionBudget" in data


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        return min(max(float(headers.get("Retry-After", "")), 0.05), _THROTTLED_S)
    except ValueError:
        return None


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[-_LONGEST_WORDS:]


def run_label() -> str:
    """The run in this process as a label's value may hold it."""
    name = os.path.basename(os.environ.get("STORMGATE_EVIDENCE", "").rstrip("/")) or "by-hand"
    kept = "".join(one if one.isalnum() or one in "-_." else "-" for one in name)
    return kept[-63:].strip("-_.") or "by-hand"
