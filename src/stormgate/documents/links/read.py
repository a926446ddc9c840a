"""Links of a target as its components, and what is wrong with them.

Each becomes a component of kind `link` for backend `toxiproxy`, and the populations that go it dial
the proxy. What a proxy is made of stands in its attributes (`upstream`, `listen`, `env`), where
`stormgate wire` finds it in any resolved target.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from stormgate import model
from stormgate.documents.links.shape import LinkShape
from stormgate.documents.problems import nearest
from stormgate.documents.yamlfile import Loc
from stormgate.net.allow import AllowList

DEFAULT_URL = "http://127.0.0.1:8474"
# Where proxies listen that say nothing of it: one after the other, so that an address stays the
# same from run to run.
FIRST_PORT = 21001

Note = Callable[..., None]


def listens(links: Sequence[LinkShape]) -> list[str]:
    """Where each link's proxy listens, "" where that is its own affair."""
    return [
        link.listen or (f"127.0.0.1:{FIRST_PORT + at}" if link.upstream else "")
        for at, link in enumerate(links)
    ]


def components(links: Sequence[LinkShape], url: str | None) -> list[model.Component]:
    """The links as components."""
    found = []
    names = variables(links)
    for link, listen, env in zip(links, listens(links), names, strict=True):
        attributes = {"source": link.from_, "destination": link.to}
        if link.upstream:
            attributes |= {"upstream": link.upstream, "listen": listen, "env": env}
        found.append(
            model.Component(
                name=link.name,
                kind="link",
                backend="toxiproxy",
                handle={"url": url or DEFAULT_URL, "proxy": link.proxy or _slug(link)},
                observe=model.Observe(protocol="tcp", address=listen) if listen else None,
                attributes=attributes,
                traffic=link.traffic,
            )
        )
    return found


def variables(links: Sequence[LinkShape]) -> list[str]:
    """The environment variable of each link: named after what it leads to, and after both ends
    where several lead there.
    """
    ways = Counter(link.to for link in links)
    return [
        link.env or _upper(link.to if ways[link.to] == 1 else f"{link.from_}_to_{link.to}")
        for link in links
    ]


def rerouted(population: model.Population, links: Sequence[LinkShape]) -> model.Population:
    """The population with its edges dialled through the proxies that stand before them."""
    found = dict(population.links)
    for link, listen in zip(links, listens(links), strict=True):
        url = found.get(link.to)
        if link.from_ == population.name and url is not None and listen:
            parts = urlsplit(url)
            if parts.netloc == link.upstream:
                found[link.to] = parts._replace(netloc=listen).geturl()
    return replace(population, links=found)


def check_links(
    links: Sequence[LinkShape],
    populations: Sequence[model.Population],
    names: Sequence[str],
    allow: Sequence[str],
    note: Note,
) -> None:
    """Note what is wrong. `names`: of the components; `note(message, fix, *place in the spec)`."""
    permits = AllowList(allow).permits_host
    people = {one.name: one for one in populations}
    for at, link in enumerate(links):
        loc: Loc = ("links", at)
        if link.from_ not in (*names, *people):
            fix = nearest(link.from_, [*names, *people], what="components and populations")
            note(f"a link from unknown {link.from_!r}", fix, *loc, "from")
        edges = list(people[link.from_].links) if link.from_ in people else []
        if link.to not in names and link.to not in edges:
            fix = nearest(link.to, [*names, *edges], what="components")
            note(f"a link to unknown {link.to!r}", fix, *loc, "to")
        if link.upstream is None and link.proxy is None:
            fix = "add upstream: host:port, or proxy: its name in a Toxiproxy of your own"
            note(f"{link.name} leads nowhere", fix, *loc)
        if link.upstream is None and (link.listen or link.env):
            fix = "add upstream, or leave listen and env to the proxy of your own"
            note(f"{link.name} listens for nothing", fix, *loc)
        for key, address in (("upstream", link.upstream), ("listen", link.listen)):
            host = address.rpartition(":")[0] if address else ""
            if host and not permits(host.strip("[]")):
                fix = f"allow now: {', '.join(allow)}"
                note(f"host {host!r} is not in allow", fix, *loc, key)
        if link.from_ in people and link.upstream:
            _check_users(people[link.from_], link, listens(links)[at], loc, note)
    _check_twice(links, note)


def _check_users(
    population: model.Population, link: LinkShape, listen: str, loc: Loc, note: Note
) -> None:
    """That the users of a population really go by the link."""
    url = population.links.get(link.to)
    if url is None:
        fix = f"add it to the population: links: {{{link.to}: http://{link.upstream}}}"
        note(f"population {population.name!r} has no link to {link.to!r}", fix, *loc, "to")
    elif urlsplit(url).netloc not in (link.upstream, listen):
        note(
            f"users of {population.name!r} go to {url}, not through {link.name}",
            f"write upstream: {urlsplit(url).netloc}, or send them to {listen}",
            *loc,
            "upstream",
        )


def _check_twice(links: Sequence[LinkShape], note: Note) -> None:
    kinds = (
        ("link", [link.name for link in links], "from"),
        ("address", listens(links), "listen"),
        ("proxy", [link.proxy or _slug(link) for link in links], "proxy"),
        (
            "variable",
            [v if u.upstream else "" for v, u in zip(variables(links), links, strict=True)],
            "env",
        ),
    )
    for what, values, key in kinds:
        for at, value in enumerate(values):
            if value and value in values[:at]:
                note(f"two links have the {what} {value!r}", f"give one its own {key}", "links", at)
                return


def _slug(link: LinkShape) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{link.from_}-to-{link.to}").strip("-")


def _upper(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").upper()
    return f"_{name}" if name[:1].isdigit() else name
