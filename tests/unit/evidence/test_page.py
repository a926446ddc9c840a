"""docs/evidence.md is enough for an outsider: what its tables say is what the code reads."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.unit.evidence.page import PAGE, Row, healthy, tables

import stormgate
from stormgate.evidence.formats import EVENTS, ROWS, Field, schemas
from stormgate.evidence.laws import UNDO_SCHEMA
from stormgate.faults.ledger import SCHEMA
from stormgate.judge.registry import kinds
from stormgate.model import (
    Event,
    Fault,
    Load,
    Objective,
    Outcome,
    Plan,
    Population,
    Target,
    Verdict,
    to_json,
)


def said(judgement: Any) -> str:
    findings = (*judgement.objectives, *judgement.validity)
    return "; ".join(f"{f.name}: {f.why}" for f in findings if f.verdict is not Verdict.PASS)


@pytest.mark.parametrize("everything", [False, True])
def test_a_folder_written_by_the_page_alone_is_judged_pass(
    tmp_path: Path, everything: bool
) -> None:
    judgement = stormgate.judge_folder(healthy(everything=everything).write(tmp_path / "run"))
    assert judgement.verdict is Verdict.PASS, said(judgement)
    assert judgement.objectives[0].samples == 1000


def _without(name: str, section: str) -> Any:
    outside = healthy()
    plan = outside.plan
    places: dict[str, list[dict[str, Any]]] = {
        "plan": [plan],
        "target": [plan["target"]],
        "population": plan["target"]["populations"],
        "load": [plan["load"]],
        "fault": plan["faults"],
        "objective": plan["objectives"],
        "generator": outside.generator,
        "undo": outside.undo,
        "journal": list(outside.journals.values()),
        "samples": [outside.columns],
    }
    for row in places[section]:
        del row[name]
    return outside


SECTIONS: dict[str, list[Row]] = {
    **dict(
        zip(
            ("plan", "target", "population", "load", "fault", "objective"),
            tables("plan.json"),
            strict=False,
        )
    ),
    "generator": tables("generator.ndjson")[0],
    "undo": tables("undo.ndjson")[0],
    "journal": tables("journals/<fault>.json")[0],
    "samples": tables("samples/<worker>.arrow")[0],
}
NEEDED = [(s, row.name) for s, rows in SECTIONS.items() for row in rows if row.needed]


@pytest.mark.parametrize(("section", "name"), NEEDED, ids=[f"{s}.{n}" for s, n in NEEDED])
def test_what_the_page_calls_needed_is_missed(tmp_path: Path, section: str, name: str) -> None:
    judgement = stormgate.judge_folder(_without(name, section).write(tmp_path / "run"))
    assert judgement.verdict is not Verdict.PASS
    assert judgement.exit_code in (3, 4, 6)
    assert judgement.why


@pytest.mark.parametrize(
    "event", [row.name for row in tables("timeline.ndjson")[0] if row.cells["needed"] != "no"]
)
def test_an_event_that_the_page_calls_needed_is_missed(tmp_path: Path, event: str) -> None:
    outside = healthy()
    outside.timeline = [row for row in outside.timeline if row["event"] != event]
    judgement = stormgate.judge_folder(outside.write(tmp_path / "run"))
    assert judgement.verdict is not Verdict.PASS, event


PLAN_TYPES = dict(
    zip(
        ("plan", "target", "population", "load", "fault", "objective"),
        (Plan, Target, Population, Load, Fault, Objective),
        strict=True,
    )
)
# What has a default in memory and must stand in the file.
ON_DISK = {("plan", "schema"), ("plan", "digest")}


@pytest.mark.parametrize("section", PLAN_TYPES)
def test_the_tables_of_the_plan_are_its_fields(section: str) -> None:
    fields = {f.name: f for f in dataclasses.fields(PLAN_TYPES[section])}
    told = {row.name: row.needed for row in SECTIONS[section]}
    required = {
        name: (f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
        or (section, name) in ON_DISK
        for name, f in fields.items()
    }
    assert told == required


@pytest.mark.parametrize("section", ["generator", "undo", "journal", "reading", "residency"])
def test_the_tables_of_rows_are_the_declared_fields(section: str) -> None:
    homes = {"reading": ("readings.ndjson", 0), "residency": ("operations/", 1)}
    rows = SECTIONS.get(section) or tables(homes[section][0])[homes[section][1]]
    declared = {f.name: f for f in ROWS[section]}
    assert {row.name: row.needed for row in rows} == {n: f.needed for n, f in declared.items()}
    for row in rows:
        types = {row.cells["type"], *row.cells["type"].split(", ")}
        assert declared[row.name].type in types, row.name


def test_the_table_of_events_is_the_declared_events() -> None:
    events = tables("timeline.ndjson")[0]
    assert {row.name for row in events} == {event.value for event in Event} == set(EVENTS)
    for row in events:
        for column, needed in (("fields", True), ("may have", False)):
            fields: tuple[Field, ...] = EVENTS[Event(row.name)]
            told = re.findall(r"`(\w+)`", row.cells[column])
            assert told == [f.name for f in fields if f.needed is needed], row.name


def test_the_table_of_kinds_is_the_kinds_fields() -> None:
    told = {row.name: row.cells for row in tables("plan.json")[6]}
    assert set(told) == set(kinds())
    for name, kind in kinds().items():
        fields = kind.spec_model.model_fields
        for column, needed in (("needed", True), ("may have", False)):
            names = re.findall(r"`(\w+)`", told[name][column])
            assert names == [n for n, f in fields.items() if f.is_required() is needed], name


def test_every_outcome_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    line = text.split("\nOutcomes: ", 1)[1].split("\n\n", 1)[0]
    assert set(re.findall(r"`(\w+)`", line)) == {outcome.value for outcome in Outcome}


def test_the_schemas_accept_a_healthy_folder_and_refuse_what_lacks_a_field() -> None:
    known = schemas()
    outside = healthy(everything=True)
    rows = {
        "plan": [outside.plan],
        "generator": outside.generator,
        "timeline": outside.timeline,
        "undo": outside.undo,
        "reading": outside.readings,
        "journal": list(outside.journals.values()),
    }
    for name, some in rows.items():
        validator = jsonschema.Draft202012Validator(known[name])
        validator.check_schema(known[name])
        assert [error.message for row in some for error in validator.iter_errors(row)] == []
    timeline = jsonschema.Draft202012Validator(known["timeline"])
    assert not timeline.is_valid({"at_ns": 1, "event": "phase.begin"})
    assert not timeline.is_valid({"at_ns": 1, "event": "phase.started"})
    judgement = to_json(stormgate.model.Judgement(  # type: ignore[attr-defined]
        gate="g", verdict=Verdict.PASS, exit_code=0, plan_digest="", objectives=()
    ))  # fmt: skip
    assert jsonschema.Draft202012Validator(known["verdict"]).is_valid(judgement)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"step": "target", "schema": "stormgate.undo/2", "target": {}}, "stormgate.undo/2"),
        ({"step": "mended", "id": "u1"}, "step 'mended' is not one of"),
        ({"step": "undone", "id": None}, "a row of step undone has no id"),
    ],
)
def test_a_row_of_the_ledger_that_is_not_known_is_named(
    tmp_path: Path, row: dict[str, Any], why: str
) -> None:
    outside = healthy()
    outside.undo.insert(0, row)
    judgement = stormgate.judge_folder(outside.write(tmp_path / "run"))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "undo.ndjson: row 1: " in judgement.why
    assert why in judgement.why
    assert UNDO_SCHEMA == SCHEMA


def test_a_kind_or_field_that_is_not_known_is_inconclusive_by_name(tmp_path: Path) -> None:
    for number, change in enumerate(({"kind": "beauty"}, {"spec": {"target": 0.9, "luck": 1}})):
        outside = healthy()
        outside.plan["objectives"][0] |= change
        judgement = stormgate.judge_folder(outside.write(tmp_path / str(number)))
        assert judgement.verdict is Verdict.INCONCLUSIVE
        assert ("beauty", "luck")[number] in judgement.objectives[0].why


def test_judging_from_python(tmp_path: Path) -> None:
    folder = healthy().write(tmp_path / "run")
    before = sorted(path.name for path in folder.rglob("*"))
    assert stormgate.judge_folder(str(folder)).exit_code == 0
    assert sorted(path.name for path in folder.rglob("*")) == before
    with pytest.raises(FileNotFoundError):
        stormgate.judge_folder(tmp_path / "nothing")


def test_importing_stormgate_stays_light() -> None:
    code = (
        "import sys; before = set(sys.modules); import stormgate; "
        "print([m for m in set(sys.modules) - before if m.partition('.')[0] in "
        "('numpy', 'pyarrow', 'pydantic', 'scipy', 'pandas', 'click', 'rich', 'locust')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout.replace("'", '"')) == []
