"""`stormgate use`: what plain `chaos run` acts on, and when that is not believed any more."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from stormgate.commands.documents import lay_out
from stormgate.commands.use import command
from stormgate.faults.context import from_environment
from stormgate.faults.errors import NoTarget
from stormgate.model import Target, to_json


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lay_out(tmp_path / "shop", "shop")
    monkeypatch.chdir(tmp_path / "shop")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "shop"


def use(*words: str):
    return CliRunner().invoke(command, words)


def test_chaos_acts_on_what_was_chosen_from_anywhere_in_the_suite(suite, monkeypatch):
    done = use("targets/shop.yaml")
    assert done.exit_code == 0, done.output
    assert "from targets/shop.yaml" in done.output
    context = from_environment({})
    assert context.target.name == "shop"
    assert context.folder.parent == suite / "reports"
    assert not (suite / "reports/latest").exists(), "that is for runs of a gate"
    monkeypatch.chdir(suite / "experiments")
    assert from_environment({}).target.name == "shop"


def test_the_environment_wins(suite, tmp_path):
    use("targets/shop.yaml")
    path = tmp_path / "other.json"
    path.write_text(json.dumps(to_json(Target(name="other"))))
    assert from_environment({"STORMGATE_TARGET": str(path)}).target.name == "other"


def test_a_resolved_target_is_one_too(suite, tmp_path):
    path = tmp_path / "topology.json"
    path.write_text(json.dumps(to_json(Target(name="other"))))
    assert use(str(path)).exit_code == 0
    assert from_environment({}).target.name == "other"
    path.unlink()
    with pytest.raises(NoTarget, match=r"topology.json, which .* is gone: choose another"):
        from_environment({})


def test_one_that_changed_since_is_not_acted_on(suite):
    use("targets/shop.yaml")
    path = suite / "targets/shop.yaml"
    path.write_text(path.read_text() + "# another day\n")
    with pytest.raises(NoTarget, match=r"targets/shop.yaml has changed .* run it again"):
        from_environment({})
    assert use("targets/shop.yaml").exit_code == 0
    assert from_environment({}).target.name == "shop"


def test_production_still_wants_its_word(suite):
    path = suite / "targets/shop.yaml"
    text = path.read_text()
    assert "environment: test" in text
    path.write_text(text.replace("environment: test", "environment: production"))
    assert "STORMGATE_ALLOW_PRODUCTION=1" in use("targets/shop.yaml").output
    with pytest.raises(NoTarget, match="is production"):
        from_environment({})
    assert from_environment({"STORMGATE_ALLOW_PRODUCTION": "1"}).target.name == "shop"


def test_forgotten(suite):
    use("targets/shop.yaml")
    assert use("--forget").output == "forgotten\n"
    assert use("--forget").output == "there was none\n"
    with pytest.raises(NoTarget, match="stormgate use TARGET"):
        from_environment({})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name a target, or --forget"),
        (("targets/shop.yaml", "--forget"), "name a target, or --forget"),
        (("targets/shp.yaml",), "there is no such file"),
        (("slas/release.yaml",), "slas/release.yaml:"),
        (("nothing.json",), "No such file"),
        (("broken.json",), "not a resolved target"),
    ],
)
def test_bad_input_changes_nothing(suite, words, says):
    (suite / "broken.json").write_text('{"name": 3, "regions": 4}')
    done = use(*words)
    assert done.exit_code in (1, 2)
    assert says in done.output
    assert not (suite / ".stormgate").exists()


def test_a_lab_has_to_run(suite, tmp_path):
    path = suite / "targets/lab.yaml"
    path.write_text((Path(__file__).parents[3] / "targets/lab.yaml").read_text())
    done = use("targets/lab.yaml", "--state", str(tmp_path / "none"))
    assert done.exit_code == 1
    assert "none runs in" in done.output
    assert "stormgate lab up" in done.output
