"""Logged traffic as a Locust file: routes by weight, and a shape that follows the arrivals. Pure:
text out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from stormgate.reproduce.series.accesslog import LoggedRoute, LoggedTraffic
from stormgate.reproduce.series.measured import SeriesSample
from stormgate.reproduce.series.steps import AllowedError, fit_steps

# A stream is a hundredth of the highest rate: finer than counting arrivals can tell anyway.
STREAMS = 100
# What can be sent again from a log: it holds no bodies.
_BODILESS = ("GET", "HEAD")

_FILE = '''\
"""{title}

Written by `stormgate mix from-log`. {told}
{gaps}
In a gate: load: {{locustfile: THIS FILE, ratePerS: {peak:.6g}, users: {streams}}}. Alone:

    locust -f THIS_FILE -H http://127.0.0.1:8080 --headless
"""

from __future__ import annotations

from locust import LoadTestShape, task

from stormgate.load import GeoUser, {imports}

{paths}

class Logged(GeoUser):
    """One stream is a hundredth of the highest rate."""

    rate_per_s = {per_stream:.6g}

{tasks}

# (until second, streams) of the arrivals: none off by more than {worst:.3g} requests/s.
ARRIVALS = [
{steps}
]


class AsLogged(LoadTestShape):
    """Follows the log and ends with it."""

    def tick(self) -> tuple[int, float] | None:
        now_s = self.get_run_time()
        streams = next((count for until_s, count in ARRIVALS if now_s < until_s), None)
        return None if streams is None else (streams, 1000.0)
'''


class NothingToSendError(ValueError):
    """No request of a log can be sent again."""


def locust_file(
    traffic: LoggedTraffic, title: str, share: float = 0.1, speed: float = 1.0
) -> tuple[str, list[str]]:
    """The file, and what of the log is not in it. `share`: how far the rate of a stretch may be off
    from the log's (or half a percent of the highest, where that is more); `speed`: so many times as
    fast. Raises NothingToSendError.
    """
    routes = [r for r in traffic.routes if r.method in _BODILESS and r.paths]
    if not routes:
        raise NothingToSendError("none of its requests can be sent again: it holds no bodies")
    gaps = list(_left_out(traffic, routes))
    kept = sum(route.count for route in routes) / traffic.requests
    peak = max(one.value for one in traffic.rate.samples) * kept * speed
    scale = STREAMS / max(one.value for one in traffic.rate.samples)
    samples = tuple(
        SeriesSample(one.at_s / speed, one.value * scale) for one in traffic.rate.samples
    )
    series = replace(traffic.rate, samples=samples, step_s=traffic.rate.step_s / speed)
    fit = fit_steps(series, AllowedError(share, 0.5))
    told = (
        f"{traffic.requests} requests in {traffic.rate.end_s:g} s of {traffic.rate.file}; "
        f"{len(fit.steps)} steps for {fit.samples} stretches of {traffic.bucket_s:g} s."
    )
    steps = "\n".join(f"    ({step.end_s:.6g}, {max(1, step.value)})," for step in fit.steps)
    text = _FILE.format(
        title=_plain(title),
        told=told,
        gaps="".join(f"Not in it: {_plain(gap)}.\n" for gap in gaps),
        peak=peak,
        streams=STREAMS,
        imports=", ".join(sorted({route.method.lower() for route in routes})),
        paths=_paths(routes),
        per_stream=peak / STREAMS,
        tasks="\n".join(_task(number, route) for number, route in enumerate(routes)).rstrip(),
        worst=fit.worst / STREAMS * peak,
        steps=steps,
    )
    return text, gaps


def _left_out(traffic: LoggedTraffic, routes: Sequence[LoggedRoute]) -> list[str]:
    found = []
    for route in traffic.routes:
        if route in routes:
            continue
        share = route.count / traffic.requests
        why = "no body in a log" if route.method not in _BODILESS else "never answered well"
        found.append(f"{route.method} {route.route}, {share:.2%} of all: {why}")
    if traffic.queries:
        found.append(f"the queries of {traffic.queries} requests: they may hold secrets")
    if traffic.unread:
        told = f"{traffic.unread} lines that are no requests, the first at {traffic.unread_at}"
        found.append(told)
    empty = sum(one.value == 0 for one in traffic.rate.samples)
    if empty:
        found.append(f"{empty} stretches without a request have one stream: a load has to go on")
    return found


def _paths(routes: Sequence[LoggedRoute]) -> str:
    lines = []
    for number, route in enumerate(routes):
        listed = "".join(f"    {path!r},\n" for path, _ in route.paths.most_common())
        lines.append(f"ROUTE_{number} = [\n{listed}]")
    return "\n".join(lines) + "\n"


def _task(number: int, route: LoggedRoute) -> str:
    method, name = route.method.lower(), f"{route.method} {route.route}"
    word = re.sub(r"[^a-z0-9]+", "_", route.route.lower()).strip("_") or "root"
    return (
        f"    @task({route.count})\n"
        f"    def {method}_{word}_{number}(self, session):\n"
        f"        yield {method}(session.random.choice(ROUTE_{number}), name={name!r})\n"
    )


def _plain(text: str) -> str:
    """Text that ends no docstring and hides nothing in it."""
    return re.sub(r'[\\"\x00-\x1f]', "?", text)
