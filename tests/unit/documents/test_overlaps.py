"""Faults of a gate that overlap, or wait for something: the plan they become, and each that cannot
be, with its line and its fix.
"""

# ruff: noqa: E501 - a table of mistakes reads row by row

from __future__ import annotations

from pathlib import Path

import pytest

from stormgate.commands.documents import lay_out
from stormgate.commands.plan import course_of
from stormgate.documents import DocumentErrors, load_gate
from stormgate.documents.trial.given import Changes
from stormgate.model import Plan, When, groups

GATE = "slas/release.yaml"
FIRST = (
    "    - name: web-loss\n      experiment: ../experiments/web-loss.yaml\n      recovery: 10s\n"
)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh set of content folders, with a second experiment that freezes what the first kills."""
    lay_out(tmp_path, "shop")
    monkeypatch.chdir(tmp_path)
    text = (tmp_path / "experiments/web-loss.yaml").read_text()
    frozen = text.replace("func: kill,", "func: freeze,")
    assert frozen != text
    (tmp_path / "experiments/web-frozen.yaml").write_text(frozen)
    return tmp_path


def with_second(suite: Path, *lines: str, experiment: str = "web-frozen", first: str = "") -> int:
    """Add a second fault; the line it begins on."""
    path = suite / GATE
    text = path.read_text()
    assert text.count(FIRST) == 1
    second = f"    - name: second\n      experiment: ../experiments/{experiment}.yaml\n      recovery: 5s\n"
    second += "".join(f"      {line}\n" for line in lines)
    path.write_text(text.replace(FIRST, FIRST + first + second))
    return text[: text.index(FIRST)].count("\n") + 1 + FIRST.count("\n") + first.count("\n")


def errors(changes: Changes | None = None) -> list[str]:
    with pytest.raises(DocumentErrors) as caught:
        load_gate(Path(GATE), **({} if changes is None else {"changes": changes}))
    return [str(problem) for problem in caught.value.problems]


def test_a_fault_that_overlaps_another_and_waits_is_planned_so(suite: Path) -> None:
    with_second(
        suite,
        "overlaps: web-loss",
        "after: 5s",
        "when: {probe: {func: availability, arguments: {window_s: 2}}, is: {type: range, range: [0, 0.9]}, within: 30s}",
    )
    plan: Plan = load_gate(Path(GATE))
    second = plan.faults[1]
    assert (second.overlaps, second.after_s) == ("web-loss", 5.0)
    assert second.when == When(
        module="stormgate.chaos.probes",
        func="availability",
        arguments={"window_s": 2},
        tolerance={"type": "range", "range": [0, 0.9]},
        within_s=30.0,
    )
    assert [[one.name for one in group] for group in groups(plan.faults)] == [
        ["web-loss", "second"]
    ]
    told = course_of(plan, 20.0)
    assert told[0] == "  fault[web-loss] 50 to 70 s, recovery to 80 s"
    assert told[1].startswith(
        "  fault[second] 55 to 75 s, recovery to 80 s, begins 5 s after the injection of web-loss, when availability is"
    )


def test_a_gate_without_any_says_nothing_of_it(suite: Path) -> None:
    plan = load_gate(Path(GATE))
    assert (plan.faults[0].overlaps, plan.faults[0].when) == (None, None)
    assert course_of(plan, 20.0) == []


def test_the_name_of_a_reading_is_what_it_reads(suite: Path) -> None:
    with_second(suite, "when: {probe: whole, is: true, within: 5s}")
    path = suite / GATE
    readings = "  readings:\n    - {name: whole, module: stormgate.chaos.probes, func: target_whole, arguments: {deadline_s: 1}}\n"
    path.write_text(
        path.read_text().replace(
            "  objectives:\n    - name: av", f"{readings}  objectives:\n    - name: av"
        )
    )
    when = load_gate(Path(GATE)).faults[1].when
    assert when is not None
    assert (when.func, dict(when.arguments)) == ("target_whole", {"deadline_s": 1})


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ("overlaps: web-los", "overlaps", "there is no fault 'web-los' to overlap; did you mean 'web-loss'?"),
        ("overlaps: second", "overlaps", "second overlaps second: none of them can begin first; let one of them overlap no other"),
        ("after: 5s", "after", "fault 'second' begins after what? It overlaps no other; add overlaps: NAME of another fault"),
        ("when: {probe: target_hole, is: true, within: 5s}", "probe", "there is no probe 'target_hole'; did you mean 'target_whole'?"),
        ("when: {probe: {func: component_answers, arguments: {component: wob}}, is: true, within: 5s}", "probe", "component_answers: the target has no component 'wob'; did you mean 'web'?"),
        ("when: {probe: component_answers, is: true, within: 5s}", "probe", "component_answers needs argument 'component'; add arguments: {component: …}"),
        ("when: {probe: {module: probes.none, func: x}, is: true, within: 5s}", "probe", "there is no module 'probes.none'; probes are in probes/"),
        ("when: {probe: {module: stormgate.chaos.actions, func: kill}, is: true, within: 5s}", "probe", "an action is no probe: it changes the system; read a probe"),
        ("when: {probe: target_whole, is: null, within: 5s}", "is", "nothing measured (null) is within no tolerance; write what it is to be"),
        ("when: {probe: target_whole, is: true}", "when", "'within' is missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_its_line(
    suite: Path, line: str, place: str, message: str
) -> None:
    at = with_second(suite, line)
    (told,) = errors()
    assert told.startswith(f"{GATE}:{at + 3}: "), told
    assert message in told


def test_a_circle_of_overlaps_is_refused_by_all_its_names(suite: Path) -> None:
    third = "    - name: third\n      experiment: ../experiments/web-frozen.yaml\n      recovery: 5s\n      overlaps: second\n"
    with_second(suite, "overlaps: third", first=third)
    told = errors()
    assert [one.split(": ", 1)[1].split(":")[0] for one in told] == [
        "third overlaps second overlaps third",
        "second overlaps third overlaps second",
    ]


def test_two_that_would_break_the_same_in_the_same_way_are_refused(suite: Path) -> None:
    at = with_second(suite, "overlaps: web-loss", experiment="web-loss")
    (told,) = errors()
    assert told == (
        f"{GATE}:{at + 3}: web-loss and second may stand together, and both crash web; break another "
        "part or in another way, or let them not overlap"
    )


def test_they_may_come_one_after_the_other(suite: Path) -> None:
    with_second(suite, experiment="web-loss")
    assert len(groups(load_gate(Path(GATE)).faults)) == 2


def test_the_blast_radius_holds_for_all_that_stand_together(suite: Path) -> None:
    with_second(suite, "overlaps: web-loss")
    path = suite / GATE
    radius = "  blastRadius: {maxRegions: 5, maxUsers: 10%}\n  abort:\n"
    path.write_text(path.read_text().replace("  abort:\n", radius))
    assert any(
        "faults web-loss and second together touch 1 of the users" in one for one in errors()
    )


def test_a_fault_is_not_tried_without_the_one_it_overlaps(suite: Path) -> None:
    with_second(suite, "overlaps: web-loss")
    (told,) = errors(Changes(only_faults=("second",)))
    assert (
        told
        == "--only-fault:1: 'second' overlaps 'web-loss', which would not stand; add --only-fault web-loss"
    )
    kept = load_gate(Path(GATE), changes=Changes(only_faults=("web-loss",)))
    assert [fault.name for fault in kept.faults] == ["web-loss"]
