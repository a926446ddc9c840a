"""A series from Prometheus: the answer of a range query, from a file or from its API."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from stormgate.documents.problems import Problems, label
from stormgate.documents.values import show
from stormgate.net.allow import AllowList
from stormgate.net.fetch import exchange
from stormgate.reproduce.series.measured import (
    MeasuredSeries,
    SeriesSample,
    Silence,
    series_of,
)
from stormgate.reproduce.series.table import check_sample, read_text

_ASK_S = 10.0
_LIMIT = 32 << 20
_MOST_TOLD = 20


def read_prometheus(
    path: Path, problems: Problems, *, labels: Mapping[str, str] | None = None
) -> MeasuredSeries | None:
    """The series in a saved answer of `/api/v1/query_range`; `labels` choose among several. What is
    wrong is noted in `problems`, and then there is none.
    """
    text = read_text(path, problems)
    return None if text is None else parse(text, label(path), problems, labels or {})


def ask_prometheus(
    url: str,
    query: str,
    begin_s: float,
    end_s: float,
    step_s: float,
    allow: AllowList,
) -> str:
    """The answer of the API at `url` for the time from `begin_s` to `end_s` (seconds since 1970),
    a value every `step_s`. Raises ValueError (also for a host that is not in `allow`) and OSError.
    """
    asked = {
        "query": query,
        "start": f"{begin_s:.3f}",
        "end": f"{end_s:.3f}",
        "step": f"{step_s:g}",
    }
    where = f"{url.rstrip('/')}/api/v1/query_range?{urlencode(asked)}"
    answer = exchange("GET", where, allow, _ASK_S, limit=_LIMIT)
    text = answer.body.decode("utf-8", "replace")
    if answer.status != 200:
        raise ValueError(f"answered {answer.status}: {_error_of(text)}")
    return text


def parse(
    text: str, name: str, problems: Problems, labels: Mapping[str, str]
) -> MeasuredSeries | None:
    """The series in an answer; messages call it `name`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        fix = "save the answer of /api/v1/query_range as it is"
        problems.add(name, line, f"not JSON: {getattr(error, 'msg', error)}", fix)
        return None
    found = _matrix(data, name, problems)
    if found is None:
        return None
    chosen = [one for one in found if labels.items() <= one["metric"].items()]
    if len(chosen) != 1:
        told = "; ".join(_labels(one["metric"]) for one in (chosen or found)[:5])
        what = "no series has these labels" if not chosen else f"{len(chosen)} series in it"
        fix = f"say which by labels; there are {told}" if found else "ask for a time with data"
        problems.add(name, 1, what if found else "no series in it", fix)
        return None
    return _series(chosen[0], name, problems)


def _matrix(data: Any, name: str, problems: Problems) -> list[dict[str, Any]] | None:
    fix = "save the answer of /api/v1/query_range as it is"
    if not isinstance(data, dict) or "status" not in data:
        problems.add(name, 1, "not an answer of Prometheus", fix)
        return None
    if data["status"] != "success":
        told = f"{data.get('errorType', 'error')}: {data.get('error', 'no word why')}"
        problems.add(name, 1, f"the query failed: {told}", "correct the query and ask again")
        return None
    body = data.get("data")
    kind = body.get("resultType") if isinstance(body, dict) else None
    if kind != "matrix":
        problems.add(name, 1, f"resultType {show(kind)}, no series over time", fix)
        return None
    result = body.get("result") if isinstance(body, dict) else None
    whole = isinstance(result, list) and all(
        isinstance(one, dict)
        and isinstance(one.get("metric"), dict)
        and isinstance(one.get("values"), list)
        for one in result
    )
    if not whole:
        problems.add(name, 1, "a result without metric and values", fix)
        return None
    return list(result or [])


def _series(one: dict[str, Any], name: str, problems: Problems) -> MeasuredSeries | None:
    samples: list[SeriesSample] = []
    unknown: list[Silence] = []
    wrong, last_s = 0, None
    for pair in one["values"]:
        found = _pair(pair)
        if found is None:
            misfit = (f"{show(pair)} is no sample", 'samples are [seconds, "value"]')
        else:
            at_s, value = found
            if not math.isfinite(value):
                unknown.append(Silence(at_s, at_s, 1))
                continue
            misfit = check_sample(value, at_s, last_s) or ("", "")
            samples.append(SeriesSample(at_s, value, 1))
            last_s = at_s
        if misfit[0]:
            wrong += 1
            if wrong <= _MOST_TOLD:
                problems.add(name, 1, *misfit)
    if not wrong and not samples:
        problems.add(name, 1, "no value in it", "ask for a time with data")
    if wrong or not samples:
        return None
    column = _labels(one["metric"])
    return series_of(samples, unknown=unknown, file=name, column=column)


def _pair(pair: Any) -> tuple[float, float] | None:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        return None
    try:
        at_s, value = float(pair[0]), float(pair[1])
    except (TypeError, ValueError):
        return None
    return (at_s, value) if math.isfinite(at_s) else None


def _labels(metric: Mapping[str, Any]) -> str:
    own = ", ".join(f"{k}={v}" for k, v in sorted(metric.items()) if k != "__name__")
    return f"{metric.get('__name__', '')}{{{own}}}"


def _error_of(text: str) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text.strip().splitlines()[0][:200] if text.strip() else "nothing said"
