"""What an access log says of the traffic: when how many requests came, and for which routes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stormgate.documents.problems import Problems, label
from stormgate.reproduce.series.measured import MeasuredSeries, SeriesSample, series_of
from stormgate.reproduce.series.table import time_s

# Lines that cannot be read are told of; more than this share of them, and it is another format.
MOST_UNREAD = 0.05
_MOST_PATHS = 50
_LINE = re.compile(
    r'\S+ \S+ .+? \[(?P<time>[^\]]+)\] "(?P<method>[A-Z]+) (?P<path>\S+)[^"]*" (?P<status>\d{3})\b'
)
_TIMES = ("time", "@timestamp", "timestamp", "ts", "time_iso8601", "time_local")
_PATHS = ("path", "uri", "request_uri", "url", "request_path")
_METHODS = ("method", "request_method", "verb")
_STATUSES = ("status", "status_code", "response_code")
# What in a path is somebody's, and not the route's: numbers, UUIDs, long hexadecimal words.
_OWN = re.compile(r"\d+|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{12,}")


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request: when (seconds since 1970), and what for."""

    at_s: float
    method: str
    path: str
    status: int


@dataclass(slots=True)
class LoggedRoute:
    """A route: how often it was asked for, and some of its paths that were answered well."""

    method: str
    route: str
    count: int = 0
    failed: int = 0
    paths: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class LoggedTraffic:
    """What a log says. `rate`: requests a second, per `bucket_s`; `unread` of `lines` could not be
    read, the first at `unread_at`; `queries` requests had a query, which is left out.
    """

    rate: MeasuredSeries
    routes: tuple[LoggedRoute, ...]
    bucket_s: float
    requests: int
    lines: int
    unread: int
    unread_at: str
    queries: int


def read_log(path: Path, problems: Problems, bucket_s: float = 10.0) -> LoggedTraffic | None:
    """The traffic in an access log: common or combined log format, or JSON lines. None with what is
    wrong noted.
    """
    found, unread, lines, queries = list[LoggedRequest](), list[int](), 0, 0
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            for number, text in enumerate(stream, start=1):
                if not text.strip():
                    continue
                lines += 1
                one = parse_line(text)
                if one is None:
                    unread.append(number)
                    continue
                queries += "?" in one.path
                found.append(one)
    except OSError as error:
        why = error.strerror or str(error)
        problems.add(label(path), 1, f"cannot be read: {why}", "check the path")
        return None
    if len(unread) > MOST_UNREAD * lines or not found:
        first = unread[0] if unread else 1
        told = f"{len(unread)} of {lines} lines are no requests" if lines else "no requests in it"
        fix = "give a log in common or combined format, or JSON lines with time, method and path"
        problems.add(label(path), first, told, fix)
        return None
    at = f"{label(path)}:{unread[0]}" if unread else ""
    return LoggedTraffic(
        rate=rate_of(found, bucket_s, label(path)),
        routes=tuple(routes_of(found)),
        bucket_s=bucket_s,
        requests=len(found),
        lines=lines,
        unread=len(unread),
        unread_at=at,
        queries=queries,
    )


def parse_line(text: str) -> LoggedRequest | None:
    """The request in a line of a log; None where there is none."""
    text = text.strip()
    if text.startswith("{"):
        return _json_line(text)
    match = _LINE.match(text)
    if match is None:
        return None
    try:
        at_s = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    except ValueError:
        return None
    return LoggedRequest(at_s, match["method"], match["path"], int(match["status"]))


def _json_line(text: str) -> LoggedRequest | None:
    try:
        data = json.loads(text)
        at_s = time_s(str(_first(data, _TIMES)))
        path, method = str(_first(data, _PATHS)), str(_first(data, _METHODS)).upper()
        status = int(_first(data, _STATUSES))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if at_s is None or not re.fullmatch(r"[A-Z]+", method):
        return None
    return LoggedRequest(at_s, method, path, status)


def _first(data: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return data[next((name for name in names if name in data), names[0])]


def rate_of(found: list[LoggedRequest], bucket_s: float, file: str) -> MeasuredSeries:
    """Requests a second in each stretch of `bucket_s`, from the first request on; a stretch in
    which none came is a rate of nothing.
    """
    begin = min(one.at_s for one in found)
    counts = Counter(int((one.at_s - begin) // bucket_s) for one in found)
    samples = [
        SeriesSample(bucket * bucket_s, counts.get(bucket, 0) / bucket_s)
        for bucket in range(max(counts) + 1)
    ]
    whole = series_of(samples, file=file, column="requests")
    return MeasuredSeries(whole.samples, whole.silences, bucket_s, file, "requests")


def routes_of(found: list[LoggedRequest]) -> Iterator[LoggedRoute]:
    """The routes, the one that is asked for most first."""
    routes: dict[tuple[str, str], LoggedRoute] = {}
    for one in found:
        path = _path_of(one.path)
        key = one.method, route_of(path)
        route = routes.setdefault(key, LoggedRoute(*key))
        route.count += 1
        route.failed += one.status >= 400
        if one.status < 400 and (path in route.paths or len(route.paths) < _MOST_PATHS):
            route.paths[path] += 1
    yield from sorted(routes.values(), key=lambda route: (-route.count, route.route, route.method))


def _path_of(target: str) -> str:
    """The path that was asked for: without a query (it may hold secrets), host or fragment."""
    return urlsplit(target).path or "/" if "//" in target else re.split(r"[?#]", target)[0] or "/"


def route_of(path: str) -> str:
    """A path with what is somebody's own left open: /users/17/threads to /users/{}/threads."""
    return "/".join("{}" if _OWN.fullmatch(part) else part for part in path.split("/"))
