"""The phases above the charts, and to which part of a run a request belongs, with overlaps."""

from dataclasses import dataclass

from stormgate.report.html.phases import phase_spans
from stormgate.report.series.phases import stretches, weighs_most

S = 1_000_000_000


@dataclass(frozen=True)
class Phase:
    name: str
    begin_ns: int
    end_ns: int | None


def phases(*spans: tuple[str, float, float | None]) -> list[Phase]:
    return [
        Phase(name, round(begin * S), None if end is None else round(end * S))
        for name, begin, end in spans
    ]


TOGETHER = phases(
    ("steady", 0, 10),
    ("fault[a]", 10, 20),
    ("fault[b]", 15, 30),
    ("recovery[a]", 20, 25),
    ("recovery[b]", 30, None),
)


def test_phases_one_after_the_other_are_as_they_are():
    alone = phases(("steady", 0, 10), ("fault[a]", 10, 20), ("recovery[a]", 20, None))
    assert stretches(alone) == [(p.name, p.begin_ns, p.end_ns) for p in alone]


def test_what_phases_share_is_drawn_once_and_named_by_all():
    drawn = [(s.name, s.begin_s, s.end_s, s.css) for s in phase_spans(TOGETHER, 0, 35 * S)]
    assert drawn[:5] == [
        ("steady", 0, 10, "steady"),
        ("fault[a]", 10, 15, "trouble"),
        ("fault[a] + fault[b]", 15, 20, "trouble"),
        ("fault[b] + recovery[a]", 20, 25, "trouble"),
        ("fault[b]", 25, 30, "trouble"),
    ]


def test_a_recovery_in_which_another_fault_stands_is_no_recovery():
    assert weighs_most("fault[b]+recovery[a]") == "fault"
    assert weighs_most("recovery[a]+recovery[b]") == "recovery"
    assert weighs_most("steady") == "steady"
