"""The suite of the second service: what `stormgate init` wrote, and the edits that the tutorial
names, with this service's own facts.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.live.tutorial import steps

ROOT = Path(__file__).resolve().parents[3]
URLS = {"eu": "http://127.0.0.1:28081", "us": "http://127.0.0.1:28082"}
TOXIPROXY = "http://127.0.0.1:28474"
_PARTS = {
    "eu/edge": ("edge", "eu-nginx", "{protocol: http, address: '127.0.0.1:28081', path: /healthz}"),
    "eu/web": ("service", "eu-app", "{protocol: http, address: '127.0.0.1:28021', path: /healthz}"),
    "eu/cache": ("cache", "eu-valkey", "{protocol: redis, address: '127.0.0.1:28011'}"),
    "db": ("database", "db", "{protocol: postgres, address: '127.0.0.1:28001'}"),
}
_PART = """\
    - name: {name}
      kind: {kind}
      region: eu
      backend: process
      handle:
        pidFile: "{run}/{part}.pid"
        start: ["{python}", -m, tests.live.second.stand, start, "{run}", {part}]
      observe: {observe}
"""
_LINKS = f"""\
  toxiproxy: {TOXIPROXY}
  links:
    - {{from: eu/web, to: eu/cache, upstream: "127.0.0.1:28011", env: EU_CACHE}}
"""


def environment(**more: str) -> dict[str, str]:
    """Ours, with this repository on the path, so that a part can be started from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def stand(step: str, run: Path, *names: str, **more: str) -> None:
    argv = [sys.executable, "-m", "tests.live.second.stand", step, str(run), *names]
    subprocess.run(argv, check=True, timeout=120, env=environment(**more))


def stormgate(
    suite: Path, *arguments: str, timeout_s: float = 60, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stormgate.cli", *arguments],
        cwd=suite,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def lay_out(folder: Path, run: Path) -> Path:
    """The suite, as a person would have it after the tutorial."""
    urls = [word for name, url in URLS.items() for word in ("--url", f"{name}={url}")]
    made = stormgate(ROOT, "init", str(folder), *urls, "--kind", "process", "--rate", "60")
    assert made.returncode == 0, made.stderr
    target = folder / "targets" / f"{folder.name}.yaml"
    head, found, _ = target.read_text().partition("  components:\n")
    assert found
    parts = "".join(
        _PART.format(name=n, kind=k, part=p, observe=o, run=run, python=sys.executable)
        for n, (k, p, o) in _PARTS.items()
    )
    target.write_text(head + found + parts + _LINKS)
    for step in steps(ROOT / "docs" / "tutorial.md"):
        if step.kind == "yaml" and not step.text.startswith("  "):
            text = step.text.replace("targets/suite.yaml", f"targets/{folder.name}.yaml")
            # What is silenced here is the cache, and the app goes to the database.
            text = re.sub(r"link:eu/edge->eu/web", "link:eu/web->eu/cache", text)
            (folder.parent / step.file.replace("suite/", f"{folder.name}/", 1)).write_text(text)
    return folder / "slas" / "first.yaml"
