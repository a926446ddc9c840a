"""Kill -9 at seeded random moments of a real gate: afterwards the target is whole, or somebody is
told that it is DIRTY and why.

    python -m tests.suite.kill_matrix [--runs 60] [--seed 1] [--report matrix.ndjson]

One standing lab, that nobody writes off, goes through all runs: gate after gate is started on it,
and the gate, its chaos
process, its load or the lab's Toxiproxy is killed. Then `stormgate restore` without arguments, from
a fresh process. Outcomes:
whole       no ledger is open, the target says that it is whole, and nothing of the run lives on
dirty       the gate or the restore exited with 6
untouched   Toxiproxy died before the run had broken anything, and the gate did not pass
missed      the victim had ended before; not counted, and played again with another draw
Anything else is a broken promise, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from stormgate.documents import load_target
from stormgate.lab.runtime.launch import RunningLab, launch
from stormgate.model import Target, to_json
from stormgate.system.processes import alive, pid_start_ticks, signal_if_same

ROOT = Path(__file__).resolve().parents[2]
VICTIMS = ("chaos", "gate", "load", "toxiproxy")
EXPERIMENTS = (
    "region-loss",
    "region-freeze",
    "shard-primary-freeze",
    "cache-node-slow",
    "region-blackhole",
    "edge-loss",
)
# A kill falls so many seconds after this was first seen, drawn with these weights: most while
# faults are open or being undone.
MOMENTS = {"fault": (0.65, 6.0), "chaos": (0.2, 8.0), "gate": (0.15, 20.0)}
DIRTY = 6
MISSED = "missed"
FINE = {"whole", "dirty", "untouched", MISSED}


@dataclass(frozen=True)
class Result:
    run: int
    victim: str
    experiment: str
    moment: str
    open_at_kill: list[str]
    gate_exit: int | None
    open_at_restore: list[str]
    restore_exit: int
    said: str
    outcome: str


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Kill -9 at random moments of a gate, then restore."
    )
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=None)
    arguments = parser.parse_args(argv)
    results = []
    with tempfile.TemporaryDirectory(prefix="kill-matrix-") as folder:
        for result in matrix(Path(folder), arguments.runs, arguments.seed):
            results.append(result)
            print(json.dumps(asdict(result)), flush=True)
            if arguments.report is not None:
                with arguments.report.open("a") as file:
                    file.write(json.dumps(asdict(result)) + "\n")
    print(table(results))
    return 1 if any(result.outcome not in FINE for result in results) else 0


def table(results: list[Result]) -> str:
    """Outcomes by victim."""
    counts = Counter((result.victim, result.outcome) for result in results)
    outcomes = sorted({result.outcome for result in results})
    lines = [f"{'victim':<12}" + "".join(f"{outcome:>10}" for outcome in outcomes)]
    lines += [
        f"{victim:<12}" + "".join(f"{counts[victim, outcome]:>10}" for outcome in outcomes)
        for victim in VICTIMS
    ]
    return "\n".join(lines)


def matrix(folder: Path, runs: int, seed: int) -> Iterator[Result]:
    """Play the runs; a lab that lost its Toxiproxy, or that is not whole, is replaced by a fresh
    one.
    """
    draw = random.Random(seed)
    lab: RunningLab | None = None
    try:
        run = hits = 0
        while hits < runs and run < 2 * runs:
            place = folder / f"run{run}"
            place.mkdir()
            if lab is None:
                lab = launch(
                    load_target(ROOT / "targets/lab.yaml"),
                    state=folder / f"lab{run}",
                    deadline_s=120,
                )
            result = play(lab, place, run, VICTIMS[hits % len(VICTIMS)], draw)
            yield result
            run += 1
            hits += result.outcome != MISSED
            if result.victim == "toxiproxy" or result.outcome not in {"whole", MISSED}:
                lab.stop()
                lab = None
    finally:
        if lab is not None:
            lab.stop()


def play(lab: RunningLab, place: Path, run: int, victim: str, draw: random.Random) -> Result:
    """One gate, one kill, one restore."""
    experiment = draw.choice(EXPERIMENTS)
    since = draw.choices(list(MOMENTS), [weight for weight, _ in MOMENTS.values()])[0]
    after_s = draw.uniform(0, MOMENTS[since][1])
    gate_file = documents(lab.target, place, experiment)
    # All that lives below a gate dies or ends with it; the state folder is the run's own, so that
    # runs do not see each other's.
    env = {**os.environ, "XDG_STATE_HOME": str(place / "xdg"), "PYTHONPATH": str(ROOT)}
    env = {key: value for key, value in env.items() if not key.startswith("STORMGATE_")}
    gate = start(
        [
            sys.executable,
            "-m",
            "stormgate.cli",
            "gate",
            str(gate_file),
            "--reports",
            str(place / "reports"),
        ],
        env,
        place,
    )
    family: dict[int, int] = {}
    try:
        hit = strike(gate, lab, victim, (since, after_s, place), family)
        open_at_kill = open_faults(place)
        gate_exit = None if victim == "gate" and hit else wait_exit(gate, 200, family)
        end_of_family(family, 20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            gate.kill()
        gate.wait()
    broken = open_faults(place)
    restored = subprocess.run(
        [sys.executable, "-m", "stormgate.cli", "restore", "--deadline", "40"],
        env=env,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    outcome = judge(lab, place, victim if hit else "", (gate_exit, restored.returncode), family)
    said = (restored.stdout + restored.stderr).strip().splitlines()
    return Result(
        run=run,
        victim=victim,
        experiment=experiment,
        moment=f"{since} + {after_s:.2f} s",
        open_at_kill=open_at_kill,
        gate_exit=gate_exit,
        open_at_restore=broken,
        restore_exit=restored.returncode,
        said=said[-1][:300] if said else "",
        outcome=outcome if hit or outcome not in FINE else MISSED,
    )


def judge(
    lab: RunningLab, place: Path, victim: str, exits: tuple[int | None, int], family: dict[int, int]
) -> str:
    """The outcome; see the module."""
    left = [pid for pid, ticks in family.items() if alive(pid, ticks)]
    if left:
        return f"processes left: {left}"
    if exits[0] is None and victim != "gate":
        return "the gate hangs"
    if DIRTY in exits:
        return "dirty"
    if victim == "toxiproxy" and not list(place.glob("reports/2*/undo.ndjson")):
        return "untouched" if exits[0] != 0 else "green on a dead target"
    still = open_faults(place)
    if still:
        return f"silently open: {still}"
    end = time.monotonic() + 40
    while not (status := read_status(lab.target))["whole"]:
        if time.monotonic() > end:
            return f"silently not whole: {status['why']}"
        time.sleep(0.2)
    return "whole"


def read_status(target: Target) -> dict[str, Any]:
    from stormgate.net.status import read_status as read

    status = read(target)
    return {"whole": status.whole, "why": status.why}


def open_faults(place: Path) -> list[str]:
    """What the ledgers of this place's runs say is still broken."""
    from stormgate.faults.ledger import open_entries

    folders = [path.parent for path in place.glob("reports/2*/undo.ndjson")]
    return [f"{entry.part.name} ({entry.mode})" for each in folders for entry in open_entries(each)]


def start(argv: list[str], env: dict[str, str], place: Path) -> subprocess.Popen[bytes]:
    with open(place / "gate.log", "wb") as log:
        return subprocess.Popen(
            argv,
            env=env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def strike(
    gate: subprocess.Popen[bytes],
    lab: RunningLab,
    victim: str,
    moment: tuple[str, float, Path],
    family: dict[int, int],
) -> bool:
    """Kill -9 the victim some seconds after the fault (the chaos process, the gate) began; False
    when it had ended before.
    """
    since, after_s, place = moment

    def begun() -> bool:
        if since == "fault":
            return any(place.glob("reports/2*/undo.ndjson"))
        return since == "gate" or descendant(gate.pid, "stormgate.chaos.run") is not None

    end = time.monotonic() + 90
    while not begun():
        if gate.poll() is not None or time.monotonic() > end:
            return False
        remember(gate.pid, family)
        time.sleep(0.02)
    end = time.monotonic() + after_s
    while time.monotonic() < end and gate.poll() is None:
        remember(gate.pid, family)
        time.sleep(0.02)
    pid = gate.pid if victim == "gate" else descendant(*where(gate, lab, victim))
    ticks = (
        pid_start_ticks(pid)
        if pid is not None and (victim == "toxiproxy" or gate.poll() is None)
        else None
    )
    return pid is not None and ticks is not None and signal_if_same(pid, ticks, signal.SIGKILL)


def where(gate: subprocess.Popen[bytes], lab: RunningLab, victim: str) -> tuple[int, str]:
    """Below which process the victim is, and how its command line tells it."""
    if victim == "toxiproxy":
        return lab.process.pid, "toxiproxy"
    return gate.pid, {"chaos": "stormgate.chaos.run", "load": "stormgate.load"}[victim]


def wait_exit(
    gate: subprocess.Popen[bytes], deadline_s: float, family: dict[int, int]
) -> int | None:
    end = time.monotonic() + deadline_s
    while gate.poll() is None and time.monotonic() < end:
        remember(gate.pid, family)
        time.sleep(0.05)
    return gate.poll()


def end_of_family(family: dict[int, int], deadline_s: float) -> None:
    """Give what was below a dead gate the time to tidy up after itself."""
    end = time.monotonic() + deadline_s
    while any(alive(pid, ticks) for pid, ticks in family.items()) and time.monotonic() < end:
        time.sleep(0.1)


def remember(pid: int, family: dict[int, int]) -> None:
    """Everyone below the gate, by pid and start, so that whoever lives on can be told from a
    successor of its pid.
    """
    for child in children(pid):
        ticks = pid_start_ticks(child)
        if ticks is not None:
            family[child] = ticks
            remember(child, family)


def descendant(pid: int, needle: str) -> int | None:
    for child in children(pid):
        if needle in command_line(child):
            return child
        found = descendant(child, needle)
        if found is not None:
            return found
    return None


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    return ""


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text().split()]
    return []


def documents(target: Target, place: Path, experiment: str) -> Path:
    """A short gate on the standing lab, as files of a suite."""
    for name in ("experiments", "probes", "loadtests"):
        (place / name).symlink_to(ROOT / name)
    (place / "slas").mkdir()
    (place / "targets").mkdir()
    (place / "targets" / "standing.yaml").write_text(
        yaml.safe_dump(target_document(target, place.name), sort_keys=False)
    )
    gate = {
        "apiVersion": "stormgate.dev/v1",
        "kind": "ReleaseGate",
        "metadata": {"name": "kill-matrix"},
        "spec": {
            "target": "../targets/standing.yaml",
            "load": {"locustfile": "../loadtests/chenu.py", "ratePerS": 60, "users": 60},
            "seed": 1,
            "confidence": "95%",
            "phases": {"warmup": "1s", "steady": "2s", "final": "1s"},
            "faults": [
                {
                    "name": "fault",
                    "experiment": f"../experiments/{experiment}.yaml",
                    "configuration": {"hold_s": 3},
                    "recovery": "1s",
                }
            ],
            "objectives": [
                {
                    "name": "availability",
                    "kind": "availability",
                    "target": "50%",
                    "phases": ["steady"],
                    "minSamples": 10,
                }
            ],
        },
    }
    path = place / "slas" / "gate.yaml"
    path.write_text(yaml.safe_dump(gate, sort_keys=False))
    return path


def target_document(target: Target, name: str) -> dict[str, Any]:
    """A running lab as a target that somebody else runs."""
    data = to_json(target)
    components = []
    for component in data["components"]:
        kept = {key: value for key, value in component.items() if value not in (None, [], {})}
        handle = component["handle"]
        if "pid_file" in handle:
            kept["handle"] = {"pidFile": handle["pid_file"], "start": handle["start"]}
        components.append(kept)
    return {
        "apiVersion": "stormgate.dev/v1",
        "kind": "Target",
        "metadata": {"name": f"standing-{name}"},
        "spec": {
            "environment": "laboratory",
            "allow": list(target.allow),
            "regions": data["regions"],
            "populations": data["populations"],
            "components": components,
            "steering": {
                "mode": "table",
                "url": target.steering.url,
                "interval": f"{target.steering.interval_ms}ms",
            },
            "observe": data["observe"],
            "statusUrl": target.status_url,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
