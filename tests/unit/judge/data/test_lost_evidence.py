"""Operations that the harness lost, on disk: a worker that was killed, a block that was cut. Never
PASS, whatever was read back.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.judge.book import WORKER, Book

from stormgate.evidence.check import check_run
from stormgate.evidence.operation_files import FinalFile, OperationFile, write_planned
from stormgate.evidence.read import Run
from stormgate.judge.engine import judge_objective
from stormgate.model import Finding, Objective, Verdict, to_json

ROWS = 40


def folder(path: Path) -> Book:
    """A run of one worker in which nothing was lost, as files."""
    book = Book()
    for number in range(ROWS):
        book.write(f"k{number % 4}", 1 + number // 4, 33.0 + number / 10)
    for key in range(4):
        book.back(f"k{key}", ROWS // 4, "eu")
    run = book.run()
    (path / "plan.json").write_text(json.dumps(to_json(book.plan)))
    for name, rows in (("timeline", run.timeline), ("generator", run.generator)):
        (path / f"{name}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with OperationFile(path, WORKER) as file:
        for at, row in enumerate(book.users):
            file.add(**{key: value for key, value in row.items() if key != "op"})
            if at % 10 == 9:
                file.flush()
    write_planned(path, [(f"k{key}", "eu", "read") for key in range(4)])
    with FinalFile(path) as final:
        for row in book.final:
            final.add(**{key: value for key, value in row.items() if key != "op"})
    return book


def judged(path: Path, book: Book) -> Finding:
    objective = Objective(name="o", kind="ackedWrites", spec={"min_writes_near_fault": 1})
    return judge_objective(Run(path), book.plan, objective)


def operations(path: Path, name: str = WORKER) -> Path:
    return path / "operations" / f"{name}.arrow"


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    finding = judged(tmp_path, folder(tmp_path))
    assert (finding.verdict, finding.samples) == (Verdict.PASS, ROWS), finding.why
    assert not [p for p in check_run(tmp_path) if "operations" in p]


@pytest.mark.parametrize("share", [0.999, 0.9, 0.6, 0.3, 0.1, 0.0])
@pytest.mark.parametrize("name", [WORKER, "final", "planned"])
def test_a_file_that_was_cut_anywhere_is_never_a_pass(
    tmp_path: Path, share: float, name: str
) -> None:
    book = folder(tmp_path)
    file = operations(tmp_path, name)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    finding = judged(tmp_path, book)
    assert finding.verdict is Verdict.INCONCLUSIVE, finding.why
    assert [p for p in check_run(tmp_path) if f"operations/{name}.arrow" in p]


def test_a_file_that_is_gone_is_never_a_pass(tmp_path: Path) -> None:
    for name in (WORKER, "final", "planned"):
        book = folder(tmp_path / name if (tmp_path / name).mkdir() is None else tmp_path)
        operations(tmp_path / name, name).unlink()
        assert judged(tmp_path / name, book).verdict is Verdict.INCONCLUSIVE


def test_a_block_that_is_missing_between_two_others_is_missed(tmp_path: Path) -> None:
    """The stream reads as whole; only the worker's count knows."""
    book = folder(tmp_path)
    operations(tmp_path).unlink()
    with OperationFile(tmp_path, WORKER) as file:
        for row in book.users[:10] + book.users[20:]:
            file.add(**{key: value for key, value in row.items() if key != "op"})
    finding = judged(tmp_path, book)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "30 rows, but the worker says it wrote 40" in finding.why
    assert any("30 rows" in problem for problem in check_run(tmp_path))


def test_a_worker_that_was_killed_has_no_last_row(tmp_path: Path) -> None:
    book = folder(tmp_path)
    path = tmp_path / "generator.ndjson"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[-1]["final"] = False
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "did not end on purpose" in judged(tmp_path, book).why
    for row in rows:
        row.pop("operations", None)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "nobody counted them" in judged(tmp_path, book).why
