"""Mutated documents: `stormgate plan` either makes a plan or names what is wrong, each problem with
its file and line, and nothing else ever happens.

    python -m tests.suite.fuzz_documents [--seed 1] [--seconds 30] [--only CASE]

A case is drawn from (seed, number) alone: `--only` plays one again and keeps its files. The exit
code is 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import copy
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stormgate.commands.documents import lay_out
from stormgate.documents import DocumentErrors, load_gate
from stormgate.documents.schema import SHAPES
from stormgate.faults import backends
from stormgate.faults.asked import ACTIONS, OWN
from stormgate.faults.asked import SHAPES as PARTITIONS
from stormgate.judge.planning import assess
from stormgate.judge.registry import kinds

GATE, TARGET, TRIAL, USERS = (
    "slas/release.yaml",
    "targets/shop.yaml",
    "experiments/web-loss.yaml",
    "loadtests/users.py",
)
LINK = {
    "name": "link",
    "kind": "link",
    "backend": "toxiproxy",
    "handle": {"url": "http://127.0.0.1:8474", "proxy": "web"},
    "attributes": {"source": "population/everyone", "destination": "web"},
}
LONGEST_S = 20
PLACE = re.compile(r"[^\n]+?:[1-9][0-9]*: .+", re.DOTALL)
# Values that have broken readers before: of every kind, at every edge.
NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3.5, -0.0, 10**400, -(2**63), 1e308, float("nan"),
    float("inf"), "", " ", "x" * 5000, "\x1b[31m", "a\r\nb: c", "${x}", "$${x}", "${", "$",
    "é\u202e", "-5s", "0s", "5", "366d", "99999999d", "1e9", "101%", "-1%", "nan", "[]", "{}",
    "../../etc/passwd", "/dev/zero", ".", "127.0.0.2:99999", "http://[::1",
    "http://127.0.0.1:99999/", "http://a b/",
    [], {}, [[]], [None], {"": ""}, {"name": None}, {"type": "env", "key": "NOT_SET"},
    {"type": "probe"}, ["a", {"b": []}], "steady", "fault[web-loss]", "fault[", "everyone", "web",
]  # fmt: skip


@dataclass
class Report:
    """What came of the cases; `broken` are the promises broken, with the case's number."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


class TooLongError(Exception):
    """A case took longer than anybody should wait."""


def words() -> list[str]:
    """Words that mean something somewhere: the likeliest to be mistaken for another."""
    parameters = {name for one in backends.names() for mode in backends.get(one).modes.values()
                  for name in mode.model_fields}  # fmt: skip
    return sorted({
        *kinds(), *backends.names(), *backends.known_modes(), *ACTIONS, *PARTITIONS, *parameters,
        *OWN, *SHAPES, "share", "where", "role", "ref", "background", "pauses", "tolerance",
    })  # fmt: skip


class Mutator:
    """One case: the starter's documents with some of them changed."""

    def __init__(self, seed: int, case: int) -> None:
        self.random = random.Random(f"{seed}/{case}")
        self.words = words()

    def play(self, folder: Path) -> None:
        """Change between one and four things in one or two files of the suite in `folder`."""
        draw = self.random
        for _ in range(draw.choice([1, 1, 2])):
            file = draw.choices([GATE, TARGET, TRIAL, USERS], weights=[4, 4, 6, 1])[0]
            path = folder / file
            if file == USERS or draw.random() < 0.25:
                path.write_bytes(self._bytes(path.read_bytes()))
                continue
            try:
                documents = list(yaml.safe_load_all(path.read_text()))
            except (yaml.YAMLError, UnicodeDecodeError, ValueError):
                continue
            for _ in range(draw.choice([1, 1, 1, 2, 4])):
                documents = self._data(documents)
            with path.open("w", encoding="utf-8", errors="surrogatepass") as out:
                yaml.safe_dump_all(documents, out, allow_unicode=True, sort_keys=False)

    def _bytes(self, data: bytes) -> bytes:
        draw = self.random
        lines = data.splitlines(keepends=True)
        at = draw.randrange(max(1, len(lines)))
        how = draw.randrange(8)
        if how == 0:
            return data[: draw.randrange(len(data) + 1)]
        if how == 1 and lines:
            return b"".join([*lines[:at], *lines[at + 1 :]])
        if how == 2 and lines:
            return b"".join([*lines[:at], lines[at], *lines[at:]])
        if how == 3:
            spot = draw.randrange(len(data) + 1)
            return data[:spot] + bytes(draw.randrange(256) for _ in range(4)) + data[spot:]
        if how == 4 and lines:
            return b"".join([*lines[:at], b"  " + lines[at], *lines[at + 1 :]])
        if how == 5:
            return b"".join(draw.sample(lines, len(lines)))
        if how == 6:
            return data.replace(b": ", draw.choice([b":", b": &a ", b": *a ", b": !x ", b": |\n "]))
        return data + draw.choice([b"\n---\n", b"\n... \n", data, b"\0", b"[" * 3000, b"{a: " * 99])

    def _data(self, documents: list[Any]) -> list[Any]:
        draw = self.random
        documents = copy.deepcopy(documents)
        holder, key = draw.choice(list(_places(documents)))
        how = draw.randrange(9)
        if how <= 2:
            holder[key] = copy.deepcopy(draw.choice(NASTY))
        elif how == 3:
            holder[key] = draw.choice(self.words)
        elif how == 4 and isinstance(holder, dict):
            value = holder.pop(key)
            if draw.random() < 0.5:
                holder[self._renamed(str(key))] = value
        elif how == 5 and isinstance(holder, dict):
            holder[draw.choice([*self.words, "x"])] = copy.deepcopy(draw.choice(NASTY))
        elif how == 6 and isinstance(holder, list):
            holder.insert(draw.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
        elif how == 7:
            other, place = draw.choice(list(_places(documents)))
            if not _inside(holder[key], other):
                holder[key] = copy.deepcopy(other[place])
        elif isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = draw.choice([-holder[key], holder[key] * 1e6, holder[key] / 1e6])
        elif isinstance(holder[key], str):
            holder[key] = self._renamed(holder[key])
        return documents

    def _renamed(self, text: str) -> str:
        at = self.random.randrange(len(text) + 1)
        return (
            text[:at] + self.random.choice(["", "x", "_", " ", "%", "\n", "${y}"]) + text[at + 1 :]
        )


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key) in plain data."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _inside(node: Any, other: Any) -> bool:
    return node is other or (
        isinstance(node, dict | list) and any(one[0] is other for one in _places(node))
    )


def lay_out_suite(folder: Path) -> None:
    """A fresh suite with a link that can be slowed, every kind of action near at hand."""
    lay_out(folder, "shop")
    path = folder / TARGET
    target = yaml.safe_load(path.read_text())
    target["spec"]["components"].append(LINK)
    path.write_text(yaml.safe_dump(target, sort_keys=False))
    path = folder / TRIAL
    trial = yaml.safe_load(path.read_text())
    calls = [
        ("slow", {"component": "link", "latency_ms": 50, "jitter_ms": 5}),
        ("break_component", {"component": {"kind": "link"}, "mode": "lossy", "share": 0.5}),
        ("load_surge", {"factor": 2, "population": "everyone", "for_s": 10}),
    ]
    trial["method"][1:1] = [
        {
            "type": "action",
            "name": func,
            "provider": {
                "type": "python",
                "module": "stormgate.chaos.actions",
                "func": func,
                "arguments": arguments,
            },
        }
        for func, arguments in calls
    ]
    path.write_text(yaml.safe_dump(trial, sort_keys=False))


def judge_case(folder: Path) -> str:
    """The outcome of one case: `plan` or `problems`. Raises whatever is not one of the two."""
    try:
        plan = load_gate(folder / GATE)
    except DocumentErrors as errors:
        return _checked([str(problem) for problem in errors.problems])
    assess(plan)
    return "plan"


def _checked(problems: list[str]) -> str:
    assert problems, "refused without a reason"
    for text in problems:
        assert PLACE.match(text), f"a problem without file and line: {text!r}"
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text), f"control characters: {text!r}"
        assert len(text) < 20_000, f"a problem of endless length: {text[:300]!r}"
    return "problems"


def run(seed: int, seconds: float, only: int | None = None, keep: Path | None = None) -> Report:
    """Cases until the time is over, or one; leaves the working directory as it was."""
    report, end = Report(), time.monotonic() + seconds
    before, handler = Path.cwd(), signal.signal(signal.SIGALRM, _too_long)
    with tempfile.TemporaryDirectory() as made:
        whole = Path(made) / "whole"
        whole.mkdir()
        lay_out_suite(whole)
        case = only if only is not None else 0
        try:
            os.chdir(whole)
            assert judge_case(whole) == "plan", "the unchanged documents are refused"
            while time.monotonic() < end or only is not None:
                folder = keep if keep is not None else Path(made) / "case"
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(whole, folder)
                os.chdir(folder)
                _one(seed, case, folder, report)
                case += 1
                if only is not None:
                    break
        finally:
            os.chdir(before)
            signal.signal(signal.SIGALRM, handler)
    return report


def _one(seed: int, case: int, folder: Path, report: Report) -> None:
    Mutator(seed, case).play(folder)
    begun = time.monotonic()
    signal.alarm(LONGEST_S)
    try:
        report.outcomes[judge_case(folder)] += 1
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {str(error)[:300]} ({where.filename}:{where.lineno})"
        report.broken.append(f"case {case} of seed {seed}: {said}")
    finally:
        signal.alarm(0)
    report.cases += 1
    report.slowest_s = max(report.slowest_s, time.monotonic() - begun)


def _too_long(*_: Any) -> None:
    raise TooLongError(f"longer than {LONGEST_S} s")


def main(argv: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description="Mutated documents: a plan, or what is wrong.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--only", type=int, help="this case alone; its files are kept")
    arguments = parser.parse_args(argv)
    keep = None
    if arguments.only is not None:
        keep = Path(tempfile.mkdtemp(prefix="fuzz-documents-")) / "case"
        print(f"files: {keep}")
    report = run(arguments.seed, arguments.seconds, arguments.only, keep)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.outcomes.items()))
    print(f"{report.cases} cases: {told}; the slowest took {report.slowest_s:.1f} s")
    print(*report.broken, sep="\n")
    return 1 if report.broken or not report.cases else 0


if __name__ == "__main__":
    sys.exit(main())
