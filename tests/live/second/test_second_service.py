"""A service that is not the lab's, with what `init` wrote and the edits that the tutorial names: it
is found whole, and its routes are tried.
"""

import shutil
from pathlib import Path

import pytest
from tests.live.second.second_suite import stormgate

from stormgate.documents import load_gate
from stormgate.supervise.checks import tryout
from stormgate.supervise.preflight import preflight

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.timeout(400)]

GATE = "slas/first.yaml"


def test_all_of_it_is_found(second):
    checked = stormgate(second.suite, "check", GATE)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rows = [line.split()[0] for line in checked.stdout.splitlines() if line.startswith("  ")]
    assert set(rows) == {"ok"}
    for what in (
        "eu/cache: healthy",
        "db: process",
        "link:eu/web->eu/cache: through it",
        "route home",
    ):
        assert what in checked.stdout


def test_each_route_is_tried_and_a_wrong_one_is_told(second, tmp_path):
    """A wrong path and a wrong status expected, both in one go: two rows, one for each."""
    ignored = shutil.ignore_patterns("reports", ".stormgate")
    suite = Path(shutil.copytree(second.suite, tmp_path / "bazaar", ignore=ignored))
    users = suite / "loadtests" / "users.py"
    text = users.read_text().replace('get("/", name="home",', 'get("/hom", name="home",')
    users.write_text(text.replace('name="create item",', 'name="create item", expect=(404,),'))
    plan = preflight(suite / GATE, load_gate(suite / GATE), suite)
    found = {row.what: row for row in tryout.rows(plan, suite)}
    assert {name: row.ok for name, row in found.items()} == {
        "route create item": False,
        "route home": False,
    }
    assert "bad_status (HTTP 404)" in found["route home"].saw
    assert "bad_status (HTTP 201)" in found["route create item"].saw
    assert "loadtests/users.py" in found["route home"].fix
