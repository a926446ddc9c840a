"""What a Chaos Toolkit journal says was broken when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stormgate.documents.problems import Problems, label
from stormgate.faults.asked import ACTIONS, MODULE, OWN
from stormgate.reproduce.schedule import (
    COMPONENT_MODES,
    LINK_MODES,
    FidelityGap,
    Segment,
)
from stormgate.reproduce.series.table import read_text

_QUIET = {"hold", "undo", "until", "wait_until_whole"}


@dataclass(frozen=True, slots=True)
class JournalPart:
    """What of a journal can be played, and what cannot."""

    segments: tuple[Segment, ...]
    gaps: tuple[FidelityGap, ...]


@dataclass(slots=True)
class _Standing:
    start_s: float
    where: str
    mode: str
    params: dict[str, Any]
    name: str


def journal_segments(
    path: Path, start_s: float, name: str, problems: Problems
) -> JournalPart | None:
    """The segments of a journal, its first activity at `start_s`. An action of ours stands until
    an `undo` of it or of all, or until the method ended; actions of others are gaps. None with what
    is wrong noted.
    """
    text, file = read_text(path, problems), label(path)
    if text is None:
        return None
    try:
        journal = json.loads(text)
        runs = [one for one in journal["run"] if isinstance(one, dict)]
        times = [(_second(one["start"]), _second(one["end"])) for one in runs]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        fix = "give the journal.json that `chaos run` wrote"
        problems.add(file, 1, f"not a journal of Chaos Toolkit ({error!r:.80})", fix)
        return None
    if not runs:
        problems.add(file, 1, "nothing was done in it", "give the journal of a run that broke")
        return None
    origin = min(begin for begin, _ in times)
    gaps: list[FidelityGap] = []
    found: list[Segment] = []
    standing: list[_Standing] = []
    for activity, (begin, end) in zip(runs, times, strict=True):
        second = start_s + begin - origin
        done = start_s + end - origin
        if _is_undo(activity):
            whom = _arguments(activity).get("component")
            found += _ended(standing, second, None if whom is None else str(whom), name, file)
            continue
        standing += _begun(activity, done, gaps, file)
    last = start_s + max(end for _, end in times) - origin
    found += _ended(standing, last, None, name, file)
    if not found:
        told = "; ".join(f"{gap.what}: {gap.why}" for gap in gaps) or "no action in it breaks"
        problems.add(file, 1, f"nothing of it can be played ({told})", "write what was seen")
        return None
    return JournalPart(tuple(found), tuple(gaps))


def _begun(
    activity: Mapping[str, Any], second: float, gaps: list[FidelityGap], file: str
) -> Iterator[_Standing]:
    inner = activity.get("activity")
    told = inner if isinstance(inner, dict) else {}
    if told.get("type") != "action":
        return
    given = told.get("provider")
    provider: dict[str, Any] = given if isinstance(given, dict) else {}
    what = f"action {told.get('name')!r}"
    func = str(provider.get("func", ""))
    if provider.get("module") != MODULE:
        why = f"{provider.get('module') or provider.get('type')} is not an action of ours"
        gaps.append(FidelityGap(what=what, why=why, source=file))
        return
    if func in _QUIET:
        return
    if activity.get("status") != "succeeded":
        why = f"it did not succeed ({activity.get('status')}), so nothing stood"
        gaps.append(FidelityGap(what=what, why=why, source=file))
        return
    arguments = _arguments(activity)
    asked = ACTIONS.get(func)
    mode = None if asked is None else (asked.mode or arguments.get("mode") or asked.otherwise)
    where = arguments.get("component") or arguments.get("region")
    playable = mode in (*LINK_MODES, *COMPONENT_MODES) and func != "flap"
    if not playable or not isinstance(where, str):
        why = f"{func} of {where!r} stands in no single place and mode"
        gaps.append(FidelityGap(what=what, why=why, source=file))
        return
    own = {*OWN, "region"}
    params = {key: value for key, value in arguments.items() if key not in own}
    yield _Standing(second, where, str(mode), params, str(told.get("name")))


def _ended(
    standing: list[_Standing], second: float, whom: str | None, name: str, file: str
) -> Iterator[Segment]:
    for one in [o for o in standing if whom is None or o.where == whom]:
        standing.remove(one)
        if second > one.start_s:
            yield Segment(
                start_s=round(one.start_s, 3),
                length_s=round(second - one.start_s, 3),
                where=one.where,
                mode=one.mode,
                params=one.params,
                fault=f"{name or 'journal'}: {one.name}",
                source=file,
            )


def _is_undo(activity: Mapping[str, Any]) -> bool:
    inner = activity.get("activity")
    provider = inner.get("provider") if isinstance(inner, dict) else None
    return (
        isinstance(provider, dict)
        and provider.get("module") == MODULE
        and provider.get("func") == "undo"
    )


def _arguments(activity: Mapping[str, Any]) -> dict[str, Any]:
    inner = activity.get("activity")
    provider = inner.get("provider") if isinstance(inner, dict) else {}
    found = provider.get("arguments") if isinstance(provider, dict) else {}
    return dict(found) if isinstance(found, dict) else {}


def _second(text: Any) -> float:
    found = datetime.fromisoformat(str(text))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
