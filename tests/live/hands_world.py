"""A target of one's own: components that a small script breaks and mends, as somebody's own
commands would, and whose state is a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from stormgate.faults.hands.standing import standing_faults
from stormgate.model import Component, Population, Region, Target, to_json

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, pathlib, sys, time
flag, step = pathlib.Path(sys.argv[1]), sys.argv[2]
if step == "apply":
    flag.write_text(" ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if "PARAM" in k))
elif step == "undo":
    if not flag.with_suffix(".stuck").exists():
        flag.unlink(missing_ok=True)
elif step == "observe":
    sys.exit(0 if flag.exists() else 1)
"""


class HandsWorld:
    """`names` can be broken by `dim` (any parameters) and by `fake`, which has no effect."""

    def __init__(self, folder: Path, *names: str, environment: str = "laboratory") -> None:
        self.folder = folder
        self.script = folder / "break.py"
        self.script.write_text(SCRIPT)
        self.reports = folder / "reports"
        self.target = Target(
            name=f"world-{folder.name}",
            environment=environment,
            regions=(Region(name="north", latitude=0, longitude=0),),
            populations=(Population(name="all", share=1, latitude=0, longitude=0),),
            components=tuple(self._component(name) for name in names),
        )
        (folder / "target.json").write_text(json.dumps(to_json(self.target)))
        self.environment = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
            "STORMGATE_TARGET": str(folder / "target.json"),
        }

    def _component(self, name: str) -> Component:
        flag = str(self.flag(name))
        run = {step: [sys.executable, str(self.script), flag, step] for step in ("apply", "undo")}
        handle = {
            "apply": {"dim": run["apply"], "fake": run["undo"]},
            "undo": {"dim": run["undo"], "fake": run["undo"]},
            "observe": [sys.executable, str(self.script), flag, "observe"],
        }
        return Component(name=name, kind="lamp", region="north", backend="command", handle=handle)

    def flag(self, name: str) -> Path:
        return self.folder / f"{name}.broken"

    def broken(self, name: str) -> bool:
        return self.flag(name).exists()

    def stormgate(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stormgate.cli", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **more,
        )

    def inject(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.stormgate("inject", *words, "--reports", str(self.reports))

    def standing(self) -> list[str]:
        """The names of the faults that stand, read here and now."""
        before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = self.environment["XDG_STATE_HOME"]
        try:
            return [one.fault for one in standing_faults().faults]
        finally:
            del os.environ["XDG_STATE_HOME"]
            if before is not None:
                os.environ["XDG_STATE_HOME"] = before
