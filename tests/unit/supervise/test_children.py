"""What load and chaos are told: they run in the suite's root, wherever the gate was started."""

from pathlib import Path

import pytest
from tests.golden.judge_writer import plan_of

from stormgate.supervise.children import environment, load_argv


def test_a_folder_named_from_elsewhere_is_found_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, root = Path("w1/r/run"), tmp_path / "w1"
    told = environment(folder, root)
    assert told["STORMGATE_EVIDENCE"] == str(tmp_path / "w1/r/run")
    assert told["STORMGATE_PLAN"] == str(tmp_path / "w1/r/run/plan.json")
    argv = load_argv(plan_of(), folder, root)
    assert argv[argv.index("--evidence") + 1] == str(tmp_path / "w1/r/run")
