"""The pictures of the README, from real runs: `make screenshots` (ARGS="--passed RUN --failed RUN"
to take reports of runs there are).

By itself it puts the lab on trial twice, a good release and one with a planted defect, and looks at
the live page in mid-fault of the first. With runs given, a short try is enough for the live page.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.live.chromium import BROWSER, Tab, browser

ROOT = Path(__file__).resolve().parents[2]
GATE = "slas/chenu-release.yaml"
SHORT = ("--set", "phases.steady=10s", "--set", "phases.final=2s", "--rate", "120")
WIDTH, HEIGHT = 1200, 900
MOST_BYTES = 300_000
# Long enough into the fault for its outage to be on the page.
INTO_FAULT_S = 6.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passed", type=Path, metavar="RUN")
    parser.add_argument("--failed", type=Path, metavar="RUN")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "images")
    given = parser.parse_args(argv)
    if BROWSER is None:
        print("no Chromium is installed here", file=sys.stderr)
        return 2
    given.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        with browser(place / "profile") as tab:
            short = SHORT if given.passed is not None else ()
            live = run_gate(place / "passed", tab(), given.into / "live.png", *short)
            passed = given.passed or live
            failed = given.failed or run_gate(
                place / "failed", None, None, "--lab-defect", "slow-failover"
            )
            for run, verdict in ((passed, "PASS"), (failed, "FAIL")):
                page = place / f"{verdict}.html"
                stormgate("report", str(run), "--format", "html", "-o", str(page))
                if f"<title>{verdict} " not in page.read_text():
                    print(f"{run} is no {verdict}: try again on a quiet machine", file=sys.stderr)
                    return 3
                picture(tab(), page.as_uri(), given.into / f"report-{verdict.lower()}.png")
        console(stormgate("judge", str(passed), "--no-write"), given.into / "console.svg")
    for path in sorted(given.into.iterdir()):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
        if path.stat().st_size > MOST_BYTES:
            print(f"that is more than {MOST_BYTES:,}", file=sys.stderr)
            return 1
    return 0


def stormgate(*words: str) -> str:
    """What a command says, as on a terminal of this width."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "110", "TERM": "xterm-256color"}
    done = subprocess.run(
        [sys.executable, "-m", "stormgate.cli", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def run_gate(reports: Path, tab: Tab | None, picture_path: Path | None, *more: str) -> Path:
    """A whole gate; the live page while its fault stands, if a tab looks on. Its run folder."""
    log = reports.with_suffix(".log")
    argv = [sys.executable, "-m", "stormgate.cli", "gate", GATE, "--reports", str(reports), *more]
    argv += ["--live"] if tab is not None else []
    with log.open("w") as out:
        gate = subprocess.Popen(argv, cwd=ROOT, stdout=out, stderr=out)
    try:
        if tab is not None and picture_path is not None:
            address = until(lambda: re.search(r"(http://127\S+token=\S+)", log.read_text()), gate)
            tab.open(address.group(1), WIDTH, HEIGHT)
            timeline = lambda: "".join(p.read_text() for p in reports.glob("2*/timeline.ndjson"))  # noqa: E731
            until(lambda: '"fault.observed"' in timeline(), gate)
            time.sleep(INTO_FAULT_S)
            snap(tab, picture_path)
        gate.wait()
    finally:
        if gate.poll() is None:
            gate.terminate()
            gate.wait(60)
    return next(reports.glob("2*"))


def until(found: Callable[[], object], gate: subprocess.Popen[bytes]) -> re.Match[str]:
    while not (value := found()):
        if gate.poll() is not None:
            raise RuntimeError("the gate ended before it could be seen")
        time.sleep(0.1)
    return value  # type: ignore[return-value]


def picture(tab: Tab, address: str, path: Path) -> None:
    tab.open(address, WIDTH, HEIGHT)
    snap(tab, path)


def snap(tab: Tab, path: Path) -> None:
    """What stands in the window, as a PNG."""
    data = tab.call("Page.captureScreenshot", format="png")["data"]
    path.write_bytes(base64.b64decode(data))


def console(said: str, path: Path) -> None:
    """A terminal's text, with its colours, as an SVG."""
    from rich.console import Console
    from rich.text import Text

    recorder = Console(record=True, width=110, file=open(os.devnull, "w"))  # noqa: SIM115
    recorder.print(Text.from_ansi(said))
    path.write_text(recorder.export_svg(title="stormgate gate slas/chenu-release.yaml"))


if __name__ == "__main__":
    sys.exit(main())
