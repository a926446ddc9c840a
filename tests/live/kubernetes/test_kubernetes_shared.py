"""A cluster that others use, too: its lock, its roles, and what a run that is gone left marked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.live.chaos_fixture import wait_until
from tests.live.kubernetes.here import Here
from tests.live.kubernetes.standin import kubeconfig

from stormgate.faults import backends
from stormgate.faults.backends.kubernetes.lock import NAME, OWNER
from stormgate.faults.errors import CannotBreak
from stormgate.faults.looks.leftovers import undo_left
from stormgate.faults.restore import restore
from stormgate.faults.state import ProcessOwner

pytestmark = pytest.mark.live

BREAK = """
import sys, json
from pathlib import Path
from stormgate.faults.context import make_context
from stormgate.faults.inject import inject
from stormgate.model import Target, from_json
target = from_json(Target, json.loads(Path(sys.argv[1]).read_text()))
context = make_context(target, Path(sys.argv[2]), fault="trial", seed=0)
parts = {part.name: part for part in target.components}
inject(context, [parts["web"]], "scale_down", {})
inject(context, [parts["zone"]], "zone_loss", {})
inject(context, [parts["front"]], "detach", {})
print("broken", flush=True)
sys.stdin.read()
"""


def lease(here: Here, namespace="shop"):
    return here.world.objects.get(("leases", namespace, NAME))


def killed_in_mid_fault(here: Here):
    """Another process breaks three things and is killed with SIGKILL; the target it broke."""
    from stormgate.model import to_json

    here.world.workload("deployments", "api", 6)
    here.world.service("front", "api")
    here.world.wait("api", 6)
    parts = (
        here.web(),
        here.part("zone", zone="zone-a"),
        here.part("front", namespace="shop", service="front"),
    )
    target = here.target(*parts)
    path = here.folder.parent / "target.json"
    path.write_text(json.dumps(to_json(target)))
    argv = [sys.executable, "-c", BREAK, str(path), str(here.folder)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline().strip() == "broken"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()
    return target


def whole(here: Here):
    assert here.deployment()["spec"]["replicas"] == 3
    assert not here.world.one("nodes", None, "node-a1")["spec"].get("taints")
    assert here.world.one("services", "shop", "front")["spec"]["selector"] == {"app": "api"}


def test_a_killed_run_is_restored_by_its_ledger_from_another_process(here):
    killed_in_mid_fault(here)
    report = restore(here.folder, 10.0)
    assert len(report.undone) == 3, report
    assert report.clean
    whole(here)


def test_a_lost_ledger_is_made_up_for_by_the_cluster_itself(here):
    target = killed_in_mid_fault(here)
    (here.folder / "undo.ndjson").unlink()
    said = []
    found = undo_left(target, 10.0, say=said.append)
    assert found.failed == ()
    assert len(found.undone) == len(said) == 3
    assert found.looked == ("kubernetes",)
    whole(here)
    assert undo_left(target, 2.0).undone == (), "nothing is marked any more"


def test_a_mark_that_cannot_be_read_hides_none_of_the_others(here, tmp_path):
    target = killed_in_mid_fault(here)
    (here.folder / "undo.ndjson").unlink()
    broken = here.world.one("deployments", "shop", "api")
    broken["metadata"]["labels"] = {"stormgate.dev/run": "x"}
    broken["metadata"]["annotations"]["stormgate.dev/undo-x"] = "{"
    found = undo_left(target, 10.0)
    assert len(found.undone) == 3
    [problem] = found.failed
    assert problem.startswith("kubernetes: deployments/api: its mark cannot be read: ")
    whole(here)


def test_the_role_to_look_is_what_restoring_by_the_cluster_takes(here, tmp_path):
    """Beside the role to break; who has only that is told what it may not list, and from where."""
    from ruamel.yaml import YAML

    backend = backends.get("kubernetes")
    config = kubeconfig(tmp_path / "limited", here.port, "limited")
    limited = here.part("web", namespace="shop", deployment="web", kubeconfig=str(config))
    target = here.target(limited)
    texts = [backend.permissions([(limited, ["scale_down"])]), backend.permissions_to_look(target)]
    rules = [
        {(verb, what) for rule in role["rules"] for what in rule["resources"]
         for verb in rule["verbs"]}
        for text in texts
        for role in YAML(typ="safe").load_all(text)
    ]  # fmt: skip
    here.world.rules["limited"] = rules[0]
    here.break_(limited, "scale_down")
    here.context.watch.end()
    found = undo_left(target, 5.0, force=True)
    assert found.undone == ()
    assert 'cannot list resource "deployments"' in found.failed[0]
    here.world.rules["limited"] = rules[0] | rules[1]
    found = undo_left(target, 5.0, force=True)
    assert (len(found.undone), found.failed) == (1, ())
    assert here.deployment()["spec"]["replicas"] == 3
    here.undo()


def test_the_cluster_of_a_run_that_is_alive_is_left_alone(here):
    here.break_(here.web(), "scale_down")
    found = undo_left(here.context.target, 2.0)
    assert len(found.failed) == 1
    assert "its run is alive (process" in found.failed[0]
    assert here.deployment()["spec"]["replicas"] == 0
    here.undo()


def test_restore_by_the_cluster_wants_a_target_document(tmp_path):
    from stormgate.commands.restore import restore_command

    done = CliRunner().invoke(restore_command, ["--cluster"])
    assert done.exit_code == 2
    assert "name it by --target" in done.output


def test_two_runs_never_share_a_namespace(here):
    here.break_(here.web(), "scale_down")
    held = lease(here)
    assert "process" in held["spec"]["holderIdentity"]
    here.undo()
    assert lease(here) is None, "the last undo gives it back"
    # Another machine's run, renewed just now, then one that has run out.
    owner = {**ProcessOwner.this().to_dict(), "boot": "another", "machine": "x/far"}
    held["metadata"]["annotations"][OWNER] = json.dumps(owner)
    held["spec"]["holderIdentity"] = "process 7 on far"
    here.world.objects[("leases", "shop", NAME)] = held
    with pytest.raises(CannotBreak, match="namespace shop is in use by process 7 on far; wait"):
        here.break_(here.web(), "scale_down")
    assert here.deployment()["spec"]["replicas"] == 3
    held["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
    here.break_(here.web(), "scale_down")
    assert lease(here)["spec"]["holderIdentity"] != "process 7 on far"
    here.undo()


def test_the_role_that_is_printed_is_all_that_is_used_and_enough(here, tmp_path):
    """The calls of a whole life of each fault, by a user who may do just what the role says."""
    from ruamel.yaml import YAML

    backend = backends.get("kubernetes")
    here.world.workload("deployments", "api", 12)  # something runs wherever what is left runs
    here.world.wait("api", 12)
    cases = [
        (here.web(), "evict"),
        (here.web(), "scale_down"),
        (here.part("svc", namespace="shop", service="web"), "detach"),
        (here.part("n", region="us-east"), "drain"),
    ]
    config = kubeconfig(tmp_path / "limited", here.port, "limited")
    for part, mode in cases:
        text = backend.permissions([(part, [mode])])
        rules = [rule for role in YAML(typ="safe").load_all(text) for rule in role["rules"]]
        here.world.rules["limited"] = {
            (verb, resource)
            for rule in rules
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        limited = here.part(part.name, **{**part.handle, "kubeconfig": str(config)})
        rows = backend.check(limited, [mode], here.context.target)
        assert [row.saw for row in rows if not row.ok] == []
        here.break_(limited, mode)
        here.undo()
        for missing in sorted(here.world.rules["limited"]):
            if missing[0] in ("patch", "delete"):
                here.world.rules["limited"].discard(missing)
                rows = backend.check(limited, [mode], here.context.target)
                denied = [row.saw for row in rows if not row.ok]
                assert any(f"{missing[0]} {missing[1]}" in saw for saw in denied)
                break


def test_check_finds_what_is_not_there(here):
    backend = backends.get("kubernetes")
    gone = here.part(namespace="shop", deployment="nobody")
    [row] = backend.check(gone, ["crash"], here.context.target)
    assert not row.ok
    assert "there is no deployment/nobody in shop" in row.saw


def test_an_api_that_goes_away_in_mid_fault_is_dirty_and_never_hangs(here):
    from stormgate.faults.errors import UndoFailed

    here.break_(here.web(), "scale_down")
    here.world.rules.clear()  # every call is refused from now on
    with pytest.raises(UndoFailed, match=r"401 Unauthorized.*by hand: kubectl --context staging"):
        here.undo(deadline_s=0.5)
    here.world.rules["all-may"] = None
    wait_until(lambda: here.undo() == [] or here.open() == [])
    assert here.deployment()["spec"]["replicas"] == 3


def test_restore_by_the_cluster_from_the_command_line(here, tmp_path):
    from stormgate.commands.discover import command as discover
    from stormgate.commands.restore import restore_command

    argv = ["kubernetes", "--context", "staging", "--kubeconfig", str(here.config)]
    document = tmp_path / "mine.yaml"
    document.write_text(CliRunner().invoke(discover, [*argv, "--namespace", "shop"]).output)
    here.break_(here.web(), "scale_down")
    argv = ["--cluster", "--target", str(document), "--deadline", "10"]
    alive = CliRunner().invoke(restore_command, argv, standalone_mode=False)
    assert alive.return_value == 6, alive.output
    assert "its run is alive" in alive.output
    forced = CliRunner().invoke(restore_command, [*argv, "--force"], standalone_mode=False)
    assert forced.return_value == 0, forced.output
    assert "undone: shop/web (scale_down, run " in forced.output
    assert here.deployment()["spec"]["replicas"] == 3
    again = CliRunner().invoke(restore_command, argv, standalone_mode=False)
    assert again.return_value == 0
    assert "nothing of ours is marked" in again.output
    here.undo()


def test_a_watch_undoes_what_a_run_left_that_renews_its_lease_no_more(here, tmp_path):
    """From a machine that cannot know whether the run's process lives: by the Lease alone."""
    from stormgate.commands.discover import command as discover

    argv = ["kubernetes", "--context", "staging", "--kubeconfig", str(here.config)]
    document = tmp_path / "mine.yaml"
    document.write_text(CliRunner().invoke(discover, [*argv, "--namespace", "shop"]).output)
    here.break_(here.web(), "scale_down")
    here.context.watch.end()
    del lease(here)["metadata"]["annotations"][OWNER]
    lease(here)["spec"]["renewTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    argv = ["restore", "--cluster", "--target", str(document), "--watch", "1"]
    watch = subprocess.Popen(
        [str(Path(sys.executable).parent / "stormgate"), *argv],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert "its run is alive" in watch.stdout.readline()
        looks = len(here.world.calls)
        wait_until(lambda: len(here.world.calls) >= looks + 12)  # it looked again, and let it be
        assert here.deployment()["spec"]["replicas"] == 0
        lease(here)["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
        wait_until(lambda: here.deployment()["spec"]["replicas"] == 3)
        assert "found: " in watch.stdout.readline()
        assert "undone: " in watch.stdout.readline()
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
    here.undo()


def test_a_watch_takes_nothing_from_a_run_that_holds_it(tmp_path):
    from stormgate.commands.restore import restore_command

    argv = ["--cluster", "--target", "x.yaml", "--watch", "5", "--force"]
    done = CliRunner().invoke(restore_command, argv)
    assert done.exit_code == 2
    assert "undoes only what nobody holds" in done.output
