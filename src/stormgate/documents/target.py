"""Target documents: the system on trial, its regions, users and components, and what may be
contacted.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from stormgate import model
from stormgate.documents.links.read import check_links, rerouted
from stormgate.documents.links.read import components as link_components
from stormgate.documents.problems import Problems, nearest
from stormgate.documents.shapes import fit
from stormgate.documents.stores.check import check_stores
from stormgate.documents.target_shape import (
    PROVISIONERS,
    SECRET_HEADER,
    SHARE_TOLERANCE,
    ComponentShape,
    TargetDocument,
    TargetSpec,
)
from stormgate.documents.traffic.populations import written_out
from stormgate.documents.traffic.trips import check_trips, trips
from stormgate.documents.yamlfile import Document, Loc, read_documents
from stormgate.faults import backends
from stormgate.faults.errors import CannotBreak
from stormgate.net.allow import AllowList
from stormgate.net.references import REFERENCE


def load(path: Path) -> model.Target:
    """The target a file describes. Raises DocumentErrors."""
    problems = Problems()
    target = read_target(path, problems)
    problems.raise_any()
    if target is None:  # unreachable: no target without a problem
        raise AssertionError(path)
    return target


def read_target(path: Path, problems: Problems) -> model.Target | None:
    """The target a file describes, as far as it can be understood; whatever is wrong with it is
    noted in `problems`.
    """
    documents = read_documents(path, problems)
    if not documents:
        return None
    if len(documents) > 1:
        problems.add(
            documents[1].file,
            documents[1].line(),
            "a second document in a target file",
            "one target, one file",
        )
    document = written_out(documents[0], problems)
    shape = fit(TargetDocument, document, problems)
    if shape is None:
        return _outline(document.data)
    _check(shape.spec, document, problems)
    return _to_model(shape)


def _link_names(links: Any) -> list[dict[str, Any]]:
    """The links of a misshapen target as components that have a name."""
    listed = links if isinstance(links, list) else []
    return [
        {"name": f"link:{one['from']}->{one['to']}", "kind": "link"}
        for one in listed
        if isinstance(one, dict) and {"from", "to"} <= one.keys()
    ]


def _outline(data: Any) -> model.Target | None:
    """The names in a misshapen target: enough to check what refers to them in the same run."""
    spec = data.get("spec") if isinstance(data, dict) else None
    if not isinstance(spec, dict):
        return None

    def named(key: str) -> list[dict[str, Any]]:
        listed = spec.get(key)
        return (
            [o for o in listed if isinstance(o, dict) and isinstance(o.get("name"), str)]
            if isinstance(listed, list)
            else []
        )

    provision, observe = spec.get("provision"), spec.get("observe")
    return model.Target(
        name="",
        provision=provision if isinstance(provision, dict) else None,
        regions=tuple(
            model.Region(name=o["name"], latitude=0, longitude=0) for o in named("regions")
        ),
        populations=tuple(
            model.Population(
                name=o["name"],
                share=0,
                latitude=0,
                longitude=0,
                labels=o["labels"] if isinstance(o.get("labels"), dict) else {},
            )
            for o in named("populations")
        ),
        components=tuple(
            model.Component(
                name=o["name"],
                kind=str(o.get("kind")),
                backend="",
                region=o.get("region"),
                attributes=o["attributes"] if isinstance(o.get("attributes"), dict) else {},
            )
            for o in [*named("components"), *_link_names(spec.get("links"))]
        ),
        observe=observe if isinstance(observe, dict) else {},
    )


def _to_model(shape: TargetDocument) -> model.Target:
    spec = shape.spec
    return model.Target(
        name=shape.metadata.name,
        environment=spec.environment,
        allow=tuple(spec.allow),
        provision=None
        if spec.provision is None
        else {name: options or {} for name, options in spec.provision.items()},
        regions=tuple(model.Region(**region.model_dump()) for region in spec.regions),
        populations=tuple(rerouted(one, spec.links) for one in _populations(spec)),
        components=(
            *(_component(component) for component in spec.components),
            *link_components(spec.links, spec.toxiproxy),
        ),
        steering=model.Steering(
            mode=spec.steering.mode,
            url=spec.steering.url,
            interval_ms=max(1, round(spec.steering.interval)),
        ),
        observe=spec.observe,
        status_url=spec.status_url,
        attributes=spec.attributes,
        stores=tuple(store.to_model() for store in spec.stores),
        canaries=spec.canaries,
        final_read=spec.final_read.to_model(),
        round_trips=trips(spec.rtt),
    )


def _populations(spec: TargetSpec) -> list[model.Population]:
    found = []
    for population in spec.populations:
        said = population.model_dump(exclude={"last_mile"})
        last_mile_ms = population.last_mile or 0.0
        found.append(
            model.Population(
                **{**said, "edges": tuple(population.edges), "last_mile_ms": last_mile_ms}
            )
        )
    return found


def _component(shape: ComponentShape) -> model.Component:
    return model.Component(
        name=shape.name,
        kind=shape.kind,
        backend=shape.backend,
        region=shape.region,
        handle=shape.handle,
        parts=tuple(shape.parts),
        observe=model.Observe(**shape.observe.model_dump()) if shape.observe else None,
        attributes=shape.attributes,
        traffic=shape.traffic,
    )


def _check(spec: TargetSpec, document: Document, problems: Problems) -> None:
    def note(message: str, fix: str, *loc: str | int) -> None:
        problems.add(document.file, document.line("spec", *loc), message, fix)

    for key, names in (
        ("regions", [r.name for r in spec.regions]),
        ("populations", [p.name for p in spec.populations]),
        ("components", [c.name for c in spec.components]),
        ("stores", [s.name for s in spec.stores]),
    ):
        for index, name in enumerate(names):
            if name in names[:index]:
                note(
                    f"{name!r} is listed twice in {key}",
                    "give each its own name",
                    key,
                    index,
                    "name",
                )
    total = math.fsum(p.share for p in spec.populations)
    if abs(total - 1) > SHARE_TOLERANCE:
        note(
            f"the shares of the populations sum to {total:.6g}",
            "make them sum to 1 (100%)",
            "populations",
        )
    for index, population in enumerate(spec.populations):
        if population.share == 0:
            note(
                f"population {population.name!r} has no share",
                "give it a share above 0, or leave it out",
                "populations",
                index,
            )
    for name in spec.provision or {}:
        if name not in PROVISIONERS:
            note(f"nothing can provision {name!r}", nearest(name, PROVISIONERS), "provision", name)
    if spec.provision is not None and len(spec.provision) != 1:
        note(
            "provision names not exactly one thing to start",
            f"name one of: {', '.join(PROVISIONERS)}",
            "provision",
        )
    _check_components(spec, document, problems)
    check_links(spec.links, _populations(spec), [c.name for c in spec.components], spec.allow, note)
    host = urlsplit(spec.toxiproxy or "").hostname
    if spec.links and host and not AllowList(spec.allow).permits_host(host):
        note(f"host {host!r} is not in allow", f"allow now: {', '.join(spec.allow)}", "toxiproxy")
    check_trips(spec, note)
    check_stores(spec.stores, [r.name for r in spec.regions], spec.allow, note)
    _check_reach(spec, document, problems)
    if spec.provision is None and spec.steering.mode == "table" and not spec.steering.url:
        note("steering by table without a url", "add the url the table is read from", "steering")


def _check_components(spec: TargetSpec, document: Document, problems: Problems) -> None:
    names = {c.name for c in spec.components} | {link.name for link in spec.links}
    regions = [r.name for r in spec.regions]
    for index, component in enumerate(spec.components):
        loc: Loc = ("spec", "components", index)
        if component.region is not None and component.region not in regions:
            problems.add(
                document.file,
                document.line(*loc, "region"),
                f"component {component.name!r} stands in unknown region {component.region!r}",
                nearest(component.region, regions, what="regions"),
            )
        for at, part in enumerate(component.parts):
            if part not in names:
                problems.add(
                    document.file,
                    document.line(*loc, "parts", at),
                    f"component {component.name!r} has unknown part {part!r}",
                    nearest(part, names, what="components"),
                )


def _check_reach(spec: TargetSpec, document: Document, problems: Problems) -> None:
    """Every address must be allowed, and carry no secret: addresses and headers are copied into the
    evidence.
    """
    _check_allow(spec.allow, document, problems)
    allow = AllowList(spec.allow)
    for loc, url in _urls(spec):
        line = document.line("spec", *loc)
        if REFERENCE.search(url):
            continue
        parts = _address(url)
        if parts is None or re.search(r"[\s\x00-\x1f\x7f]", url):
            problems.add(document.file, line, f"{url!r} is not an address", "ports are 1 to 65535")
        elif parts.scheme not in {"http", "https"} or not parts.hostname:
            problems.add(
                document.file,
                line,
                f"{url!r} is not a URL",
                "write http://host:port or https://host",
            )
        elif parts.username or parts.password:
            problems.add(
                document.file, line, "a URL carries credentials", "put them into a header as ${ENV}"
            )
        elif not allow.permits_host(parts.hostname):
            problems.add(
                document.file,
                line,
                f"host {parts.hostname!r} is not in allow",
                f"allow now: {', '.join(spec.allow)}",
            )
    _check_observed(spec, allow, document, problems)
    _check_users(spec, document, problems)


def _check_users(spec: TargetSpec, document: Document, problems: Problems) -> None:
    """That every population reaches its edges, and that its headers hold no secret."""
    for index, population in enumerate(spec.populations):
        at: Loc = ("spec", "populations", index)
        if spec.provision is None:
            for edge in population.edges:
                if edge not in population.links:
                    problems.add(
                        document.file,
                        document.line(*at, "edges"),
                        f"population {population.name!r} has no link to edge {edge!r}",
                        f"add links: {{{edge}: http://…}}",
                    )
            if not population.edges:
                problems.add(
                    document.file,
                    document.line(*at),
                    f"population {population.name!r} reaches no edge",
                    "add edges and links",
                )
        for header, value in population.headers.items():
            if SECRET_HEADER.search(header) and not REFERENCE.search(value):
                problems.add(
                    document.file,
                    document.line(*at, "headers", header),
                    f"header {header!r} holds a secret that would enter the evidence",
                    "write it as ${ENV} and set that variable",
                )


def _address(url: str) -> SplitResult | None:
    """A URL in its parts; None where it has none, or a port that cannot be."""
    try:
        parts = urlsplit(url)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


def _check_observed(
    spec: TargetSpec, allow: AllowList, document: Document, problems: Problems
) -> None:
    """What a component is looked at, and what its backend contacts, must be allowed like everything
    else.
    """
    for index, component in enumerate(spec.components):
        try:
            contacted = backends.get(component.backend).hosts(component.handle)
        except CannotBreak as error:
            line = document.line("spec", "components", index, "handle")
            problems.add(document.file, line, str(error), "correct its handle")
            continue
        for host in contacted:
            if not allow.permits_host(host):
                problems.add(
                    document.file,
                    document.line("spec", "components", index, "handle"),
                    f"host {host!r} is not in allow",
                    f"allow now: {', '.join(spec.allow)}",
                )
        address = component.observe.address if component.observe else ""
        host = address.rpartition(":")[0]
        if host and not REFERENCE.search(address) and not allow.permits_host(host):
            problems.add(
                document.file,
                document.line("spec", "components", index, "observe", "address"),
                f"component {component.name!r} is observed at {host!r}, which is not in allow",
                f"allow now: {', '.join(spec.allow)}",
            )


def _check_allow(allow: Iterable[str], document: Document, problems: Problems) -> None:
    for index, entry in enumerate(allow):
        try:
            ipaddress.ip_network(entry)
        except ValueError:
            if (
                "/" in entry
                or not re.fullmatch(r"[A-Za-z0-9_.-]+", entry)
                or re.fullmatch(r"[0-9.]+", entry)
            ):
                problems.add(
                    document.file,
                    document.line("spec", "allow", index),
                    f"{entry!r} is neither a network nor a host name",
                    "write a network such as 10.1.0.0/16, or one host name",
                )


def _urls(spec: TargetSpec) -> Iterable[tuple[Loc, str]]:
    if spec.status_url:
        yield ("statusUrl",), spec.status_url
    if spec.steering.url:
        yield ("steering", "url"), spec.steering.url
    for index, population in enumerate(spec.populations):
        for edge, url in population.links.items():
            yield ("populations", index, "links", edge), url
