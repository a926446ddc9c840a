"""Release gates as tests, and the lab as a fixture, for teams that live in pytest.

    pytest slas/release.yaml                                 # runs the gate: a test per objective
    pytest slas/release.yaml --stormgate-judge reports/RUN   # judges a finished run instead

The target is looked at first, as by `stormgate check`: what is wrong fails every test with its fix
(`--stormgate-no-check`, or `stormgate_check = false` in pytest's ini file, leaves that out).

A gate is collected where its file, or the folder it lies in, is named on the command line: a plain
`pytest` starts no load. Anything but PASS (or a waiver) fails the test, INCONCLUSIVE too: nothing
measured is never green.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stormgate.lab.runtime.launch import RunningLab
    from stormgate.model import Finding, Judgement

_KIND = "kind: ReleaseGate"
_STEPS = ("verdict", "measured")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this plugin."""
    group = parser.getgroup("stormgate")
    group.addoption(
        "--stormgate-judge",
        metavar="RUN",
        help="Judge this finished run folder by the gates named, instead of running them.",
    )
    group.addoption(
        "--stormgate-lab-target",
        metavar="FILE",
        default="targets/lab.yaml",
        help="The target document of the `stormgate_lab` fixture. [default: targets/lab.yaml]",
    )
    group.addoption(
        "--stormgate-no-check",
        action="store_true",
        help="Do not look at the target before a gate runs (`stormgate check`).",
    )
    parser.addini(
        "stormgate_check",
        "Whether to look at the target before a gate runs, as `stormgate check` does.",
        type="bool",
        default=True,
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A gate that was named, itself or by its folder."""
    if file_path.suffix not in {".yaml", ".yml"} or not _is_named(file_path, parent.config):
        return None
    try:
        text = file_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if not any(line.strip() == _KIND for line in text.splitlines()):
        return None
    collected: pytest.Collector = GateFile.from_parent(parent, path=file_path)
    return collected


def _is_named(path: Path, config: pytest.Config) -> bool:
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return False
    named = {
        (config.invocation_params.dir / arg.partition("::")[0]).resolve() for arg in config.args
    }
    return bool({path.resolve(), path.parent.resolve()} & named)


class GateFile(pytest.File):
    """A gate: its verdict, what it measured, and each of its objectives."""

    judgement: Judgement | None = None
    trouble = ""
    folder: Path | None = None

    def collect(self) -> Iterable[pytest.Item]:
        """Reads the documents; wrong ones are a collection error with every problem."""
        from stormgate.documents import DocumentErrors, load_gate

        try:
            plan = load_gate(self.path)
        except DocumentErrors as errors:
            raise self.CollectError(str(errors)) from None
        names = [*_STEPS, *(objective.name for objective in plan.objectives)]
        return [GateItem.from_parent(self, name=name) for name in names]

    def judged(self) -> Judgement:
        """The judgement, of the run folder given or of a trial made now; once for all items.
        Raises NoJudgementError where there is none.
        """
        if self.judgement is None and not self.trouble:
            given = self.config.getoption("--stormgate-judge")
            try:
                self.folder = Path(given) if given else self._trial()
                self.judgement = _judge(self.folder, self.path if given else None)
            except (OSError, ValueError) as error:
                self.trouble = str(error) or type(error).__name__
        if self.judgement is None:
            raise NoJudgementError(self.trouble)
        return self.judgement

    def _trial(self) -> Path:
        from stormgate.documents import suite_root

        reports = suite_root(self.path) / "reports"
        before = set(_runs(reports))
        done = subprocess.run(
            gate_argv(self.path, reports, self.config),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
            check=False,
        )
        fresh = sorted(set(_runs(reports)) - before)
        if not fresh:
            # What was looked at and found wrong stands in the one, that it was in the other.
            said = "\n".join(text.strip() for text in (done.stdout, done.stderr) if text.strip())
            raise ValueError(f"the gate left no run (exit code {done.returncode}):\n{said}")
        return fresh[-1]


def gate_argv(gate: Path, reports: Path, config: pytest.Config) -> list[str]:
    """The command that runs a gate: it looks at the target first, unless told otherwise."""
    argv = [sys.executable, "-m", "stormgate.cli", "gate", str(gate), "--reports", str(reports)]
    if config.getoption("--stormgate-no-check") or not config.getini("stormgate_check"):
        argv.append("--no-check")
    return argv


class NoJudgementError(Exception):
    """There is no judgement, and why."""


class GateItem(pytest.Item):
    """One objective; or `verdict`, the gate's own, or `measured`, whether the measurement holds."""

    parent: GateFile

    def runtest(self) -> None:
        """Raises NotGreen for anything but PASS or a waiver."""
        judgement = self.parent.judged()
        if self.name == "verdict":
            if judgement.exit_code != 0:
                raise NotGreen(f"{judgement.verdict.value}: {judgement.why}", self.parent.folder)
            return
        for finding in self._findings(judgement):
            if finding.verdict.exit_code != 0 and not finding.waived:
                raise NotGreen(_told(finding), self.parent.folder)

    def _findings(self, judgement: Judgement) -> Iterator[Finding]:
        if self.name == "measured":
            found = list(judgement.validity)
        else:
            found = [finding for finding in judgement.objectives if finding.name == self.name]
        if not found:
            raise NotGreen("nothing was judged under this name", self.parent.folder)
        yield from found

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong, in the gate's words rather than as a traceback."""
        if isinstance(excinfo.value, NotGreen | NoJudgementError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it stands, and its name in listings."""
        return self.path, None, f"gate {self.path.name}: {self.name}"


class NotGreen(Exception):  # noqa: N818 - it is a verdict, not an error of ours
    """A finding that is not PASS, with the folder that shows why."""

    def __init__(self, why: str, folder: Path | None) -> None:
        super().__init__(f"{why}\nevidence: {folder}")


@pytest.fixture(scope="session")
def stormgate_lab(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningLab]:
    """A lab that is whole, for the whole session. `.target.populations[0].links` has the addresses
    to send requests to; it ends with the session, and with this process however that ends.
    """
    from stormgate.documents import load_target
    from stormgate.lab.runtime.launch import launch

    document = pytestconfig.rootpath / pytestconfig.getoption("--stormgate-lab-target")
    if not document.is_file():
        raise pytest.UsageError(
            f"no lab target at {document}: name one with --stormgate-lab-target"
        )
    lab = launch(
        load_target(document), state=tmp_path_factory.mktemp("stormgate-lab"), deadline_s=90
    )
    try:
        yield lab
    finally:
        lab.stop()


def _judge(folder: Path, gate: Path | None) -> Judgement:
    from stormgate.documents import load_gate
    from stormgate.supervise.conclude import judge_folder, rejudged_plan

    return judge_folder(folder, rejudged_plan(folder, load_gate(gate)) if gate else None)


def _runs(reports: Path) -> Iterator[Path]:
    if reports.is_dir():
        yield from (
            path.parent for path in reports.glob("*/plan.json") if not path.parent.is_symlink()
        )


def _told(finding: Finding) -> str:
    worst = [cell for cell in finding.cells if cell.verdict.exit_code != 0][:5]
    lines = [f"{finding.name}: {finding.verdict.value}: {finding.why}"]
    return "\n".join([*lines, *(f"  {cell.name}: {cell.why}" for cell in worst)])
