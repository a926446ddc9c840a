"""The ways Chaos Toolkit ends green, or without undoing: each is played for real, and none fools
us.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tests.live.chaos_fixture import ROOT, wait_until, world
from tests.live.chaos_world import answers

from stormgate.commands.restore import restore_command
from stormgate.faults import trust
from stormgate.faults.ledger import open_entries
from stormgate.faults.restore import open_ledgers, restore
from stormgate.judge.journal import problems
from stormgate.model import Verdict

pytestmark = pytest.mark.live

ACTIONS, PROBES, DRIVERS = (
    "stormgate.chaos.actions",
    "stormgate.chaos.probes",
    "tests.live.chaos_drivers",
)
UNDONE_S = 5.0
# Seconds the test allows beyond the promise, for a machine with more to do than cores.
SLACK_S = 3.0


def activity(kind, name, module, func, arguments=None, **more):
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments or {}}
    provider |= {"timeout": more.pop("timeout")} if "timeout" in more else {}
    return {"type": kind, "name": name, "provider": provider, **more}


KILL = activity("action", "kill", ACTIONS, "kill", {"component": "a/edge"})
SLOW = activity(
    "action", "slow", ACTIONS, "slow", {"component": "link:a/edge->b/service", "latency_ms": 80}
)
HOLD = activity("action", "hold", ACTIONS, "hold", {"seconds": 60})
UNDO = activity("action", "undo", ACTIONS, "undo")
WHOLE = activity("action", "whole", ACTIONS, "wait_until_whole", {"deadline_s": 20})
LOOK = activity("probe", "look", PROBES, "target_whole", tolerance=True)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    tmp = tmp_path_factory.mktemp("runner")
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp / "xdg")
    with world(tmp) as made:
        yield made
    os.environ.pop("XDG_STATE_HOME")
    if before is not None:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture
def here(shared):
    for name in ("timeline.ndjson", "undo.ndjson", "chaos.log", "mark", "journals/trial.json"):
        (shared.folder / name).unlink(missing_ok=True)
    yield shared
    restore(shared.folder)
    assert wait_until(lambda: restore(shared.folder).clean)


def write(world, method, rollbacks=(UNDO, WHOLE), hypothesis=(), **more):
    experiment = {
        "title": "t",
        "description": "d",
        "method": list(method),
        "rollbacks": list(rollbacks),
        **more,
    }
    if hypothesis:
        experiment["steady-state-hypothesis"] = {"title": "h", "probes": list(hypothesis)}
    path = world.folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


def play(world, *args, **kwargs):
    code = world.chaos(write(world, *args, **kwargs)).wait(90)
    return code, problems(world.journal())


def whole(world):
    assert open_entries(world.folder) == [], world.log()
    assert open_ledgers(world.target.name) == []
    assert answers(world.ports["a/edge"], 2)
    return True


def severities(found):
    return {problem.severity for problem in found}


def test_the_real_experiment_ends_whole_in_the_right_order(here):
    process = here.chaos(
        ROOT / "experiments/region-loss.yaml", "--configuration", '{"region": "a", "hold_s": 0.5}'
    )
    assert process.wait(90) == 0, here.log()
    assert problems(here.journal()) == []
    expected = [
        "fault.requested",
        "fault.acknowledged",
        "fault.observed",
        "chaos.rollback",
        "fault.cleared",
    ]
    assert here.events() == expected
    assert whole(here)


def test_an_unmet_baseline_breaks_nothing_and_is_not_green(here):
    code, found = play(
        here, [KILL], hypothesis=[activity("probe", "p", DRIVERS, "value", {"of": 3}, tolerance=4)]
    )
    assert (code, here.journal()["status"], here.journal()["deviated"]) == (
        0,
        "completed",
        False,
    ), "Chaos Toolkit ends green here"
    assert severities(found) == {Verdict.INCONCLUSIVE}
    assert "fault.requested" not in here.events()
    assert [run["output"] for run in here.journal()["rollbacks"]] == [[], "nothing was broken"]


def test_a_baseline_probe_that_raises_breaks_nothing_and_is_an_error(here):
    _, found = play(
        here, [KILL], hypothesis=[activity("probe", "p", DRIVERS, "fail", tolerance=True)]
    )
    assert Verdict.ERROR in severities(found)
    assert "fault.requested" not in here.events()


def test_a_probe_after_the_method_that_raises_still_undoes(here):
    """With Chaos Toolkit's own strategy there would be no rollback here and the fault would
    stay.
    """
    gone = activity(
        "probe", "p", PROBES, "component_answers", {"component": "a/edge"}, tolerance=True
    )
    _, found = play(here, [KILL], rollbacks=[UNDO], hypothesis=[gone])
    assert severities(found) == {Verdict.INCONCLUSIVE}
    assert whole(here)


@pytest.mark.parametrize("background", [False, True])
def test_a_failed_action_is_an_error_though_the_journal_says_completed(here, background):
    bad = activity("action", "bad", DRIVERS, "fail", background=background)
    code, found = play(here, [SLOW, bad])
    assert (code, here.journal()["status"]) == (0, "completed")
    assert severities(found) == {Verdict.ERROR}
    assert whole(here)


def test_an_empty_selection_is_an_error_and_not_a_fault_on_nothing(here):
    _, found = play(
        here, [activity("action", "kill", ACTIONS, "kill", {"component": {"kind": "cache"}})]
    )
    assert any("EmptySelection" in problem.why for problem in found)


@pytest.mark.parametrize(
    ("rollback", "severity"),
    [
        (activity("action", "r", DRIVERS, "fail"), Verdict.DIRTY),
        (activity("action", "r", DRIVERS, "value", {"of": False}), Verdict.DIRTY),
    ],
    ids=["raises", "returns false"],
)
def test_a_rollback_that_fails_is_dirty_though_the_journal_says_completed(here, rollback, severity):
    code, found = play(here, [SLOW], rollbacks=[rollback])
    assert (code, here.journal()["status"]) == (0, "completed")
    assert severities(found) == {severity}
    assert whole(here), "our own fault was undone all the same"


def test_without_any_rollback_everything_is_undone_all_the_same(here):
    code, found = play(here, [KILL, SLOW], rollbacks=[])
    assert (code, found) == (0, [])
    assert whole(here)
    assert here.events()[-3:] == ["chaos.rollback", "fault.cleared", "fault.cleared"]


def test_a_probe_of_the_method_is_held_against_its_tolerance(here):
    bad = activity(
        "probe", "p", DRIVERS, "value", {"of": 5}, tolerance={"type": "range", "range": [1, 3]}
    )
    good = activity(
        "probe", "q", DRIVERS, "value", {"of": 2}, tolerance={"type": "range", "range": [1, 3]}
    )
    _, found = play(here, [SLOW, bad, good])
    assert [problem.why for problem in found] == ["'p' was 5, out of its tolerance"]


def test_a_python_timeout_that_chaos_toolkit_ignores_is_said(here):
    play(here, [activity("action", "s", DRIVERS, "sleep", {"seconds": 0.1}, timeout=1)])
    assert "ignores `timeout`" in here.log()


def test_runtime_in_the_experiment_cannot_switch_the_undo_off(here):
    play(here, [KILL], rollbacks=[UNDO], runtime={"rollbacks": {"strategy": "never"}})
    assert len(here.journal()["rollbacks"]) == 1
    assert whole(here)


def test_somebody_elses_crashing_control_stops_nothing(here):
    broken = {"name": "broken", "provider": {"type": "python", "module": "no.such.module"}}
    code, found = play(here, [SLOW], controls=[broken])
    assert (code, found) == (0, [])
    assert whole(here)


@pytest.mark.parametrize(
    "text",
    ["title: [", "title: t\ndescription: d\nmethod: [{type: action, name: x}]\n"],
    ids=["no yaml", "no provider"],
)
def test_an_experiment_that_cannot_be_run_leaves_a_journal_and_says_why(here, text):
    path = here.folder / "experiment.yaml"
    path.write_text(text)
    assert here.chaos(path).wait(60) == Verdict.ERROR.exit_code
    assert Verdict.ERROR in severities(problems(here.journal()))


# -- stopping

SLEEP = activity("action", "long", DRIVERS, "sleep", {"seconds": 60})


def stop(
    world, method, number, at=lambda world: "fault.observed" in world.events(), after_s=0.2, **more
):
    process = world.chaos(write(world, method, **more))
    try:
        assert wait_until(lambda: at(world), 60), world.log()
        time.sleep(after_s)
        begun = time.monotonic()
        process.send_signal(number)
        assert wait_until(lambda: open_entries(world.folder) == [], 30), world.log()
        undone_s = time.monotonic() - begun
        code = process.wait(30)
    finally:
        process.kill()
        process.wait()
    return undone_s, code


SLOW_SIGNALS = [
    pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGUSR1, signal.SIGHUP)
]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, *SLOW_SIGNALS], ids=lambda n: n.name
)
def test_any_signal_in_the_middle_of_somebodys_activity_undoes_everything(here, number):
    undone_s, code = stop(here, [KILL, SLEEP], number)
    assert undone_s < UNDONE_S + SLACK_S
    assert code == Verdict.ABORTED.exit_code
    assert here.journal()["status"] == "interrupted"
    assert severities(problems(here.journal())) == {Verdict.ABORTED}
    assert whole(here)


@pytest.mark.parametrize(
    "method",
    [
        [KILL, HOLD],
        [{**KILL, "pauses": {"after": 60}}, SLOW],
        [KILL, {**SLEEP, "background": True}, HOLD],
    ],
    ids=["hold", "pause", "background sleep"],
)
def test_a_stop_undoes_within_seconds_wherever_the_run_is(here, method):
    undone_s, code = stop(here, method, signal.SIGTERM)
    assert undone_s < UNDONE_S + SLACK_S
    assert code != 0
    assert Verdict.ABORTED in severities(problems(here.journal()))
    assert Verdict.DIRTY not in severities(problems(here.journal()))
    assert whole(here)


def test_an_activity_that_swallows_everything_cannot_keep_the_fault(here):
    mark = here.folder / "mark"
    method = [
        KILL,
        activity("action", "stubborn", DRIVERS, "stubborn", {"seconds": 60, "mark": str(mark)}),
    ]
    undone_s, code = stop(here, method, signal.SIGTERM, at=lambda world: mark.exists())
    assert undone_s < UNDONE_S + SLACK_S
    assert code != 0
    assert Verdict.ABORTED in severities(problems(here.journal()))
    assert whole(here)


def test_more_signals_while_undoing_change_nothing(here):
    process = here.chaos(write(here, [KILL, HOLD]))
    assert wait_until(lambda: "fault.observed" in here.events(), 60)
    process.send_signal(signal.SIGTERM)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    assert process.returncode == Verdict.ABORTED.exit_code, here.log()
    assert whole(here)


def test_a_stop_before_anything_was_broken_breaks_nothing(here):
    mark = here.folder / "mark"
    method = [
        activity("action", "long", DRIVERS, "sleep", {"seconds": 60, "mark": str(mark)}),
        KILL,
    ]
    _, code = stop(here, method, signal.SIGTERM, at=lambda world: mark.exists())
    assert code == Verdict.ABORTED.exit_code
    assert "fault.requested" not in here.events()


def test_when_the_parent_is_killed_the_faults_are_undone(here):
    experiment = write(here, [KILL, HOLD])
    code = (
        "import sys, time; from stormgate.system import processes\n"
        "child = processes.spawn([sys.executable, '-m', 'stormgate.chaos.run', sys.argv[1], "
        "'--fault', 'trial'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(experiment)],
        env=here.environment,
        cwd=here.folder,
        stdout=subprocess.PIPE,
    )
    try:
        assert wait_until(lambda: "fault.observed" in here.events(), 60)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert wait_until((here.folder / "journals/trial.json").exists, 30)
    assert wait_until(lambda: open_entries(here.folder) == [], 5)
    assert whole(here)


# -- restoring


def resealed(ledger, old, new):
    """The ledger with other words, as this user would have written it."""
    before, lines = "", []
    for line in ledger.read_text().replace(old, new).splitlines():
        row = trust.sealed(json.loads(line), before)
        before = row[trust.MAC]
        lines.append(json.dumps(row, separators=(",", ":")) + "\n")
    ledger.write_text("".join(lines))


def killed(world):
    (world.folder / "timeline.ndjson").unlink(missing_ok=True)
    process = world.chaos(write(world, [KILL, SLOW, HOLD]))
    assert wait_until(lambda: world.events().count("fault.observed") == 2, 60), world.log()
    process.kill()
    process.wait()
    assert not answers(world.ports["a/edge"])


def test_restore_after_kill_9_makes_it_whole_and_is_idempotent(here):
    killed(here)
    found = open_ledgers(here.target.name)
    assert [(each.folder, len(each.open)) for each in found] == [(here.folder.resolve(), 2)]
    report = restore(here.folder)
    assert (report.clean, report.whole, report.problems) == (True, True, ())
    assert report.undone == ("link:a/edge->b/service (slow)", "a/edge (crash)"), "newest first"
    assert whole(here)
    again = restore(here.folder)
    assert (again.clean, again.undone) == (True, ())


def test_the_restore_command_finds_it_without_being_told(here):
    killed(here)
    done = CliRunner().invoke(restore_command, [], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "undone: a/edge (crash)" in done.output
    assert whole(here)
    done = CliRunner().invoke(restore_command, [], standalone_mode=False)
    assert "nothing to restore" in done.output


def test_the_restore_command_leaves_a_live_run_alone(here):
    process = here.chaos(write(here, [KILL, HOLD]))
    try:
        assert wait_until(lambda: "fault.observed" in here.events(), 60)
        for arguments in ([], [str(here.folder)]):
            done = CliRunner().invoke(restore_command, arguments, standalone_mode=False)
            assert done.return_value == Verdict.DIRTY.exit_code
            assert f"process {process.pid}" in done.output
        assert len(open_entries(here.folder)) == 1
        assert (
            CliRunner().invoke(restore_command, ["--force"], standalone_mode=False).return_value
            == 0
        )
        assert whole(here)
    finally:
        process.terminate()
        process.wait(30)


def test_a_restore_that_cannot_is_dirty_and_says_what_and_why(here):
    killed(here)
    ledger = here.folder / "undo.ndjson"
    right = ledger.read_text()
    resealed(ledger, '"start",', '"stutter",')
    done = CliRunner().invoke(
        restore_command, [str(here.folder), "--deadline", "1"], standalone_mode=False
    )
    assert done.return_value == Verdict.DIRTY.exit_code
    assert "NOT undone: a/edge (crash)" in done.output
    ledger.write_text(right)
    assert restore(here.folder).clean


def test_a_dead_toxiproxy_is_dirty_not_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    with world(tmp_path) as here:
        process = here.chaos(write(here, [SLOW, HOLD]))
        assert wait_until(lambda: "fault.observed" in here.events(), 60)
        here.proxies.process.kill()
        here.proxies.process.wait()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        process.kill()
        process.wait()
        report = restore(here.folder, deadline_s=2)
        assert not report.clean
        assert "link:a/edge->b/service (slow)" in report.problems[0]
        assert len(open_ledgers(here.target.name)) == 1


def test_the_ledger_of_a_lab_that_is_gone_is_void(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    with world(tmp_path, lab=True) as here:
        killed(here)
        assert restore(here.folder, deadline_s=10).undone, (
            "while it lives it is restored as any other"
        )
        killed(here)
    report = restore(here.folder)
    assert (report.clean, report.void) == (True, True)
    assert "gone" in report.why
    assert open_ledgers(here.target.name) == []


# -- plain Chaos Toolkit


def chaos_cli(world, *args, **environment):
    env = {**world.environment, **environment}
    argv = [str(Path(sys.executable).with_name("chaos")), "--no-version-check", "run", *args]
    return subprocess.run(
        argv,
        env={k: v for k, v in env.items() if v},
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_plain_chaos_run_with_our_control_undoes_even_when_told_not_to(here):
    control = {
        "name": "stormgate",
        "provider": {"type": "python", "module": "stormgate.chaos.control"},
    }
    write(here, [KILL], controls=[control])
    done = chaos_cli(here, "--rollback-strategy", "never", "experiment.yaml")
    assert done.returncode == 0, done.stderr
    assert whole(here)
    assert here.events() == [
        "chaos.begin",
        "fault.requested",
        "fault.acknowledged",
        "fault.observed",
        "chaos.rollback",
        "fault.cleared",
    ]
    journal = json.loads((here.folder / "journals/chaos.json").read_bytes())
    assert journal["stormgate"]["open"] == []


def test_plain_chaos_run_that_fails_fast_leaves_no_fault(here):
    """Chaos Toolkit plays no rollback then, and says so nowhere: our control undoes."""
    control = {
        "name": "stormgate",
        "provider": {"type": "python", "module": "stormgate.chaos.control"},
    }
    up = activity(
        "probe", "up", PROBES, "component_answers", {"component": "a/edge"}, tolerance=True
    )
    write(
        here,
        [KILL, activity("action", "wait", DRIVERS, "sleep", {"seconds": 2})],
        controls=[control],
        hypothesis=[up],
    )
    fast = (
        "--hypothesis-strategy",
        "during-method-only",
        "--hypothesis-frequency",
        "0.2",
        "--fail-fast",
    )
    done = chaos_cli(here, *fast, "experiment.yaml")
    assert done.returncode == 1, done.stderr
    journal = json.loads((here.folder / "journals/chaos.json").read_bytes())
    assert (journal["status"], journal["rollbacks"]) == ("failed", [])
    assert whole(here)


def test_plain_chaos_run_without_a_target_touches_nothing_and_says_how_to_get_one(here):
    experiment = ROOT / "experiments/region-loss.yaml"
    done = chaos_cli(here, str(experiment), STORMGATE_TARGET="", STORMGATE_EVIDENCE="")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert said.count("STORMGATE_PLAN") == 1, said
    assert "stormgate lab up" in said
    assert not (here.folder / "reports").exists()


def test_plain_chaos_run_without_a_run_folder_makes_one(here):
    control = {
        "name": "stormgate",
        "provider": {"type": "python", "module": "stormgate.chaos.control"},
    }
    write(here, [SLOW], controls=[control])
    done = chaos_cli(here, "experiment.yaml", STORMGATE_EVIDENCE="")
    assert done.returncode == 0, done.stderr
    made = list((here.folder / "reports").glob("2*"))
    assert len(made) == 1
    assert (made[0] / "undo.ndjson").exists()
    assert open_entries(made[0]) == []
