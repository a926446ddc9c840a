"""`python -m stormgate.lab.runtime.start --state DIR COMPONENT`: ask the lab's daemon to start a
component; returns when it answers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from stormgate.lab.errors import LabError
from stormgate.lab.runtime import control

_TIMEOUT_S = 40.0


def main() -> None:
    """Exit code 0 when it runs (or ran already); else 1 and the reason on stderr."""
    parser = argparse.ArgumentParser(prog="stormgate.lab.runtime.start")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("component")
    arguments = parser.parse_args()
    try:
        daemon = json.loads((arguments.state / "daemon.json").read_text())
        control.ask(
            Path(daemon["control"]), {"op": "start", "component": arguments.component}, _TIMEOUT_S
        )
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"no lab runs in {arguments.state}: {error}") from None
    except LabError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
