"""Reads a page of docs/ as a person at a terminal does: files are written and edited as it says,
and its commands run in one shell, each with the exit code that it names (```sh exit=1; else 0).
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```(\w+)(?: exit=(\d+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w./-]+\.\w+)`")
_REPLACE = re.compile(r"replace `(\w+):` and everything below it by:\s*$")


@dataclass(frozen=True)
class Step:
    """One block of a page: a command, or what is done to a file; `said` is the sentence before."""

    kind: str
    text: str
    exit_code: int
    said: str

    @property
    def file(self) -> str:
        """The file that the sentence names last."""
        names = _FILE.findall(self.said)
        assert names, f"no file is named before a block: {self.said!r}"
        return str(names[-1])


def steps(page: Path) -> Iterator[Step]:
    text = page.read_text()
    end = 0
    for block in _FENCE.finditer(text):
        said = text[end : block.start()].strip().splitlines()
        end = block.end()
        yield Step(block[1], block[3], int(block[2] or 0), said[-1] if said else "")


@dataclass
class Reader:
    """A person in an empty folder, with a shell whose variables last."""

    folder: Path
    environment: Mapping[str, str]
    outputs: list[str] = field(default_factory=list)

    def __enter__(self) -> Reader:
        self.shell = subprocess.Popen(
            ["bash"],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.shell.stdin is not None
        self.shell.stdin.close()
        self.shell.wait(30)
        assert self.shell.stdout is not None
        self.shell.stdout.close()

    def follow(self, page: Path) -> None:
        """All that the page says, in its order."""
        for step in steps(page):
            if step.kind == "sh":
                self.run(step.text, step.exit_code)
            else:
                self.edit(step)

    def edit(self, step: Step) -> None:
        path = self.folder / step.file
        if replaced := _REPLACE.search(step.said):
            before, found, _ = path.read_text().partition(f"  {replaced[1]}:\n")
            assert found, f"{path} has no {replaced[1]}:"
            path.write_text(before + step.text)
        elif step.said.endswith(", add:"):
            path.write_text(path.read_text() + step.text)
        else:
            assert not path.exists(), f"{path} is there already"
            path.write_text(step.text)

    def run(self, commands: str, exit_code: int) -> str:
        """Every command of the block ends with 0, but for the last one of a block that names its
        exit code.
        """
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        mark = f"=== {time.monotonic_ns()}"
        script = "_rc=0\n"
        for line in [commands] if exit_code else commands.splitlines():
            script += f"{line}\n_rc=$((_rc | $?))\n"
        self.shell.stdin.write(f"{script}printf '\\n%s %s\\n' '{mark}' $_rc\n")
        self.shell.stdin.flush()
        said: list[str] = []
        for line in self.shell.stdout:
            if line.startswith(mark):
                code = int(line.removeprefix(mark))
                break
            said.append(line)
        else:
            code = -1
        output = "".join(said)
        self.outputs.append(output)
        assert code == exit_code, f"{commands}ended with {code}, not {exit_code}:\n{output}"
        return output
