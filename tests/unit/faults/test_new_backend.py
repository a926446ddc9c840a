"""A newcomer's backend: one file, and everything of it can be written in documents, asked for by an
experiment, checked with its line, broken, proven and undone. The steps stand in docs/faults.md.
"""

import json
from pathlib import Path

import pytest

from stormgate.commands.documents import lay_out
from stormgate.documents import DocumentErrors, load_gate
from stormgate.documents.schema import schemas
from stormgate.faults import backends
from stormgate.faults.context import make_context
from stormgate.faults.errors import CannotBreak, NoTarget
from stormgate.faults.inject import inject
from stormgate.faults.ledger import open_entries
from stormgate.faults.undo import undo_all

FILE = '''
"""Turn a flag of the product's off: a file says so, and somebody else can read it."""

from pathlib import Path

from pydantic import Field

from stormgate.faults.backends import Backend, Observation
from stormgate.faults.declared import Handle, Parameters


class FlagHandle(Handle):
    flag_file: str = Field(min_length=1)
    served_by: str


class Dim(Parameters):
    level: int = Field(ge=1, le=3)


class FlagBackend(Backend):
    handle = FlagHandle
    modes = {"dim": Dim}

    def hosts(self, handle):
        return (handle["served_by"],)

    def plan(self, request):
        return {"level": request.params["level"]}

    def apply(self, part, record, stop):
        Path(part.handle["flag_file"]).write_text(str(record["level"]))

    def undo(self, part, record, timeout_s):
        Path(part.handle["flag_file"]).unlink(missing_ok=True)

    def in_effect(self, part, record):
        flag = Path(part.handle["flag_file"])
        return Observation(flag.exists() and flag.read_text() == str(record["level"]), "the flag")

    def is_whole(self, part, record):
        return Observation(not Path(part.handle["flag_file"]).exists(), "the flag")


BACKEND = FlagBackend()
'''
COMPONENT = """    - name: checkout
      kind: feature
      region: home
      backend: flag
      handle: {flagFile: %s, servedBy: 127.0.0.1}
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    added = tmp_path / "added"
    added.mkdir()
    (added / "flag.py").write_text(FILE)
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(added)])
    forget()
    lay_out(tmp_path / "shop", "shop")
    monkeypatch.chdir(tmp_path / "shop")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    target = Path("targets/shop.yaml")
    target.write_text(target.read_text() + COMPONENT % (tmp_path / "flag"))
    yield tmp_path
    monkeypatch.undo()
    forget()


def forget():
    for cached in (backends.names, backends.get, backends.known_modes):
        cached.cache_clear()


def ask(arguments: str) -> None:
    """Let the starter's experiment break the feature instead of killing the service."""
    path = Path("experiments/web-loss.yaml")
    text = path.read_text().replace(
        'func: kill, arguments: {component: "${component}"}',
        f"func: break_component, arguments: {arguments}",
    )
    path.write_text(text.replace("component: web", "component: checkout"))


def test_one_file_is_enough(suite):
    ask('{component: "${component}", mode: dim, level: 2}')
    plan = load_gate(Path("slas/release.yaml"))
    part = plan.target.component("checkout")
    assert part.handle == {"flag_file": str(suite / "flag"), "served_by": "127.0.0.1"}
    (suite / "run").mkdir()
    context = make_context(plan.target, suite / "run", fault="f", seed=1)
    with pytest.raises(CannotBreak, match="level must be less than or equal to 3, not 4"):
        inject(context, [part], "dim", {"level": 4})
    rows = inject(context, [part], "dim", {"level": 2})
    assert [(row["component"], row["mode"]) for row in rows] == [("checkout", "dim")]
    assert (suite / "flag").read_text() == "2"
    undo_all(context)
    assert not (suite / "flag").exists()
    assert open_entries(context.folder) == []


def test_its_handle_its_hosts_and_its_schema_are_held(suite):
    target = Path("targets/shop.yaml")
    text = target.read_text()
    schema = schemas()["Target"]
    assert "flagFile" in json.dumps(schema["$defs"]["handle-flag"])
    target.write_text(text.replace("servedBy: 127.0.0.1", "servdBy: 127.0.0.1"))
    with pytest.raises(DocumentErrors, match=r"shop.yaml:\d+: .*did you mean 'servedBy'\?"):
        load_gate(Path("slas/release.yaml"))
    target.write_text(text.replace("servedBy: 127.0.0.1", "servedBy: 10.0.0.1"))
    with pytest.raises(DocumentErrors, match=r"shop.yaml:\d+: host '10.0.0.1' is not in allow"):
        load_gate(Path("slas/release.yaml"))
    target.write_text(text)
    stranger = load_gate(Path("slas/release.yaml")).target.component("checkout")
    hosts = backends.get("flag").hosts({**stranger.handle, "served_by": "10.0.0.1"})
    assert hosts == ("10.0.0.1",)


def test_a_plan_whose_backend_contacts_a_stranger_is_refused(suite):
    from dataclasses import replace

    plan = load_gate(Path("slas/release.yaml"))
    part = plan.target.component("checkout")
    elsewhere = replace(part, handle={**part.handle, "served_by": "10.0.0.1"})
    (suite / "run").mkdir()
    with pytest.raises(NoTarget, match=r"10\.0\.0\.1"):
        make_context(
            replace(plan.target, components=(elsewhere,)), suite / "run", fault="f", seed=1
        )


def test_without_its_file_it_cannot_be_written(suite, monkeypatch):
    monkeypatch.undo()
    forget()
    with pytest.raises(DocumentErrors, match=r"shop.yaml:\d+: .*no backend is called 'flag'"):
        load_gate(suite / "shop" / "slas" / "release.yaml")
