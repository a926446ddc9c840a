"""A small complete suite for another product, from what its owner says there is. Pure: texts in,
texts out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from urllib.parse import urlsplit

from stormgate.documents.starter.parts import component

KINDS = ("http", "process", "compose", "kubernetes")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
# Where a region may stand when nobody says: by the first letters of its name, else in this order.
_PLACES = {
    "eu": (52.37, 4.90),
    "us": (39.04, -77.49),
    "ap": (1.35, 103.82),
    "sa": (-23.55, -46.63),
    "au": (-33.87, 151.21),
    "af": (-33.92, 18.42),
}
_SHOWN = 3_900  # requests that show three nines at 95 %, and some to spare
_FINAL_S = 15
_HEADERS_COMMENT = """\
      # A secret is written as a reference, and read from the environment when it is sent:
      # headers: {Authorization: "Bearer ${API_TOKEN}"}"""


@dataclass(frozen=True, slots=True)
class Starter:
    """What there is: the product's `name`, base URL by region, how its parts run, and how many
    requests a second a gate makes.
    """

    name: str
    urls: Mapping[str, str]
    kind: str
    rate_per_s: float


def texts(starter: Starter) -> dict[str, str]:
    """The suite's files by path."""
    surge = starter.kind == "http"
    fault = "surge" if surge else "web-loss"
    first = part_of(starter, next(iter(starter.urls)))
    experiment = _template("surge.yaml" if surge else "experiment.yaml")
    made = {
        "slas/release.yaml": _gate(starter, surge),
        f"targets/{starter.name}.yaml": _target(starter),
        f"experiments/{fault}.yaml": experiment.replace(
            "component: web\n", f"component: {first}\n"
        ),
        "loadtests/users.py": _template("locustfile.txt").replace(
            "http://127.0.0.1:8080", next(iter(starter.urls.values()))
        ),
        "README.md": _template("readme.md"),
        ".gitignore": _template("ignore.txt"),
        ".github/workflows/release-gate.yml": _template("pipeline.yaml"),
    }
    return {path: text.replace("PRODUCT", starter.name) for path, text in made.items()}


def regions_of(given: Sequence[str]) -> dict[str, str]:
    """Base URL by region of what was said: `http://host`, or `region=http://host`. Raises
    ValueError saying what is wrong with which.
    """
    found: dict[str, str] = {}
    for number, one in enumerate(given, 1):
        name, equals, url = one.partition("=")
        if not equals or "://" in name:
            name, url = ("home" if len(given) == 1 else f"region-{number}"), one
        try:
            parts = urlsplit(url)
            whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is none
            whole = False
        if not whole:
            raise ValueError(f"{url!r} is not a base URL; write http://host:port")
        if parts.username or parts.password:
            raise ValueError(
                f"{name}: credentials in a URL would enter the evidence; write them as a header "
                "${NAME} of the population"
            )
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a region's name; lower-case letters, digits, dashes")
        if name in found:
            raise ValueError(f"region {name!r} is given twice")
        found[name] = url.rstrip("/")
    return found


def part_of(starter: Starter, region: str) -> str:
    """The name of what can be broken in a region."""
    return "web" if len(starter.urls) == 1 else f"{region}/web"


def _gate(starter: Starter, surge: bool) -> str:
    steady_s = max(30, math.ceil(_SHOWN / starter.rate_per_s) - _FINAL_S)
    load = "load: {locustfile: ../loadtests/users.py, ratePerS: 100, users: 10}"
    text = _template("gate.yaml").replace(
        load,
        f"load: {{locustfile: ../loadtests/users.py, ratePerS: {starter.rate_per_s:g}}} "
        "# the one knob; the classes in there have weights",
    )
    text = text.replace("steady: 45s", f"steady: {steady_s}s")
    if surge:
        text = text.replace("web-loss", "surge").replace(
            "      phases: [steady, final]\n    - name: failover\n      kind: failover\n"
            "      lte: 5s\n      within: 2s\n      by: [population, op]\n",
            "      phases: [steady, fault, recovery, final]\n",
        )
    return text


def _target(starter: Starter) -> str:
    text = _template("target.yaml")
    head, _, rest = text.partition("  regions:\n")
    _, _, comment = rest.partition("  # Who asks")
    comment = "  # Who asks" + comment.partition("\n")[0] + "\n"
    hosts = [f"{urlsplit(url).hostname}" for url in starter.urls.values()]
    outside = [host for host in dict.fromkeys(hosts) if not _is_loopback(host)]
    if outside:
        allowed = ", ".join(f'"{host}"' if ":" in host else host for host in outside)
        head = head.replace("[127.0.0.0/8]", f"[127.0.0.0/8, {allowed}]")
    places = {name: _place(number, name) for number, name in enumerate(starter.urls)}
    lines = [head + "  regions: # where they stand is for distances and maps; put yours in"]
    lines += [
        f"    - {{name: {name}, latitude: {places[name][0]:.2f}, longitude: {places[name][1]:.2f}}}"
        for name in starter.urls
    ]
    lines += ["", comment + "  populations:"]
    for name, share in zip(starter.urls, _shares(len(starter.urls)), strict=True):
        lines += _population(starter, name, share, places[name])
    lines += [_HEADERS_COMMENT, ""]
    if starter.kind == "http":
        lines.append(_template("no-components.yaml"))
    else:
        lines += [
            "  # What can break, how it is broken and brought back, and how it is looked at from "
            "outside.",
            "  components:",
        ]
        lines += [
            component(starter.kind, part_of(starter, name), name, url)
            for name, url in starter.urls.items()
        ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _population(starter: Starter, region: str, share: int, place: tuple[float, float]) -> list[str]:
    alone = len(starter.urls) == 1
    edges = [region, *(other for other in starter.urls if other != region)]
    links = ", ".join(f'{edge}: "{starter.urls[edge]}"' for edge in edges)
    return [
        f"    - name: {'everyone' if alone else f'{region}-users'}",
        f"      share: {share}%",
        f"      latitude: {place[0]:.2f}",
        f"      longitude: {place[1]:.2f}",
        f"      edges: [{', '.join(edges)}]" + ("" if alone else " # nearest first"),
        f"      links: {{{links}}}",
    ]


def _shares(count: int) -> list[int]:
    each = 100 // count
    return [each + (number < 100 - each * count) for number in range(count)]


def _place(number: int, name: str) -> tuple[float, float]:
    return _PLACES.get(name[:2]) or list(_PLACES.values())[number % len(_PLACES)]


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.")


def _template(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
