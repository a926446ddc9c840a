"""What became of a hypothesis: a table over what the judge found, what was sealed, and when people
said what.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from stormgate.evidence.read import phases_of
from stormgate.model import Event, Finding, Judgement, Verdict
from stormgate.model.gameday import GameDay, GameStep, Hypothesis
from stormgate.report.days import Belief, day_html, day_md, exit_code, outcomes

S = 1_000_000_000
STEP = GameStep(
    name="cache",
    mode="crash",
    components=("us/cache",),
    for_s=5,
    recovery_s=5,
    hypothesis=Hypothesis(says="<b>Nobody</b> waits.", objectives=("failover",)),
)


@dataclass
class Ran:
    timeline: list[dict[str, Any]]

    def phases(self):
        return phases_of(self.timeline)


def rows(step=STEP, *, leave=(), digest=None, more=()):
    found = [
        (0, Event.RUN_BEGIN, {}),
        (9, Event.GAMEDAY_STEP, {"step": step.name, "digest": digest or step.digest}),
        (10, Event.FAULT_REQUESTED, {"fault": step.name, "id": "1"}),
        (10, Event.FAULT_ACKNOWLEDGED, {"fault": step.name, "id": "1"}),
        (11, Event.FAULT_OBSERVED, {"fault": step.name, "id": "1", "proof": "refused"}),
        (15, Event.CHAOS_ROLLBACK, {"fault": step.name}),
        (16, Event.FAULT_CLEARED, {"fault": step.name, "id": "1"}),
        *more,
    ]
    return Ran(
        [
            {"at_ns": at * S, "event": str(event), **fields}
            for at, event, fields in sorted(found, key=lambda one: one[0])
            if event not in leave
        ]
    )


def judged(verdict=Verdict.PASS, *findings):
    found = findings or (
        Finding(
            name="cache/failover",
            kind="failover",
            verdict=verdict,
            value=1.0,
            bound=2.0,
            limit=5.0,
            unit="s",
            samples=9,
            why="told",
        ),
    )
    return Judgement(
        gate="day",
        verdict=Verdict.INCONCLUSIVE,
        exit_code=3,
        plan_digest="",
        objectives=tuple(found),
    )


def belief(step, run, judgement, rehearsal=False):
    day = GameDay(name="day", steps=(step,), rehearsal=rehearsal)
    return outcomes(day, judgement, run)[0]


@pytest.mark.parametrize(
    ("verdict", "found"),
    [
        (Verdict.PASS, Belief.HELD),
        (Verdict.FAIL, Belief.NOT_HELD),
        (Verdict.INCONCLUSIVE, Belief.UNDECIDED),
        (Verdict.ERROR, Belief.UNDECIDED),
    ],
)
def test_by_what_the_judge_found(verdict, found):
    assert belief(STEP, rows(), judged(verdict)).belief is found


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"leave": (Event.FAULT_REQUESTED,)}, "not tried"),
        ({"leave": (Event.GAMEDAY_STEP,)}, "not sealed"),
        ({"digest": "another"}, "not sealed"),
        ({"leave": (Event.FAULT_OBSERVED,)}, "not observed"),
        ({"leave": (Event.FAULT_ACKNOWLEDGED,)}, "not observed"),
    ],
)
@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.FAIL])
def test_what_was_not_sealed_tried_and_proven_decides_nothing(change, why, verdict):
    outcome = belief(STEP, rows(**change), judged(verdict))
    assert outcome.belief is Belief.UNDECIDED
    assert any(why in line for line in outcome.why)


def test_a_seal_after_the_injection_is_none():
    late = (12, Event.GAMEDAY_STEP, {"step": "cache", "digest": STEP.digest})
    run = rows(leave=(Event.GAMEDAY_STEP,))
    run.timeline.append({"at_ns": late[0] * S, "event": str(late[1]), **late[2]})
    assert belief(STEP, run, judged()).belief is Belief.UNDECIDED


def test_an_objective_that_nobody_judged_is_not_held():
    other = replace(judged().objectives[0], name="else/failover")
    assert belief(STEP, rows(), judged(Verdict.PASS, other)).belief is Belief.UNDECIDED


PEOPLE = replace(STEP, hypothesis=Hypothesis(says="Seen.", detected_within_s=60.0))


@pytest.mark.parametrize(
    ("notes", "found"),
    [
        ([], Belief.UNDECIDED),
        ([(40, "detected")], Belief.HELD),
        ([(40, "Detected: by the pager")], Belief.HELD),
        ([(90, "detected")], Belief.NOT_HELD),
        ([(90, "detected"), (40, "detected")], Belief.HELD),  # the first counts
        ([(5, "detected")], Belief.UNDECIDED),  # before there was anything to see
        ([(40, "not detected")], Belief.UNDECIDED),
    ],
)
def test_by_what_people_noted(notes, found):
    more = [
        (at, Event.GAMEDAY_NOTE, {"step": "cache", "text": text, "by": "Chi"}) for at, text in notes
    ]
    nothing = replace(judged(), objectives=())
    assert belief(PEOPLE, rows(PEOPLE, more=more), nothing).belief is found


def test_nothing_asked_is_nothing_decided():
    bare = replace(STEP, hypothesis=Hypothesis(says="It will be fine."))
    assert belief(bare, rows(bare), replace(judged(), objectives=())).belief is Belief.UNDECIDED


@pytest.mark.parametrize(
    ("verdict", "of_run", "code"),
    [
        (Verdict.PASS, Verdict.INCONCLUSIVE, 0),
        (Verdict.FAIL, Verdict.INCONCLUSIVE, 1),
        (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, 3),
        (Verdict.PASS, Verdict.ABORTED, 5),
        (Verdict.PASS, Verdict.DIRTY, 6),
    ],
)
def test_the_exit_code(verdict, of_run, code):
    day = GameDay(name="day", steps=(STEP,))
    judgement = replace(judged(verdict), verdict=of_run, exit_code=of_run.exit_code)
    assert exit_code(outcomes(day, judgement, rows()), judgement) == code


def test_the_digest_is_over_all_that_was_believed():
    others = [
        replace(STEP, for_s=6),
        replace(STEP, params={"x": 1}),
        replace(STEP, hypothesis=replace(STEP.hypothesis, says="Everybody waits.")),
        replace(STEP, hypothesis=replace(STEP.hypothesis, detected_within_s=1.0)),
    ]
    assert len({STEP.digest, *(one.digest for one in others)}) == 5


def test_both_reports_say_it_and_show_names_as_text():
    day = GameDay(name="day", steps=(STEP,), roles={"lead": "<script>"})
    page, text = day_html(day, judged(), rows()), day_md(day, judged(), rows())
    for said in (page, text):
        assert "&lt;b&gt;Nobody&lt;/b&gt;" in said
        assert "<script>" not in said
        assert "1 held" in said
        assert STEP.digest[:12] in said
    assert "taken back after 5.0 s" in text
