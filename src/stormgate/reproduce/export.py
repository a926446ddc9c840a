"""A schedule for other tools: commands of toxiproxy-cli, a Chaos Toolkit experiment, JSON. Pure:
texts out. What a format cannot say stands in it as a comment and is returned besides.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stormgate.reproduce import native
from stormgate.reproduce.play.resolve import LanePlan
from stormgate.reproduce.schedule import FidelityGap, Schedule
from stormgate.reproduce.suite import yaml_text
from stormgate.toxiproxy.modes import wanted_toxics

FORMATS = ("toxiproxy-cli", "chaostoolkit", "json")

_SCRIPT = """\
#!/bin/sh
# {title}
# Needs toxiproxy-cli on PATH and a Toxiproxy with the proxies named below; whatever ends this
# script, what it did is taken back.
{gaps}set -u
begun=$(date +%s.%N)
# Waits until a second after the beginning, however long the commands before it took.
at() {{ sleep "$(awk -v b="$begun" -v n="$(date +%s.%N)" -v t="$1" 'BEGIN {{ d = b + t - n; print (d > 0 ? d : 0) }}')"; }}
undo() {{
  trap - EXIT INT TERM
{undo}
}}
trap undo EXIT
trap 'exit 130' INT TERM

{body}
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Exported:
    """The text, and what of the schedule is not in it."""

    text: str
    gaps: tuple[FidelityGap, ...]


def export(
    schedule: Schedule,
    lanes: Sequence[LanePlan],
    form: str,
    *,
    title: str,
    tells_whole: bool = False,
) -> Exported:
    """The schedule in a form of FORMATS; `lanes`: what it is on its target. Raises ValueError for a
    form that there is not, or where nothing of it could be said.
    """
    if form == "json":
        text = json.dumps(schedule.to_json(), indent=2, ensure_ascii=False) + "\n"
        return Exported(text, schedule.gaps)
    if form == "chaostoolkit":
        return _chaostoolkit(schedule, title, tells_whole)
    if form == "toxiproxy-cli":
        return _toxiproxy_cli(schedule, lanes, title)
    raise ValueError(f"no form {form!r}; one of {', '.join(FORMATS)}")


def _chaostoolkit(schedule: Schedule, title: str, tells_whole: bool) -> Exported:
    said = "\n".join([title, "", *(_told(gap) for gap in schedule.gaps)]).strip()
    document = native.experiment(title, said, schedule, tells_whole=tells_whole)
    head = "Act on a target: stormgate use TARGET, then chaos run FILE."
    return Exported(yaml_text(document, head), schedule.gaps)


def _toxiproxy_cli(schedule: Schedule, lanes: Sequence[LanePlan], title: str) -> Exported:
    links = [(n, lane) for n, lane in enumerate(lanes) if lane.is_link and _proxy(lane)]
    gaps = list(schedule.gaps)
    for lane in lanes:
        if lane.is_link and _proxy(lane):
            continue
        for span in lane.spans:
            what = f"{lane.name} from {span.start_s:g} to {span.end_s:g} s"
            why = "Toxiproxy breaks links alone"
            gaps.append(FidelityGap(what=what, why=why, source=span.segment.source))
    if not links:
        raise ValueError("nothing of it happens on a link of Toxiproxy")
    lines = sorted(line for number, lane in links for line in _moves(number, lane))
    body, now = list[str](), -1.0
    for second, _, commands in lines:
        if second != now:
            body.append(f"at {second:g}")
            now = second
        body += commands
    body.append(f"at {schedule.length_s:g}")
    undo = [line for number, lane in links for line in _undo(number, lane)]
    text = _SCRIPT.format(
        title=title.replace("\n", " "),
        gaps="".join(f"# Not in it: {_told(gap)}\n" for gap in gaps),
        undo="\n".join(f"  {line}" for line in undo),
        body="\n".join(body),
    )
    return Exported(text, tuple(gaps))


def _told(gap: FidelityGap) -> str:
    where = f" ({gap.source})" if gap.source else ""
    return f"{gap.what}: {gap.why}{where}".replace("\n", " ")


def _proxy(lane: LanePlan) -> str | None:
    """The name of the proxy that is this link; None where it is no link of Toxiproxy."""
    handle = lane.part.handle
    return str(handle["proxy"]) if {"url", "proxy"} <= set(handle) else None


def _cli(lane: LanePlan, *words: str) -> str:
    url = str(lane.part.handle["url"])
    return shlex.join(["toxiproxy-cli", "--host", url, *words])


def _moves(number: int, lane: LanePlan) -> Iterator[tuple[float, int, list[str]]]:
    """(second, order, commands) of a lane: ends come before beginnings."""
    proxy, there = str(_proxy(lane)), False
    for at, span in enumerate(lane.spans):
        toxics = _toxics(number, lane, span.params)
        if lane.mode == "refuse":
            if not there:
                yield span.start_s, 1, [_cli(lane, "toggle", proxy)]
        else:
            verb = "update" if there else "add"
            yield span.start_s, 1, [_toxic(lane, verb, proxy, one) for one in toxics]
        there = lane.goes_on(at)
        if there:
            continue
        if lane.mode == "refuse":
            yield span.end_s, 0, [_cli(lane, "toggle", proxy)]
        else:
            names = [str(one["name"]) for one in toxics]
            yield span.end_s, 0, [_cli(lane, "toxic", "remove", "-n", n, proxy) for n in names]


def _toxics(number: int, lane: LanePlan, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    return wanted_toxics(lane.mode, params, f"incident_{number}_{lane.mode}")


def _toxic(lane: LanePlan, verb: str, proxy: str, toxic: Mapping[str, Any]) -> str:
    words = ["toxic", verb]
    if verb == "add":
        words += ["-t", toxic["type"], "--upstream" if toxic["stream"] == "upstream" else ""]
    words += ["-n", toxic["name"], "--toxicity", f"{toxic['toxicity']:g}"]
    for key, value in toxic["attributes"].items():
        words += ["-a", f"{key}={value}"]
    return _cli(lane, *(word for word in words if word), proxy)


def _undo(number: int, lane: LanePlan) -> Iterator[str]:
    """Commands that take a lane back whatever stood; what is gone already makes no noise."""
    proxy = str(_proxy(lane))
    if lane.mode == "refuse":
        # `toggle` alone would turn off what is on: only what is listed as disabled is touched.
        listed = _cli(lane, "inspect", proxy)
        yield f"{listed} 2>/dev/null | grep -q disabled && {_cli(lane, 'toggle', proxy)}"
        return
    for one in _toxics(number, lane, lane.spans[0].params):
        yield f"{_cli(lane, 'toxic', 'remove', '-n', one['name'], proxy)} >/dev/null 2>&1"
