"""The suite around an experiment, under plain `chaos run`: its own modules can be imported without
PYTHONPATH.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stormgate.documents.problems import suite_root


def reach() -> None:
    """Let Chaos Toolkit's command find the modules of the suite it is run from (`probes.…`), last
    of all; a process of ours is started in the suite's root and does.
    """
    if "chaostoolkit" not in sys.modules:
        return
    root = str(suite_root(Path.cwd() / "experiment"))
    if root not in sys.path:
        sys.path.append(root)
