"""An incident that no objective looks at would pass whatever it did."""

import pytest

from stormgate.model import Objective
from stormgate.reproduce.incident.judged import judged_during


def objective(kind="availability", **spec) -> Objective:
    return Objective(name=kind, kind=kind, spec=spec)


def test_where_nobody_looks_at_it_all_do():
    given = [objective(phases=["steady", "final"]), objective("latency", phases=("steady",))]
    found, widened = judged_during(given)
    assert [one.spec["phases"] for one in found] == [
        ["steady", "final", "fault"],
        ["steady", "fault"],
    ]
    assert widened == ["availability", "latency"]


@pytest.mark.parametrize(
    "looking",
    [objective(phases=["fault"]), objective("latency", phases=["fault[x]"]), objective("failover")],
)
def test_where_one_looks_at_it_nothing_is_changed(looking):
    given = [objective(phases=["steady"]), looking]
    assert judged_during(given) == (given, [])
