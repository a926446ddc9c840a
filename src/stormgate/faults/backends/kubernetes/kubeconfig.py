"""Which server a context of the kubeconfig stands for: read from the file, without any client, so
that every process can say whom a fault would contact.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stormgate.faults.errors import CannotBreak

_MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Access:
    """A context and where it leads: the `server`'s URL; `files` as a KUBECONFIG lists them."""

    context: str
    server: str
    files: str

    @property
    def host(self) -> str:
        """The host of the server."""
        return urlsplit(self.server).hostname or ""


def access(handle: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Access:
    """What the handle's `context` stands for: in its `kubeconfig`, else in KUBECONFIG, else in
    ~/.kube/config. Raises CannotBreak with the contexts there are.
    """
    given = os.environ if environment is None else environment
    listed = str(handle.get("kubeconfig") or given.get("KUBECONFIG") or "~/.kube/config")
    files = [Path(one).expanduser() for one in listed.split(os.pathsep) if one]
    contexts: dict[str, Any] = {}
    clusters: dict[str, Any] = {}
    for path in files:
        data = _read(path, missing_is_fine=len(files) > 1)
        for kind, found in (("context", contexts), ("cluster", clusters)):
            for one in data.get(f"{kind}s") or []:
                if isinstance(one, dict) and isinstance(one.get(kind), dict):
                    found.setdefault(str(one.get("name")), one[kind])  # the first file wins
    name = str(handle.get("context"))
    where = os.pathsep.join(str(path) for path in files)
    if name not in contexts:
        there = ", ".join(sorted(contexts)) or "none"
        raise CannotBreak(f"{where} has no context {name!r} (it has {there})")
    cluster = str(contexts[name].get("cluster"))
    server = str(clusters.get(cluster, {}).get("server") or "")
    try:
        parts = urlsplit(server)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise CannotBreak(f"{where}: context {name!r} has a cluster {cluster!r} without a server")
    return Access(name, server.rstrip("/"), where)


def _read(path: Path, *, missing_is_fine: bool) -> Mapping[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise CannotBreak(f"{path}: a kubeconfig of more than {_MOST_BYTES >> 20} MiB")
        found = YAML(typ="safe", pure=True).load(data.decode())
    except FileNotFoundError:
        if missing_is_fine:
            return {}
        raise CannotBreak(
            f"there is no kubeconfig {path}: name it (handle.kubeconfig, or KUBECONFIG)"
        ) from None
    except (OSError, UnicodeError) as error:
        raise CannotBreak(f"kubeconfig {path} cannot be read: {error}") from None
    except YAMLError as error:
        raise CannotBreak(f"kubeconfig {path} is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise CannotBreak(f"kubeconfig {path} is no kubeconfig")
    return found
