"""No secret of a plan is left in a verdict or in a log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stormgate.evidence.write import Journal
from stormgate.faults.ledger import Entry, Ledger, open_entries
from stormgate.faults.undo import undo_all
from stormgate.model import Component, Fault, Finding, Judgement, Load, Plan, Target, Verdict
from stormgate.supervise.hush import hushed, know_plan, sweep_logs
from stormgate.system import secrets


@pytest.fixture(autouse=True)
def unknowing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if secrets.looks_secret(name)]:
        monkeypatch.delenv(name)
    secrets.forget()
    yield
    secrets.forget()


def plan(experiment: str) -> Plan:
    return Plan(
        gate="hunter22",
        seed=1,
        confidence=0.95,
        target=Target(name="t", status_url="http://${STATUS_HOST}/"),
        load=Load(locustfile="l.py", rate_per_s=1, users=1),
        warmup_s=1,
        steady_s=1,
        final_s=1,
        faults=(Fault(name="f", experiment=experiment, recovery_s=1),),
        objectives=(),
    )


def test_a_plan_knows_what_it_takes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.yaml").write_text(
        "configuration: {a: {type: env, key: PLAIN}, b: {type: static, value: open}}\n"
        "secrets: {shop: {c: {type: env, key: DEEP}}}\n"
    )
    for name in ("STATUS_HOST", "PLAIN", "DEEP", "OTHER", "MY_TOKEN"):
        monkeypatch.setenv(name, f"value-of-{name}")
    know_plan(plan("x.yaml"), tmp_path)
    assert set(secrets.known().values()) == {"STATUS_HOST", "PLAIN", "DEEP", "MY_TOKEN"}
    secrets.forget()
    # What the plan says in plain is no secret, and joins what is measured.
    monkeypatch.setenv("PLAIN", "l.py")
    know_plan(plan("x.yaml"), tmp_path)
    assert set(secrets.known().values()) == {"STATUS_HOST", "DEEP", "MY_TOKEN"}
    secrets.forget()
    know_plan(plan("missing.yaml"), tmp_path)
    assert set(secrets.known().values()) == {"STATUS_HOST", "MY_TOKEN"}


def test_a_judgement_is_told_without_secrets_and_keeps_its_names() -> None:
    finding = Finding(
        name="hunter22",
        kind="validity",
        verdict=Verdict.ERROR,
        value=None,
        bound=None,
        limit=None,
        unit="",
        samples=0,
        why="it was hunter22",
        detail={"problems": ["hunter22", 2.5]},
    )
    judgement = Judgement(
        gate="hunter22",
        verdict=Verdict.ERROR,
        exit_code=4,
        plan_digest="d",
        objectives=(),
        validity=(finding,),
        why="it was hunter22",
    )
    assert hushed(judgement) is judgement
    secrets.know("TOKEN", "hunter22")
    told = hushed(judgement)
    assert (told.gate, told.why) == ("hunter22", "it was ***TOKEN***")
    assert told.validity[0].name == "hunter22"
    assert told.validity[0].detail == {"problems": ["***TOKEN***", 2.5]}


def test_logs_are_swept_where_they_lie(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "load.log").write_bytes(b"\xff it is hunter22\nand hunter22\n")
    (logs / "fine.log").write_bytes(b"\xff nothing")
    outside = tmp_path / "outside"
    outside.write_text("hunter22")
    (logs / "link.log").symlink_to(outside)
    secrets.know("TOKEN", "hunter22")
    sweep_logs(tmp_path)
    assert (logs / "load.log").read_bytes().endswith(b"it is ***TOKEN***\nand ***TOKEN***\n")
    assert (logs / "fine.log").read_bytes() == b"\xff nothing"
    assert outside.read_text() == "hunter22"
    assert (logs / "link.log").is_symlink()


def test_a_row_of_evidence_is_written_without(tmp_path: Path) -> None:
    secrets.know("TOKEN", "hunter22")
    with Journal(tmp_path / "x.ndjson") as journal:
        journal.append({"at_ns": 1, "fault": "hunter22", "why": {"x": ["hunter22"]}, "n": 5})
    text = (tmp_path / "x.ndjson").read_text()
    assert text == '{"at_ns":1,"fault":"hunter22","why":{"x":["***TOKEN***"]},"n":5}\n'


def test_a_ledger_refers_to_a_secret_and_its_undo_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stormgate.faults.context import make_context
    from stormgate.faults.errors import UndoFailed

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("PASSWORD", "hunter22")
    done = tmp_path / "done"
    part = Component(
        name="db",
        kind="database",
        backend="command",
        handle={
            "apply": {"crash": ["true"]},
            "undo": {"crash": ["sh", "-c", f'printf "%s" "$STORMGATE_PARAM_X" > {done}']},
            "observe": ["sh", "-c", 'echo "$STORMGATE_PARAM_X"; exit 1'],
        },
    )
    target = Target(name="t", components=(part,))
    entry = Entry(
        id="u1",
        instance="f1",
        batch="b1",
        fault="f",
        component="db",
        asked="crash",
        part=part,
        mode="crash",
        record={"mode": "crash", "environment": {"STORMGATE_PARAM_X": "hunter22"}},
    )
    secrets.know("PASSWORD", "hunter22")
    Ledger(tmp_path, target).intend([entry])
    assert "hunter22" not in (tmp_path / "undo.ndjson").read_text()
    context = make_context(target, tmp_path, fault="f", seed=1)

    secrets.forget()
    monkeypatch.delenv("PASSWORD")
    with pytest.raises(UndoFailed, match=r"needs the secret \$\{PASSWORD\}"):
        undo_all(context, deadline_s=1)
    assert len(open_entries(tmp_path)) == 1
    monkeypatch.setenv("PASSWORD", "hunter22")
    secrets.know("PASSWORD", "hunter22")
    assert undo_all(context, deadline_s=10) == ["db (crash)"]
    assert done.read_text() == "hunter22"
    assert "hunter22" not in (tmp_path / "undo.ndjson").read_text()
