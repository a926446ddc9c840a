"""What a lab's status says besides its processes: who is primary of what, the links with the round
trips they make and what slows or cuts them now, and the faults that stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any


def primaries(topology: Mapping[str, Any], seen: Mapping[str, Any]) -> Iterator[str]:
    """A line per shard: its live primary, and who stands by."""
    shards: dict[str, dict[str, list[str]]] = {}
    for one in topology["components"]:
        shard = (one.get("attributes") or {}).get("shard")
        if one["kind"] == "database" and shard is not None:
            role = str(seen.get(one["name"], {}).get("role") or "unknown")
            shards.setdefault(str(shard), {}).setdefault(role, []).append(str(one["name"]))
    for shard, roles in sorted(shards.items()):
        first = ", ".join(roles.get("primary", [])) or "nobody"
        rest = "; ".join(
            f"{role}: {', '.join(names)}"
            for role, names in sorted(roles.items())
            if role != "primary"
        )
        yield f"shard {shard}, primary: {first}{f' ({rest})' if rest else ''}"


def told_links(topology: Mapping[str, Any]) -> Iterator[str]:
    """A line per link whose ends are in two places or that is not as it was made; the rest counted.
    What its proxy says now, and not what was asked of it.
    """
    links = [one for one in topology["components"] if one["kind"] == "link"]
    live = _proxies({str(one["handle"]["url"]) for one in links if one.get("handle")})
    quiet = 0
    for one in links:
        facts = one.get("attributes") or {}
        url, proxy = str(one["handle"].get("url")), str(one["handle"].get("proxy"))
        state = "its server does not answer"
        if (known := live.get(url)) is not None:
            found = known.get(proxy)
            state = "gone" if found is None else _state(found)
        rtt_ms = float(facts.get("rtt_ms") or 0)
        if rtt_ms == 0 and state == "":
            quiet += 1
            continue
        yield (
            f"{facts.get('source')} -> {facts.get('destination')}: {rtt_ms:g} ms round trip"
            f"{f', {state}' if state else ''}"
        )
    if quiet:
        yield f"{quiet} more links add no distance, and are as they were made"


def _proxies(urls: Iterable[str]) -> dict[str, Mapping[str, Any] | None]:
    """What each server of links says of its proxies; None where it does not answer."""
    import json
    import urllib.request

    found: dict[str, Mapping[str, Any] | None] = {}
    for url in sorted(urls):
        try:
            request = urllib.request.Request(f"{url}/proxies", headers={"User-Agent": "stormgate"})  # noqa: S310 - the lab's own, on loopback
            with urllib.request.urlopen(request, timeout=2.0) as answer:  # noqa: S310
                found[url] = json.load(answer)
        except (OSError, ValueError):
            found[url] = None
    return found


def _state(proxy: Mapping[str, Any]) -> str:
    """What a fault has made of a link; nothing for what is its own distance."""
    told = [] if proxy.get("enabled") else ["refusing"]
    told += [
        f"{toxic['type']} {toxic['stream']} {toxic.get('attributes')}"
        for toxic in proxy.get("toxics") or ()
        if str(toxic.get("name", "")).startswith("stormgate_")
    ]
    return "; ".join(told)


def told_faults(target: str) -> Iterator[str]:
    """A line per fault that stands on this target."""
    from stormgate.faults.hands.standing import standing_faults
    from stormgate.report.words import one_line

    try:
        found = standing_faults(target)
    except OSError as error:
        yield f"whether a fault stands is not known: {error}"
        return
    now = datetime.now(UTC)
    for one in found.faults:
        age_s = one.age_s(now)
        age = "" if age_s is None else f", {age_s:.0f} s old"
        yield one_line(
            f"fault {one.fault}: {one.mode} {one.component}{age}, by {one.by} ({one.id})"
        )
    yield from (one_line(f"nobody can tell: {line}") for line in found.unknown)
    if not found.faults and not found.unknown:
        yield "no fault stands"
