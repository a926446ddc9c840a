"""Kill -9 at seeded random moments of a real gate: afterwards the target is whole, or somebody is
told that it is DIRTY and why.

    python -m tests.suite.kill_matrix [--target lab|own|both] [--runs 60] [--seed 1]
                                      [--report matrix.ndjson]

Gate after gate is started on a standing lab, that nobody writes off, or on a target of one's own
(tests.suite.own_target), and the gate, its chaos process, its load or the target's Toxiproxy is
killed. Then `stormgate restore` without arguments, from a fresh process. Outcomes:
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tests.suite.own_target import EXPERIMENTS as OWN_EXPERIMENTS
from tests.suite.own_target import own_target, write_content

from stormgate.documents import load_target
from stormgate.faults.backends.process import read_pid_file
from stormgate.lab.runtime.launch import RunningLab, launch
from stormgate.model import Target, to_json
from stormgate.system.processes import alive, pid_start_ticks, signal_if_same, tree

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
class Standing:
    """What a gate is started on, whoever runs it. `toxiproxy` says who serves its links; `broken`
    what is broken that its own status does not tell.
    """

    target: Target
    toxiproxy: Callable[[], int | None]
    broken: Callable[[], str] = str


@dataclass(frozen=True)
class Result:
    target: str
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
    parser.add_argument("--target", choices=("lab", "own", "both"), default="both")
    parser.add_argument("--runs", type=int, default=60, help="of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=None)
    arguments = parser.parse_args(argv)
    results = []
    with tempfile.TemporaryDirectory(prefix="kill-matrix-") as folder:
        plays = {"lab": matrix, "own": own_matrix}
        for result in (
            result
            for name, play_all in plays.items()
            if arguments.target in (name, "both")
            for result in play_all(Path(folder) / name, arguments.runs, arguments.seed)
        ):
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
    folder.mkdir()
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
            standing = Standing(lab.target, partial(descendant, lab.process.pid, "toxiproxy"))
            gate = partial(documents, lab.target, place)
            victim = VICTIMS[hits % len(VICTIMS)]
            result = play(standing, place, (run, victim), draw, (EXPERIMENTS, gate))
            yield result
            run += 1
            hits += result.outcome != MISSED
            if result.victim == "toxiproxy" or result.outcome not in {"whole", MISSED}:
                lab.stop()
                lab = None
    finally:
        if lab is not None:
            lab.stop()


def own_matrix(folder: Path, runs: int, seed: int) -> Iterator[Result]:
    """The same on a target of one's own, made afresh for each run."""
    folder.mkdir()
    draw = random.Random(seed)
    run = hits = 0
    while hits < runs and run < 2 * runs:
        place = folder / f"run{run}"
        place.mkdir()
        with own_target(folder / f"own{run}") as own:
            standing = Standing(own.target, lambda: own.toxiproxy_pid, lambda: own.broken)
            gate = partial(own_documents, own.target, place)
            victim = VICTIMS[hits % len(VICTIMS)]
            result = play(standing, place, (run, victim), draw, (tuple(OWN_EXPERIMENTS), gate))
        yield result
        run += 1
        hits += result.outcome != MISSED


def play(
    lab: Standing,
    place: Path,
    drawn: tuple[int, str],
    draw: random.Random,
    content: tuple[Sequence[str], Callable[[str], Path]],
) -> Result:
    """One gate, one kill, one restore. `content`: the experiments to draw from, and what writes the
    gate that plays one.
    """
    (run, victim), (experiments, write_gate) = drawn, content
    experiment = draw.choice(experiments)
    since = draw.choices(list(MOMENTS), [weight for weight, _ in MOMENTS.values()])[0]
    after_s = draw.uniform(0, MOMENTS[since][1])
    gate_file = write_gate(experiment)
    # All that lives below a gate dies or ends with it; the state folder is the run's own, so that
    # runs do not see each other's.
    env = {**os.environ, "XDG_STATE_HOME": str(place / "xdg"), "PYTHONPATH": str(ROOT)}
    env = {key: value for key, value in env.items() if not key.startswith("STORMGATE_")}
    # There from the start, or a restore after a very early kill could only say that it cannot know.
    (place / "xdg" / "stormgate").mkdir(parents=True, mode=0o700)
    gate = start(
        [
            sys.executable,
            "-m",
            "stormgate.cli",
            "gate",
            str(gate_file),
            "--no-check",
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
        target=lab.target.name,
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
    lab: Standing, place: Path, victim: str, exits: tuple[int | None, int], family: dict[int, int]
) -> str:
    """The outcome; see the module."""
    own = parts_of(lab.target)
    left = [pid for pid, ticks in family.items() if alive(pid, ticks) and pid not in own]
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
    while why := lab.broken() or not_whole(lab.target):
        if time.monotonic() > end:
            return f"silently not whole: {why}"
        time.sleep(0.2)
    return "whole"


def parts_of(target: Target) -> set[int]:
    """The processes of the target itself: one that an undo brought back was below the gate while it
    started, and lives on rightly.
    """
    files = [
        str(part.handle["pid_file"]) for part in target.components if "pid_file" in part.handle
    ]
    roots = [named for file in files if (named := read_pid_file(file)) is not None]
    return {pid for root in roots for pid, _ in tree(*root)}


def not_whole(target: Target) -> str:
    from stormgate.net.status import read_status

    status = read_status(target)
    return "" if status.whole else status.why or "it does not say why"


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
    lab: Standing,
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
    pid = find(gate, lab, victim)
    ticks = (
        pid_start_ticks(pid)
        if pid is not None and (victim == "toxiproxy" or gate.poll() is None)
        else None
    )
    return pid is not None and ticks is not None and signal_if_same(pid, ticks, signal.SIGKILL)


def find(gate: subprocess.Popen[bytes], lab: Standing, victim: str) -> int | None:
    """The victim's pid, by what it is or by how its command line tells it."""
    if victim == "gate":
        return gate.pid
    if victim == "toxiproxy":
        return lab.toxiproxy()
    return descendant(gate.pid, {"chaos": "stormgate.chaos.run", "load": "stormgate.load"}[victim])


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
    return write_gate(target, place, experiment, "chenu.py")


def own_documents(target: Target, place: Path, experiment: str) -> Path:
    """The same on a target of one's own."""
    write_content(place, experiment)
    return write_gate(target, place, experiment, "users.py")


def write_gate(target: Target, place: Path, experiment: str, locustfile: str) -> Path:
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
            "load": {"locustfile": f"../loadtests/{locustfile}", "ratePerS": 60, "users": 60},
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
            "populations": [in_words_of_documents(each) for each in data["populations"]],
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


def in_words_of_documents(population: dict[str, Any]) -> dict[str, Any]:
    """`proxy_source` is `proxySource` there, and what is not said is left out."""
    kept = {key: value for key, value in population.items() if value not in (None, [], {})}
    if "proxy_source" in kept:
        kept["proxySource"] = kept.pop("proxy_source")
    return kept


if __name__ == "__main__":
    sys.exit(main())
