"""Which toxics break a link in which mode, and how they are made to stand again where a Toxiproxy
has forgotten them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stormgate.toxiproxy.client import Client
from stormgate.toxiproxy.errors import InvalidRequest, ProxyNotFound

LINK_MODES = ("bandwidth", "blackhole", "lossy", "refuse", "slow")


def wanted_toxics(mode: str, params: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """The toxics of a mode. `slow` adds `latency_ms` (and `jitter_ms`) to the round trip, half each
    way. Raises InvalidRequest.
    """
    both = ("upstream", "downstream")
    if mode == "refuse":
        return []
    if mode == "blackhole":
        return [_toxic(prefix, "timeout", stream, {"timeout": 0}) for stream in both]
    if mode == "slow":
        latency, jitter = int(params["latency_ms"]), int(params["jitter_ms"])
        halves = {
            "upstream": (latency // 2, jitter // 2),
            "downstream": (latency - latency // 2, jitter - jitter // 2),
        }
        return [
            _toxic(prefix, "latency", stream, {"latency": half[0], "jitter": half[1]})
            for stream, half in halves.items()
        ]
    if mode == "bandwidth":
        rate = int(params["rate_kb_per_s"])
        return [_toxic(prefix, "bandwidth", stream, {"rate": rate}) for stream in both]
    if mode == "lossy":
        share, after = float(params["share"]), int(params["after_ms"])
        return [_toxic(prefix, "reset_peer", "downstream", {"timeout": after}, share)]
    raise InvalidRequest(f"a link cannot be broken by {mode!r}; one of {', '.join(LINK_MODES)}")


def _toxic(
    prefix: str, kind: str, stream: str, attributes: Mapping[str, int], toxicity: float = 1.0
) -> dict[str, Any]:
    name = f"{prefix}_{'up' if stream == 'upstream' else 'down'}"
    return {
        "name": name,
        "type": kind,
        "stream": stream,
        "toxicity": toxicity,
        "attributes": dict(attributes),
    }


def changed_toxics(record: Mapping[str, Any], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The toxics of a record as other parameters want them, under the same names."""
    names = [str(toxic["name"]) for toxic in record["toxics"]]
    prefix = names[0].rpartition("_")[0] if names else ""
    return wanted_toxics(str(record["mode"]), params, prefix)


def stand_again(client: Client, record: Mapping[str, Any], *, standing: bool) -> str:
    """Make a link's proxy again where the server has lost it, and, where the fault ought to be
    `standing`, what it lost of that; what was done in words, "" for nothing. Raises ToxiproxyError.
    """
    name, done = str(record["proxy"]), []
    try:
        proxy = client.get(name)
    except ProxyNotFound:
        proxy = client.create(name, str(record["upstream"]), str(record["listen"]))
        done.append(f"made proxy {name!r} again")
    if not standing:
        return "; ".join(done)
    if record["mode"] == "refuse" and proxy.enabled:
        client.set_enabled(name, False)
        done.append(f"disabled {name!r} again")
    there = {toxic.name: toxic for toxic in proxy.toxics}
    for toxic in record["toxics"]:
        found = there.get(toxic["name"])
        if found is None or dict(found.attributes) != dict(toxic["attributes"]):
            ensure(client, name, toxic)
            done.append(f"put {toxic['name']} on {name!r} again")
    return "; ".join(done)


def ensure(client: Client, proxy: str, toxic: Mapping[str, Any]) -> None:
    """Have one toxic stand as it is written, changed in place where it stands otherwise. Raises
    ToxiproxyError.
    """
    client.ensure_toxic(
        proxy,
        toxic["type"],
        toxic["attributes"],
        name=toxic["name"],
        stream=toxic["stream"],
        toxicity=float(toxic["toxicity"]),
    )
