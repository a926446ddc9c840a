"""Mutated and hostile run folders: `judge`, `evidence check`, `compare` and `restore` name what is
wrong with them, never pass over it, never end in a traceback, and take bounded time and memory.

    python -m tests.suite.fuzz_folders [--seed 1] [--seconds 30] [--only CASE]

Each case is judged in a worker process with a limit on its memory; one that does not answer in time
is ended. A case is drawn from (seed, number) alone: `--only` plays one again and keeps its files.
The exit code is 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.golden.judge_writer import objective, plan_of, rows_of, synthetic, write_folder

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 30.0
MEMORY_BYTES = 3 << 30
COMMANDS = ("judge", "check", "compare", "restore")
NASTY: list[Any] = [
    None, True, 0, -1, 10**30, 10**400, -(2**63), 2**63, 1e308, float("nan"), float("inf"), "",
    "x" * 100_000, "\x1b]0;x\x07", "\u202e", "\x00", "a\nb", "../../../etc/passwd", [], {}, [None],
    {"at_ns": None}, [[[]]], "fault.cleared", "phase.end", "run.end", "PASS", 1.5, "1",
]  # fmt: skip


@dataclass
class Report:
    """What came of the cases; `broken` are the promises broken, with the case's number."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


def make_run(folder: Path) -> None:
    """A small run of a healthy target, sealed: PASS."""
    from stormgate.evidence.manifest import write_manifest
    from stormgate.supervise.conclude import judge_folder, write_reports

    objectives = [
        objective("availability", target=0.98, by=["population"]),
        objective("failover", lte_s=4, by=["population"]),
        objective("latency", quantile=0.9, lte_ms=50),
    ]
    plan = plan_of(objectives, steady_s=20, faults=["kill"], recovery_s=8, rate=150)
    write_folder(synthetic(plan, rows_of(plan, fault_s=10), fault_s=10), folder)
    write_reports(folder, judge_folder(folder))
    write_manifest(folder)


class Mutator:
    """One case: the healthy folder with one to three things done to it."""

    def __init__(self, seed: int, case: int) -> None:
        self.random = random.Random(f"{seed}/{case}")

    def play(self, folder: Path) -> tuple[list[str], bool]:
        """What was done, and whether a file that a verdict rests on is not what the seal says."""
        before = _state(folder)
        done = []
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            files = sorted(path for path in folder.rglob("*") if _small(path))
            if not files:
                break
            path = self.random.choice(files)
            change = self.random.choices(CHANGES, weights=[w for _, w in WEIGHTED])[0]
            with contextlib.suppress(*_IN_VAIN):
                change(self, path)
                done.append(f"{change.__name__.strip('_')} {path.relative_to(folder)}")
        after = _state(folder)
        sealed = before.get("manifest.json") == after.get("manifest.json")
        judged = {name for name in {*before, *after} if name.startswith(JUDGED)}
        return done, sealed and any(before.get(name) != after.get(name) for name in judged)

    # Each takes a path that is a regular file.

    def _rows(self, path: Path) -> None:
        if path.suffix == ".arrow":
            self._column(path)
            return
        texts = path.read_text().splitlines() if path.suffix == ".ndjson" else [path.read_text()]
        at = self.random.randrange(len(texts))
        data = json.loads(texts[at])
        places = list(_places([data]))
        holder, key = self.random.choice(places)
        how = self.random.randrange(4)
        if how == 0 and isinstance(holder, dict):
            del holder[key]
        elif how == 1 and isinstance(holder[key], int | float):
            holder[key] = holder[key] * self.random.choice([-1, 0, 2, 1000])
        else:
            holder[key] = copy.deepcopy(self.random.choice(NASTY))
        texts[at] = json.dumps(holder[0] if isinstance(holder, list) and key == 0 else data)
        path.write_text("\n".join(texts) + "\n")

    def _column(self, path: Path) -> None:
        with pa.ipc.open_stream(pa.py_buffer(path.read_bytes())) as reader:
            table = reader.read_all()
        at = self.random.randrange(table.num_columns)
        name, column = table.column_names[at], table.column(at)
        how = self.random.randrange(5)
        if how == 0:
            table = table.drop_columns([name])
        elif how == 1:
            nulls = pa.nulls(len(table), column.type)
            table = table.set_column(at, name, nulls)
        elif how == 2:
            words = pa.array(["\x1b[31m" * 3] * len(table))
            table = table.set_column(at, name, words)
        elif how == 3:
            table = pa.concat_tables([table, table])
        else:
            table = table.slice(0, self.random.randrange(len(table)))
        with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)

    def _lines(self, path: Path) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        at = self.random.randrange(len(lines))
        how = self.random.randrange(4)
        if how == 0:
            del lines[at]
        elif how == 1:
            lines.insert(at, lines[self.random.randrange(len(lines))])
        elif how == 2:
            self.random.shuffle(lines)
        else:
            lines[at] = lines[at][: self.random.randrange(len(lines[at]))]
        path.write_bytes(b"".join(lines))

    def _bytes(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        for _ in range(self.random.choice([1, 3, 30])):
            data[self.random.randrange(len(data))] = self.random.randrange(256)
        path.write_bytes(data)

    def _cut(self, path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: self.random.randrange(len(data))])

    def _gone(self, path: Path) -> None:
        path.unlink()

    def _deep(self, path: Path) -> None:
        opener = self.random.choice(["[", '{"a":'])
        path.write_text(opener * self.random.choice([900, 20_000, 500_000]))

    def _huge(self, path: Path) -> None:
        with path.open("wb") as file:
            file.write(b'{"at_ns": ')
            file.truncate(self.random.choice([1 << 24, 1 << 31, 1 << 36]))

    def _odd(self, path: Path) -> None:
        path.write_bytes(
            self.random.choice(
                [b"", b"\n" * 9, b"null\n", b"[]\n", b'"x"\n', b"\xff\xfe\x00", b'{"\\ud800": 1}\n',
                 b"NaN\n", b"{}\n", b'{"event": "\x1b[2J"}\n', b"1" * 9000 + b"\n"]
            )
        )  # fmt: skip

    def _replaced(self, path: Path) -> None:
        path.unlink()
        how = self.random.randrange(5)
        if how == 0:
            path.mkdir()
        elif how == 1:
            os.mkfifo(path)
        elif how == 2:
            path.symlink_to(self.random.choice(["/dev/zero", "/dev/stdin", "/etc/passwd", "/"]))
        elif how == 3:
            path.symlink_to(path.name)
        else:
            path.touch()
            path.chmod(0)

    def _added(self, path: Path) -> None:
        name = self.random.choice(
            ["x.arrow", "manifest.json", ".hidden", "\x1b[31m", "undo.ndjson"]
        )
        other = path.parent / name
        if not other.exists():
            other.write_bytes(self.random.choice([b"", b"{}", path.read_bytes()]))


WEIGHTED: list[tuple[Callable[[Mutator, Path], None], int]] = [
    (Mutator._rows, 10),
    (Mutator._lines, 4),
    (Mutator._bytes, 3),
    (Mutator._cut, 3),
    (Mutator._gone, 1),
    (Mutator._deep, 1),
    (Mutator._huge, 1),
    (Mutator._odd, 2),
    (Mutator._replaced, 2),
    (Mutator._added, 1),
]
CHANGES = [change for change, _ in WEIGHTED]
# What a verdict rests on; reports are made from it.
JUDGED = (
    "plan.json", "timeline.ndjson", "generator.ndjson", "readings.ndjson", "undo.ndjson",
    "journals/", "samples/",
)  # fmt: skip


# What a second change may meet in a file that the first has made unreadable.
_IN_VAIN = (OSError, ValueError, IndexError, RecursionError, pa.ArrowException)


def _small(path: Path) -> bool:
    return _regular(path) and path.stat().st_size < 1 << 25


def _regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _state(folder: Path) -> dict[str, Any]:
    """What stands under each name."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        small = _small(path) and os.access(path, os.R_OK)
        found[name] = path.read_bytes() if small else (path.lstat().st_mode, path.lstat().st_size)
    return found


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def judge_case(folder: Path, whole: Path) -> dict[str, Any]:
    """What each command says of a folder. A traceback is said, not raised."""
    from click.testing import CliRunner

    from stormgate.cli import stormgate

    arguments = {
        "judge": ["judge", str(folder), "--json", "--no-write"],
        "check": ["evidence", "check", str(folder)],
        "compare": ["compare", str(whole), str(folder)],
        "restore": ["restore", str(folder), "--deadline", "1"],
    }
    said: dict[str, Any] = {}
    for name in COMMANDS:
        begun = time.monotonic()
        result = CliRunner().invoke(stormgate, arguments[name], standalone_mode=False)
        one: dict[str, Any] = {"seconds": time.monotonic() - begun, "code": result.return_value}
        error = result.exception
        if error is not None and not isinstance(error, SystemExit) and not _told(error):
            frames = traceback.extract_tb(error.__traceback__)
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
            one["traceback"] = f"{type(error).__name__}: {str(error)[:200]} ({where})"
        text = result.output
        if name == "judge":
            with contextlib.suppress(ValueError):
                one["verdict"] = json.loads(text).get("verdict")
        elif any(ord(sign) < 32 and sign not in "\n\t" for sign in text):
            one["control"] = repr(text[:200])
        said[name] = one
    return said


def _told(error: BaseException) -> bool:
    import click

    return isinstance(error, click.ClickException)


def worker() -> int:
    """Answers {"folder", "whole"} lines with what the commands said."""
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    answer, sys.stdout = sys.stdout, io.StringIO()
    import stormgate.supervise.conclude  # noqa: F401 - before the limit, which is for the cases

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        case = json.loads(line)
        print(json.dumps(judge_case(Path(case["folder"]), Path(case["whole"]))), file=answer)
        answer.flush()
    return 0


class Worker:
    """The process that judges; a new one after each that had to be ended."""

    def __init__(self, home: Path) -> None:
        self.env = {**os.environ, "XDG_STATE_HOME": str(home), "PYTHONWARNINGS": "ignore"}
        self.process: subprocess.Popen[str] | None = None

    def ask(self, folder: Path, whole: Path) -> dict[str, Any] | str:
        """What was said, or why nothing was."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.suite.fuzz_folders", "--worker"],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"folder": str(folder), "whole": str(whole)}) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], LONGEST_S)
        line = process.stdout.readline() if ready else ""
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        code = process.poll()
        self.close()
        return f"no answer within {LONGEST_S:.0f} s" if code is None else f"ended with {code}"

    def close(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self.process = None


def run(seed: int, seconds: float, only: int | None = None, keep: Path | None = None) -> Report:
    """Cases until the time is over, or one."""
    report = Report()
    with tempfile.TemporaryDirectory() as made:
        whole, asked = Path(made) / "whole", Worker(Path(made) / "state")
        whole.mkdir()
        (Path(made) / "state" / "stormgate").mkdir(parents=True)
        make_run(whole)
        try:
            said = asked.ask(whole, whole)
            assert isinstance(said, dict), said
            assert said["judge"]["verdict"] == "PASS", said
            assert said["check"]["code"] == 0, said
            case = only if only is not None else 0
            end = time.monotonic() + seconds
            while time.monotonic() < end or only is not None:
                folder = keep if keep is not None else Path(made) / "case"
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(whole, folder)
                _one(seed, case, folder, whole, asked, report)
                case += 1
                if only is not None:
                    break
        finally:
            asked.close()
    return report


def _one(seed: int, case: int, folder: Path, whole: Path, asked: Worker, report: Report) -> None:
    done, changed = Mutator(seed, case).play(folder)
    begun = time.monotonic()
    said = asked.ask(folder, whole)
    report.cases += 1
    report.slowest_s = max(report.slowest_s, time.monotonic() - begun)
    broken = [said] if isinstance(said, str) else list(_broken(said, changed))
    if isinstance(said, dict):
        report.outcomes[str(said["judge"].get("verdict"))] += 1
    report.broken += [f"case {case} of seed {seed} ({'; '.join(done)}): {one}" for one in broken]


def _broken(said: dict[str, Any], changed: bool) -> Iterator[str]:
    for name in COMMANDS:
        if "traceback" in said[name]:
            yield f"{name}: {said[name]['traceback']}"
        if "control" in said[name]:
            yield f"{name} shows control characters: {said[name]['control']}"
    if changed and said["judge"].get("verdict") == "PASS":
        yield "judge passes over a folder that is not what was sealed"
    if changed and said["check"]["code"] == 0:
        yield "evidence check calls a folder whole that is not what was sealed"


def main(argv: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="Hostile run folders: named, never passed.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", type=int, help="this case alone; its files are kept")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        return worker()
    keep = None
    if arguments.only is not None:
        keep = Path(tempfile.mkdtemp(prefix="fuzz-folders-")) / "case"
        print(f"files: {keep}")
    report = run(arguments.seed, arguments.seconds, arguments.only, keep)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.outcomes.items()))
    print(f"{report.cases} cases: {told}; the slowest took {report.slowest_s:.1f} s")
    print(*report.broken, sep="\n")
    return 1 if report.broken or not report.cases else 0


if __name__ == "__main__":
    sys.exit(main())
