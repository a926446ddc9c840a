"""The seal: what is not what was sealed is named, by `evidence check` and by the judge."""

import time
from pathlib import Path

import pytest
from tests.suite.fuzz_folders import make_run

from stormgate import judge_folder
from stormgate.evidence.manifest import check_manifest
from stormgate.model import Verdict


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path)
    assert judge_folder(tmp_path).verdict is Verdict.PASS
    assert check_manifest(tmp_path) == []
    return tmp_path


def swapped(path: Path) -> None:
    """Another file of the same length."""
    data = path.read_bytes()
    at = data.index(b"succeeded")
    path.write_bytes(data[:at] + b"SUCCEEDED" + data[at + 9 :])


CHANGES = [
    ("journals/kill.json", swapped, "changed since the run (SHA-256"),
    (
        "generator.ndjson",
        lambda path: path.write_text(path.read_text() + "\n"),
        "bytes, manifest.json says",
    ),
    ("readings.ndjson", lambda path: path.unlink(), "listed in manifest.json but missing"),
    ("samples/more.arrow", lambda path: path.touch(), "not listed in manifest.json"),
    ("samples/.hidden", lambda path: path.touch(), "not listed in manifest.json"),
    ("journals/manifest.json", lambda path: path.write_text("{}"), "not listed in manifest.json"),
    ("journals/more", lambda path: path.symlink_to("/"), "a link, which is no evidence"),
]


@pytest.mark.parametrize(("file", "change", "says"), CHANGES, ids=[c[0] for c in CHANGES])
def test_what_is_not_what_was_sealed_never_passes(run, file, change, says):
    change(run / file)
    judgement = judge_folder(run)
    assert judgement.verdict is not Verdict.PASS
    told = [f"{finding.why} {finding.detail}" for finding in judgement.validity]
    assert any(f"{file}: " in one and says in one for one in told)
    problems = check_manifest(run)
    assert [says in problem for problem in problems if problem.startswith(f"{file}: ")] == [True]


def test_a_file_without_end_is_not_read_to_its_end(run):
    with (run / "journals" / "kill.json").open("r+b") as file:
        file.truncate(1 << 40)
    begun = time.monotonic()
    assert any("1,099,511,627,776 bytes" in problem for problem in check_manifest(run))
    assert time.monotonic() - begun < 20


def test_a_folder_that_was_never_sealed_is_judged_as_it_is(run):
    (run / "manifest.json").unlink()
    swapped(run / "journals" / "kill.json")
    assert check_manifest(run) == ["manifest.json: missing (the run did not end by itself)"]
