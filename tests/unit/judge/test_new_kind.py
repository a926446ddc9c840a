"""A newcomer's kind of objective: one file, and it can be written in a gate, is shown a violation
before the run, judged, planned, compared and completed by editors. The steps stand in
docs/statistics.md.
"""

from pathlib import Path

import pytest

from stormgate.commands.documents import lay_out
from stormgate.documents import DocumentErrors, load_gate
from stormgate.documents.schema import schemas
from stormgate.judge import kinds as package
from stormgate.judge.compare import compare
from stormgate.judge.planning import assess
from stormgate.judge.registry import kinds
from stormgate.model import Finding, Judgement, Verdict
from stormgate.supervise.early import phases_of

FILE = '''
"""stragglers: at most `max_slow` requests take longer than `lte_ms`, whatever the share."""

from pydantic import Field

from stormgate.judge.registry import Canary, Kind, Need, Result
from stormgate.judge.spec import Positive, Samples
from stormgate.judge.statistics.proportion import BadShare
from stormgate.model import Verdict


class StragglersSpec(Samples):
    lte_ms: Positive
    max_slow: int = Field(default=0, ge=0)


class Stragglers:
    def __init__(self, task):
        self.task, self.spec = task, task.spec
        self.test = BadShare(task, lambda block: ~block.good(self.spec.lte_ms))

    def add(self, block):
        self.test.add(block)

    def finish(self):
        counted = self.test.counted(1.0, self.task.alpha)
        total, slow = sum(c.total for c in counted), sum(c.bad for c in counted)
        verdict, why = Verdict.PASS, f"{slow} stragglers of {total}"
        if slow > self.spec.max_slow:
            verdict = Verdict.FAIL
        elif self.test.unusable() or total < self.spec.min_samples:
            verdict, why = Verdict.INCONCLUSIVE, self.test.unusable() or "too few requests"
        said = self.task.finding(
            verdict, why, value=float(slow), limit=float(self.spec.max_slow), samples=total
        )
        return Result(said)


KIND = Kind(
    "stragglers",
    StragglersSpec,
    Stragglers,
    canaries=lambda spec: [Canary(outcome="ok", latency_ms=10 * spec.lte_ms)],
    sample_need=lambda spec, plan: Need(spec.min_samples, None, "a count"),
    over_faults=True,
    notes=lambda spec, plan, lengths: [f"{len(lengths)} phases"],
    contradictions=lambda spec, plan, lengths: ["too strict"] if spec.lte_ms < 1 else [],
    interval=lambda finding, alpha: (finding.value, finding.value + 1),
    drawn_limit_ms=lambda spec: spec["lte_ms"],
)
'''


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    added = tmp_path / "added"
    added.mkdir()
    (added / "stragglers.py").write_text(FILE)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(added)])
    kinds.cache_clear()
    lay_out(tmp_path / "shop", "shop")
    monkeypatch.chdir(tmp_path / "shop")
    path = Path("slas/release.yaml")
    objective = "    - {name: quick, kind: stragglers, lte: 500ms, maxSlow: 2}\n"
    path.write_text(
        path.read_text().replace(
            "  objectives:\n    - name: a", f"  objectives:\n{objective}    - name: a"
        )
    )
    yield path
    monkeypatch.undo()
    kinds.cache_clear()


def test_one_file_is_enough(gate):
    plan = load_gate(gate)
    (mine,) = [o for o in plan.objectives if o.kind == "stragglers"]
    assert (mine.spec["lte_ms"], mine.spec["max_slow"]) == (500, 2)
    assert "objective-stragglers" in schemas()["ReleaseGate"]["$defs"]
    said = next(o for o in assess(plan).objectives if o.name == "quick")
    assert (said.shown_violation, said.shown_nothing) == ("FAIL", "INCONCLUSIVE")
    assert said.contradictions == ()
    assert said.note == "a count; 1 phases"
    assert phases_of(mine, plan) == {"fault[web-loss]", "recovery[web-loss]"}


def test_its_fields_are_held_with_their_lines(gate):
    gate.write_text(gate.read_text().replace("lte: 500ms, maxSlow", "lte: 500, maxslow"))
    with pytest.raises(DocumentErrors) as caught:
        load_gate(gate)
    found = "\n".join(str(problem) for problem in caught.value.problems)
    assert "lte: 500 is not a duration" in found
    assert "unknown key 'maxslow' in objective 'quick'; did you mean 'maxSlow'?" in found


def test_what_it_declares_is_what_others_ask(gate):
    gate.write_text(gate.read_text().replace("lte: 500ms, maxSlow", "lte: 0.5ms, maxSlow"))
    said = next(o for o in assess(load_gate(gate)).objectives if o.name == "quick")
    assert said.contradictions == ("too strict",)

    def run(value: float) -> Judgement:
        finding = Finding(
            name="quick", kind="stragglers", verdict=Verdict.PASS, value=value, bound=None,
            limit=2.0, unit="", samples=9, why="", source="",
        )  # fmt: skip
        return Judgement(
            gate="g", plan_digest="d", verdict=Verdict.PASS, exit_code=0, objectives=(finding,)
        )

    (row,) = compare(run(0.0), run(5.0)).rows
    assert (row.low, row.high, row.telling) == (4.0, 6.0, "differs")


def test_without_its_file_it_cannot_be_written(gate, monkeypatch):
    gate = gate.resolve()
    monkeypatch.undo()
    kinds.cache_clear()
    with pytest.raises(DocumentErrors, match="unknown kind 'stragglers'"):
        load_gate(gate)
