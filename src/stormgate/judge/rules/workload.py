"""Did the users' code do what it says? A flow that raised although all its answers were ok is a
broken workload: what it did not ask cannot be judged, whoever answered what it did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stormgate.evidence.laws import number
from stormgate.judge.rules.validity import finding
from stormgate.model import Event, Finding

# Frames below the user's own: where an exception came up says less than which line asked for it.
_NOT_OWN = ("/site-packages/", "/lib/python3", "/stormgate/load/")


def check_workload(
    generator: Sequence[Mapping[str, Any]],
    timeline: Sequence[Mapping[str, Any]],
    allowed: int,
    unvisited: Sequence[str] = (),
) -> Finding:
    """INCONCLUSIVE when more than `allowed` flows raised over answers that were all ok, in any
    phase: a login that fails before the first judged one leaves nobody to judge. Those that raised
    over a failed answer are told beside: the failure itself is a bad sample already; but streams
    that had not logged in at the end, over whatever, asked for nothing. `unvisited`: what was due
    and nobody did (rules/visits.py).
    """
    problems: list[str] = []
    raised = after_failures = 0
    locked_out: dict[str, int] = {}
    for row in generator:
        try:
            if "locked_out" in row:
                locked_out[str(row.get("worker"))] = int(number(row, "locked_out"))
            raised += int(number(row, "flow_errors"))
            if "flow_errors_over_failures" in row:
                after_failures += int(number(row, "flow_errors_over_failures"))
        except ValueError as error:
            problems.append(f"generator.ndjson: {row.get('worker')}: {error}")
    if raised > allowed:
        said = _named(timeline)
        times = "once" if raised == 1 else f"{raised:,} times"
        problems = [f"the workload broke {times}: {why}" for why in said or ["no traceback"]]
    if out := sum(locked_out.values()):
        who = "a stream" if out == 1 else f"{out:,} streams"
        said = _named(timeline, login=True)
        why = f": {said[0]}" if said else ""
        problems.append(f"{who} could not log in and sent nothing{why}")
    problems += unvisited
    told: dict[str, Any] = {"over_failed_answers": after_failures} if after_failures else {}
    return finding("workload", problems, ok="every flow ran, everyone asked", **told)


def _named(timeline: Sequence[Mapping[str, Any]], *, login: bool = False) -> list[str]:
    """Flow, exception and place of each error that the load reported, the first of each place.
    `login`: of logins alone, over failed answers, too.
    """
    found = []
    for row in timeline:
        if row.get("event") != Event.LOAD_FLOW_ERROR:
            continue
        is_login = str(row.get("flow")).endswith(".login")
        if not is_login if login else row.get("over_failure"):
            continue
        lines = [line.strip() for line in str(row.get("traceback") or "").splitlines()]
        places = [line for line in lines if line.startswith("File ")]
        what = next((line for line in reversed(lines) if line), "it raised")
        own = [line for line in places if not any(part in line for part in _NOT_OWN)]
        place = _short((own or places or ["place unknown"])[-1])
        found.append(f"{row.get('flow')}: {what[:200]} ({place[:200]})")
    return list(dict.fromkeys(found))


def _short(line: str) -> str:
    """A traceback's line with the file and its folder alone, which a narrow screen need not cut."""
    path, quote, rest = line.removeprefix('File "').partition('"')
    return "/".join(path.split("/")[-2:]) + rest if quote else line
