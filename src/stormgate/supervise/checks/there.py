"""The target itself, looked at from here: every address that users dial, every component, and what
the target says of itself. One look each, and nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from stormgate.documents.trial.asked import asked_modes
from stormgate.faults import backends
from stormgate.faults.declared import CheckRow
from stormgate.model import Component, Plan, Target
from stormgate.net.allow import AllowList, NotAllowedError
from stormgate.net.certificate import days_left
from stormgate.net.fetch import exchange, fetch
from stormgate.net.look import State, look
from stormgate.net.references import resolved
from stormgate.net.status import read_status

_ASK_S = 5.0
_LOOK_S = 3.0
_AT_ONCE = 8


def rows(plan: Plan, root: Path) -> list[CheckRow]:
    """Edges, then components, then the target's own word, in the order of the document."""
    target = plan.target
    asked = asked_modes(plan, root)
    # Commands and files of a target are relative to the suite, where the gate's children run.
    with contextlib.chdir(root), ThreadPoolExecutor(_AT_ONCE) as pool:
        edges = pool.map(lambda link: edge_row(link[0], link[1], target), _links(target))
        parts = pool.map(
            lambda part: component_rows(part, asked.get(part.name, ()), target), target.components
        )
        return [*edges, *(row for found in parts for row in found), *_own_word(target)]


def _links(target: Target) -> list[tuple[str, str]]:
    """(who dials which edge, base URL) of every address that users dial, each once."""
    found: dict[str, list[str]] = {}
    for population in target.populations:
        for edge, url in population.links.items():
            found.setdefault(url, []).append(f"{population.name} -> {edge}")
    more = {url: f" and {len(who) - 1} more" if len(who) > 1 else "" for url, who in found.items()}
    return [(f"edge {who[0]}{more[url]}", url) for url, who in found.items()]


def edge_row(what: str, url: str, target: Target) -> CheckRow:
    """Whether the edge behind a base URL answers at all, how fast, and how long its certificate is
    good. What it answers there is not looked at, but for the server's own errors.
    """
    begun = time.monotonic()
    allow = AllowList(target.allow)
    try:
        there = resolved(url, os.environ)
        headers = {
            name: resolved(value, os.environ) for name, value in _headers(target, url).items()
        }
        answer = exchange("GET", there, allow, _ASK_S, headers=headers, head_only=True)
        took_ms = (time.monotonic() - begun) * 1000
        told = f"{url} HTTP {answer.status} after {took_ms:.0f} ms"
        if urlsplit(there).scheme == "https":
            told += f", certificate good for {days_left(there, allow, _ASK_S):.0f} days"
    except KeyError as error:
        return CheckRow(what, False, f"{url}: ${{{error.args[0]}}} is not set", "export it")
    except ConnectionRefusedError:
        fix = "start what should listen there, or correct the port in the population's links"
        return CheckRow(what, False, f"{url} refused: nobody listens there", fix)
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message or str(error)
        fix = "renew it, correct the host name, or add its signer with SSL_CERT_FILE"
        return CheckRow(what, False, f"{url} certificate: {why}", fix)
    except ssl.SSLError as error:
        why = error.reason or str(error)
        return CheckRow(
            what, False, f"{url} no TLS: {why}", "write http:// if it speaks plain HTTP"
        )
    except NotAllowedError as error:
        return CheckRow(what, False, str(error), "add it to the target's allow")
    except (OSError, ValueError) as error:
        return CheckRow(what, False, f"{url}: {error}", "correct the population's links")
    fix = "mend the edge first: it answers with an error of its own"
    return CheckRow(what, answer.status < 500, told, fix)


def _headers(target: Target, url: str) -> dict[str, str]:
    """What the first population that dials the address sends with every request."""
    for population in target.populations:
        if url in population.links.values():
            return dict(population.headers)
    return {}


def component_rows(part: Component, modes: Collection[str], target: Target) -> list[CheckRow]:
    """Whether a component is healthy, and what its backend has to say of it."""
    found = []
    try:
        of_backend = backends.get(part.backend).check(part, modes, target)
        # What looks through a link has said more than its bare port could.
        if part.observe is not None and not (part.kind == "link" and of_backend):
            found.append(_observed(part, target))
        found += of_backend
    except Exception as error:  # whatever a backend of somebody's own raises is its answer
        fix = f"see docs/faults.md: backend {part.backend}"
        found.append(CheckRow("backend", False, f"{type(error).__name__}: {error}", fix))
    return [
        CheckRow(f"{part.name}: {row.what}", row.ok, row.saw, "" if row.ok else row.fix)
        for row in found
    ]


def _observed(part: Component, target: Target) -> CheckRow:
    observe = part.observe
    assert observe is not None  # noqa: S101 - asked by the caller
    now = look(observe, _LOOK_S, allow=AllowList(target.allow))
    path = observe.path if observe.protocol == "http" else ""
    saw = f"{observe.protocol} {observe.address}{path} {now}"
    missing = now.state is State.ANSWERS and now.detail == "HTTP 404"
    fix = "start it, or correct its observe: it has to answer before it can be seen broken"
    if missing:
        fix = f"correct observe.path of {part.name}: {observe.path} is not what says healthy"
    return CheckRow("healthy", now.healthy and not missing, saw, fix)


def _own_word(target: Target) -> Iterator[CheckRow]:
    if target.status_url is not None:
        status = read_status(target)
        saw = f"{target.status_url}: {'whole' if status.whole else status.why or 'not whole'}"
        fix = "mend it first" if status.reached else "correct statusUrl, or start what answers it"
        yield CheckRow("status", status.whole, saw, fix)
    steering = target.steering
    if steering.mode == "table" and steering.url is not None:
        try:
            fetch(resolved(steering.url, os.environ), AllowList(target.allow), _ASK_S)
        except (OSError, ValueError, KeyError) as error:
            fix = "correct steering.url, or start what answers it"
            yield CheckRow("steering", False, f"{steering.url}: {error}", fix)
        else:
            yield CheckRow("steering", True, f"{steering.url} answers")
