"""The command backend: somebody's own scripts, believed only as far as they can be observed."""

import functools
import stat
import sys
import threading
import time
from dataclasses import replace

import pytest

from stormgate.faults.context import make_context
from stormgate.faults.errors import CannotBreak, NotApplied, NotWhole, UndoFailed, Unproven
from stormgate.faults.inject import inject
from stormgate.faults.ledger import open_entries
from stormgate.faults.undo import undo_all, undo_entries
from stormgate.model import Component, Target

pytestmark = pytest.mark.live

SCRIPT = """#!{python}
import os, pathlib, sys
flag, step = pathlib.Path(sys.argv[1]), sys.argv[2]
if step == "apply":
    flag.write_text(" ".join(os.environ["STORMGATE_" + name] for name in ("COMPONENT", "MODE", "PARAM_LATENCY_MS")))
elif step == "dawdle":
    import time; time.sleep(60)
elif step == "undo":
    flag.unlink(missing_ok=True)
elif step == "fail":
    print("no permission"); sys.exit(7)
elif step == "observe":
    sys.exit(0 if flag.exists() else 1)
"""  # noqa: E501


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    path = tmp_path / "break.py"
    path.write_text(SCRIPT.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "run").mkdir()

    def context(**steps):
        argv = {step: [str(path), str(tmp_path / "flag"), verb] for step, verb in steps.items()}
        handle = {"apply": {"slow": argv["apply"]}, "undo": {"slow": argv["undo"]}}
        handle |= {"observe": argv["observe"]} if "observe" in argv else {}
        component = Component(name="db", kind="database", backend="command", handle=handle)
        return make_context(
            Target(name="t", components=(component,)), tmp_path / "run", fault="f", seed=1
        ), component

    return context


def test_applied_with_its_parameters_proven_and_undone(script, tmp_path):
    context, component = script(apply="apply", undo="undo", observe="observe")
    inject(context, [component], "slow", {"latency_ms": 30})
    assert (tmp_path / "flag").read_text() == "db slow 30"
    undo_all(context)
    assert not (tmp_path / "flag").exists()
    assert open_entries(context.folder) == []


def test_an_apply_that_fails_is_taken_back(script):
    context, component = script(apply="fail", undo="undo", observe="observe")
    with pytest.raises(NotApplied, match="ended with 7: no permission"):
        inject(context, [component], "slow", {"latency_ms": 30})
    assert open_entries(context.folder) == []


def test_an_apply_without_effect_is_unproven(script):
    context, component = script(apply="undo", undo="undo", observe="observe")
    with pytest.raises(Unproven):
        inject(context, [component], "slow", {"latency_ms": 30}, proof_s=0.2)
    assert open_entries(context.folder) == []


def test_an_undo_that_only_says_so_is_not_believed(script):
    context, component = script(apply="apply", undo="observe", observe="observe")
    inject(context, [component], "slow", {"latency_ms": 30})
    with pytest.raises(UndoFailed, match="not seen to be"):
        undo_all(context, deadline_s=0.3)
    assert len(open_entries(context.folder)) == 1


def test_a_broken_observer_proves_neither_fault_nor_health(script, monkeypatch):
    # The observer fails for ever: how long it is asked again is not what is tried here.
    soon = functools.partial(undo_entries, deadline_s=3)
    monkeypatch.setattr("stormgate.faults.inject.undo_entries", soon)
    context, component = script(apply="apply", undo="undo", observe="fail")
    with pytest.raises(UndoFailed, match="ended with 7"):
        inject(context, [component], "slow", {"latency_ms": 30}, proof_s=0.2)
    context, component = script(apply="apply", undo="undo")
    with pytest.raises(CannotBreak, match="no `observe`"):
        inject(context, [component], "slow", {"latency_ms": 30})
    with pytest.raises(CannotBreak, match=r"cannot freeze .it can slow"):
        inject(context, [component], "freeze")


def test_a_fault_that_was_there_before_is_not_ours(script, tmp_path):
    (tmp_path / "flag").touch()
    context, component = script(apply="apply", undo="undo", observe="observe")
    with pytest.raises(NotWhole, match="before it was made"):
        inject(context, [component], "slow", {"latency_ms": 30})


def test_a_command_that_dawdles_is_ended_when_the_run_is_stopped(script):
    context, component = script(apply="dawdle", undo="undo", observe="observe")

    def stop_when_begun():
        while not open_entries(context.folder):
            time.sleep(0.02)
        time.sleep(0.2)
        context.stopping.set()

    threading.Thread(target=stop_when_begun, daemon=True).start()
    begun = time.monotonic()
    with pytest.raises(NotApplied, match="was stopped"):
        inject(context, [component], "slow", {"latency_ms": 30})
    assert time.monotonic() - begun < 30
    assert open_entries(context.folder) == []


def test_a_command_finds_a_secret_in_its_environment_and_never_among_its_words(
    script, tmp_path, monkeypatch
):
    monkeypatch.setenv("WHERE_THE_FLAG_IS", str(tmp_path / "flag"))
    context, component = script(apply="apply", undo="undo", observe="observe")
    program, flag, word = component.handle["observe"]
    observe = ["sh", "-c", f'exec {program} "$WHERE_THE_FLAG_IS" {word}']
    assert flag == str(tmp_path / "flag")
    component = replace(component, handle={**component.handle, "observe": observe})
    inject(context, [component], "slow", {"latency_ms": 30})
    undo_all(context)
    assert open_entries(context.folder) == []
    for step, handle in (
        ("observe", {"observe": [program, "${WHERE_THE_FLAG_IS}", word]}),
        ("undo", {"undo": {"slow": ["sh", "-c", "true x${WHERE_THE_FLAG_IS}"]}}),
    ):
        shown = replace(component, handle={**component.handle, **handle})
        with pytest.raises(CannotBreak, match=rf"{step} has \$\{{WHERE_THE_FLAG_IS\}} among"):
            inject(context, [shown], "slow", {"latency_ms": 30})
    assert open_entries(context.folder) == []
