"""`populations: {mix: FILE}` of a target: the cities of a TrafficMix as its populations, and of the
mix's edges those that the lab stands for.

The target's document is written out before anything else looks at it, so that whoever reads a
target knows of populations alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field

from stormgate.documents.problems import DocumentErrors, Problems, label, nearest
from stormgate.documents.shapes import Shape, fit
from stormgate.documents.traffic.document import KIND, read_traffic
from stormgate.documents.values import Name, PositiveMilliseconds, show
from stormgate.documents.yamlfile import Document, read_documents
from stormgate.geography.mix import Mix, Origin, gathered, spread

_AT = ("spec", "populations")
_SHARE_DIGITS = 12


class MixedShape(Shape):
    """The populations of a target, taken from a TrafficMix. With `at_most` the smaller ones are
    counted to the nearest of their group. `labels`, `headers` and `links` (edge -> base URL, in the
    order they are tried) are everybody's, `groups` the labels of a group of the mix; `last_mile` is
    that of those of whom the mix says none.
    """

    mix: str = Field(min_length=1)
    at_most: int | None = Field(default=None, ge=1)
    last_mile: PositiveMilliseconds | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    links: dict[str, str] = Field(default_factory=dict)
    groups: dict[Name, dict[str, str]] = Field(default_factory=dict)


def written_out(document: Document, problems: Problems) -> Document:
    """The target's document with its populations one by one; as it is where it lists them itself.
    What is wrong is noted.
    """
    spec = document.data.get("spec") if isinstance(document.data, dict) else None
    if not isinstance(spec, dict) or not isinstance(spec.get("populations"), dict):
        return document
    asked = fit(MixedShape, document, problems, _AT)
    mix = None if asked is None else _mix(asked, document, problems)
    if asked is None or mix is None:
        return _with(document, {**spec, "populations": []})
    groups = {origin.group for origin in mix.origins}
    for name in asked.groups:
        if name not in groups:
            line = document.line(*_AT, "groups", name)
            told = f"{name!r} is no group of {asked.mix}"
            problems.add(document.file, line, told, nearest(name, groups, what="groups"))
    people = gathered(mix, asked.at_most) if asked.at_most else mix.origins
    listed = [_population(origin, asked) for origin in people]
    return _with(document, {**spec, "populations": listed, **_pops(spec, mix)})


def _with(document: Document, spec: dict[str, Any]) -> Document:
    return replace(document, data={**document.data, "spec": spec})


def _mix(asked: MixedShape, document: Document, problems: Problems) -> Mix | None:
    path = document.path.parent / asked.mix
    line = document.line(*_AT, "mix")
    found = Problems()
    documents = read_documents(path, found)
    kinds = [d.data.get("kind") if isinstance(d.data, dict) else None for d in documents]
    if documents and kinds != [KIND]:
        told = f"{label(path)} is {show(kinds[0])}, not one {KIND}"
        problems.add(document.file, line, told, "name the file of a traffic mix")
        return None
    try:
        if documents:
            return read_traffic(documents[0], found).mix
    except DocumentErrors:
        pass
    told = f"the mix {asked.mix} cannot be read"
    problems.add(document.file, line, told, f"see: stormgate geography {label(path)}")
    for one in found:
        problems.add(one.file, one.line, one.message, one.fix)
    return None


def _population(origin: Origin, asked: MixedShape) -> dict[str, Any]:
    labels: Mapping[str, str] = {
        **({"country": origin.country} if origin.country else {}),
        **({"group": origin.group} if origin.group else {}),
        **asked.labels,
        **asked.groups.get(origin.group, {}),
    }
    last_mile_ms = origin.last_mile_ms or asked.last_mile
    return {
        "name": origin.name,
        "share": round(origin.share, _SHARE_DIGITS),
        "latitude": origin.latitude,
        "longitude": origin.longitude,
        **({"lastMile": f"{last_mile_ms:g}ms"} if last_mile_ms else {}),
        "labels": dict(labels),
        "headers": asked.headers,
        "edges": list(asked.links),
        "links": asked.links,
    }


def _pops(spec: dict[str, Any], mix: Mix) -> dict[str, Any]:
    """A number of points of presence, as those edges of the mix that serve its users best."""
    provision = spec.get("provision")
    lab = provision.get("lab") if isinstance(provision, dict) else None
    count = lab.get("pops") if isinstance(lab, dict) else None
    if not isinstance(provision, dict) or not isinstance(lab, dict) or type(count) is not int:
        return {}
    if count < 1 or not mix.edges:
        return {}
    sites = [
        {"name": edge.name, "latitude": edge.latitude, "longitude": edge.longitude}
        for edge in spread(mix, count)
    ]
    return {"provision": {**provision, "lab": {**lab, "pops": sites}}}
