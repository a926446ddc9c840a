"""How fast a run's page is made, and how large it is, over generated samples.

    python benchmarks/report_speed.py [--only small|1M|3M|10M|cells]

The folders are those of judge_speed.py. Limits, for one core of a quiet machine: 10 M samples in
15 s, 1,500 MB and a page of 6 MB; `cells` (200 populations) as well. Counts are exact at any size:
a bin knows its worst requests, and a quantile is read to 3 %. With Chromium installed the page is
opened as well: until it is drawn and its script is done, 2 s at most.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPEED = ROOT / "benchmarks" / "judge_speed.py"
CASES = {"small": 10_000, "1M": 1_000_000, "3M": 3_000_000, "10M": 10_000_000, "cells": 10_000_000}


def make_once(folder: Path) -> None:
    from stormgate.evidence import open_run
    from stormgate.model import Judgement, Verdict
    from stormgate.report import report_html

    run = open_run(folder)
    nothing = Judgement(
        gate="speed", verdict=Verdict.PASS, exit_code=0, plan_digest="", objectives=()
    )
    page = report_html(nothing, run)
    (folder / "page.html").write_text(page, encoding="utf-8")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"page_mb": len(page.encode()) / 1e6, "peak_mb": peak, "cpu_s": time.process_time()}
    print(json.dumps(figures))


def opened_s(page: Path) -> float | None:
    """How long a headless Chromium takes from asking for the page to its end; None without one."""
    sys.path.insert(0, str(ROOT))
    from tests.live.chromium import BROWSER, browser

    if BROWSER is None:
        return None
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as new_tab:
        tab = new_tab()
        tab.open("about:blank")
        tab.open(page.as_uri())
        tab.until(lambda: tab.run("document.documentElement.dataset.ready") == "yes")
        return float(tab.run("performance.getEntriesByType('navigation')[0].duration")) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--make", type=Path)
    options = parser.parse_args()
    if options.make:
        make_once(options.make)
        return
    titles = f"{'wall s':>7} {'CPU s':>6} {'peak MB':>8} {'page MB':>8} {'open s':>7}"
    print(f"{'case':>6} {'samples':>10} {titles}")
    for case in [options.only] if options.only else list(CASES):
        with tempfile.TemporaryDirectory() as temporary:
            folder = f"{temporary}/run"
            write = [sys.executable, str(SPEED), "--only", case, "--write", folder]
            subprocess.run(write, check=True, cwd=ROOT)
            begin = time.perf_counter()
            done = subprocess.run(
                [sys.executable, __file__, "--make", folder],
                check=True,
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            wall, got = time.perf_counter() - begin, json.loads(done.stdout)
            took_s = opened_s(Path(folder) / "page.html")
        told = f"{wall:>7.2f} {got['cpu_s']:>6.2f} {got['peak_mb']:>8.0f} {got['page_mb']:>8.2f}"
        told += f" {took_s:>7.2f}" if took_s is not None else "       -"
        print(f"{case:>6} {CASES[case]:>10,} {told}", flush=True)


if __name__ == "__main__":
    main()
