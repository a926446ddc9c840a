"""How long an experiment lets stand what it breaks, and whether that outlasts the limit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from tests.unit.documents.test_gate import change, errors, suite

from stormgate.documents import load_gate
from stormgate.documents.holds import ACTIONS, stands

__all__ = ["suite"]

EXPERIMENT, GATE = "experiments/web-loss.yaml", "slas/release.yaml"


def act(func: str, module: str = ACTIONS, pauses: Any = None, **arguments: Any) -> dict[str, Any]:
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments}
    return {"type": "action", "name": func, "provider": provider, "pauses": pauses or {}}


def probe(**arguments: Any) -> dict[str, Any]:
    return {**act("look", "probes.any", **arguments), "type": "probe"}


KILL, SLEEP = act("kill", component="web"), act("sleep", "time", secs=60)
SLOW = act("slow", component="db", latency_ms=9)
UNDO_WEB = act("undo", component="web")
FLAP = act("flap", component="web", mode="crash", down_s=0.5, up_s=1)
SURGE = act("load_surge", factor=2, for_s=4)


@pytest.mark.parametrize(
    ("method", "seconds"),
    [
        ([], []),
        ([act("hold", seconds=9)], []),
        ([KILL], [0]),
        ([KILL, act("hold", seconds=9)], [9]),
        ([act("hold", seconds=9), KILL, act("hold", seconds="2")], [2]),
        ([act("kill", component="web", pauses={"before": 5, "after": 2})], [2]),
        ([KILL, {**probe(), "pauses": {"before": 1, "after": 3}}], [4]),
        ([KILL, probe(deadline_s=30)], [30]),
        ([KILL, act("hold", seconds="${hold_s}")], [7]),
        ([KILL, act("hold", seconds="${unknown}")], [math.inf]),
        ([KILL, SLEEP], [math.inf]),
        ([SLEEP, KILL, act("hold", seconds=3)], [3]),
        ([KILL, act("hold", seconds=3), act("undo"), act("hold", seconds=60)], [3]),
        ([KILL, act("hold", seconds=3), UNDO_WEB, act("hold", seconds=6)], [3]),
        (
            [KILL, act("hold", seconds=2), SLOW, UNDO_WEB, act("hold", seconds=5), act("undo")],
            [2, 5],
        ),
        ([KILL, act("undo", component={"kind": "web"}), act("hold", seconds=6)], [6]),
        ([FLAP, act("hold", seconds=9)], [0.5]),
        ([KILL, FLAP], [0.5, math.inf]),
        ([act("until", probe={"func": "x"}, within_s=9), KILL, act("hold", seconds=1)], [1]),
        ([KILL, act("until", probe={"func": "x"}, within_s=9)], [9]),
        ([KILL, act("hold", seconds=8), KILL, act("hold", seconds=1)], [9, 1]),
        ([SURGE, act("hold", seconds=9)], [4]),
        ([act("rolling_restart", component="web"), act("hold", seconds=1)], []),
        ([{"ref": "somewhere"}, "no activity", KILL, act("hold", seconds=True)], [1]),
    ],
)
def test_how_long_it_stands(method: list[Any], seconds: list[float]) -> None:
    known = {"${hold_s}": 7, "${unknown}": None}
    found = stands(method, lambda value, loc: known.get(value, value))
    assert [one.seconds for one in found] == seconds


def test_a_fault_that_cannot_outlast_the_limit_is_refused_at_its_line(suite: Path) -> None:
    load_gate(suite / GATE)
    line = change(suite, EXPERIMENT, "hold_s: 10", "hold_s: 4.9")
    (problem,) = errors(suite)
    hold = (suite / EXPERIMENT).read_text().splitlines()
    assert "hold_s: 4.9" in hold[int(problem.split(":")[1]) - 1]
    assert "stands for 4.9 s at most" in problem
    assert "undo alone" in problem
    assert line


def test_the_gate_may_set_it_and_is_told_its_own_line(suite: Path) -> None:
    old = "experiment: ../experiments/web-loss.yaml"
    indent = next(
        line for line in (suite / GATE).read_text().splitlines() if old in line
    ).partition("experiment")[0]
    indent = " " * len(indent)
    line = change(suite, GATE, old, f"{old}\n{indent}configuration: {{hold_s: 2}}")
    (problem,) = errors(suite)
    assert problem.startswith(f"{GATE}:{line + 1}: ")
    change(suite, GATE, "{hold_s: 2}", "{hold_s: 6}")
    load_gate(suite / GATE)


def test_pauses_hold_as_well(suite: Path) -> None:
    change(suite, EXPERIMENT, "hold_s: 10", "hold_s: 1")
    assert len(errors(suite)) == 1
    change(suite, EXPERIMENT, "    name: hold\n", "    name: hold\n    pauses: {after: 9}\n")
    load_gate(suite / GATE)


@pytest.mark.parametrize("value", ["soon", "-1", ".nan", "true", ".inf"])
def test_a_hold_is_a_length_of_time(suite: Path, value: str) -> None:
    change(suite, EXPERIMENT, "hold_s: 10", f"hold_s: {value}")
    assert any("write a number of seconds" in problem for problem in errors(suite))


def test_an_action_may_say_that_somebody_heals_it(suite: Path) -> None:
    change(
        suite,
        EXPERIMENT,
        'arguments: {component: "${component}"}',
        'arguments: {component: "${component}", heals: true}',
    )
    load_gate(suite / GATE)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{component: "${component}", mode: crash, down_s: 1}', "flap needs argument 'up_s'"),
        ('{component: "${component}", mode: crash, down_s: soon, up_s: 1}', "down_s 'soon'"),
        ('{component: "${component}", mode: crash, down_s: 1, up_s: 1, times: 0}', "times 0"),
        ('{component: "${component}", mode: crush, down_s: 1, up_s: 1}', "crush"),
        ('{component: "nobody", mode: crash, down_s: 1, up_s: 1}', "nobody"),
        ('{component: "${component}", mode: crash, down_s: 6, up_s: 1, turns: 3}', "turns"),
    ],
)
def test_a_flap_is_held_to_what_it_breaks(suite: Path, arguments: str, says: str) -> None:
    change(suite, EXPERIMENT, "func: kill", "func: flap")
    change(suite, EXPERIMENT, 'arguments: {component: "${component}"}', f"arguments: {arguments}")
    assert any(says in problem for problem in errors(suite))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("{probe: {func: target_hole}, within_s: 9}", "target_hole"),
        ("{probe: {func: target_whole, arguments: {soon: 1}}, within_s: 9}", "soon"),
        ("{probe: {func: target_whole}}", "until needs argument 'within_s'"),
        ("{probe: {func: target_whole}, within_s: never}", "within_s 'never'"),
    ],
)
def test_what_is_waited_for_can_be_asked(suite: Path, arguments: str, says: str) -> None:
    change(suite, EXPERIMENT, "func: kill", "func: until")
    change(suite, EXPERIMENT, 'arguments: {component: "${component}"}', f"arguments: {arguments}")
    assert any(says in problem for problem in errors(suite))
