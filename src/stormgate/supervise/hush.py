"""No secret of a plan leaves this process by a report, or stays in what its children said."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from stormgate.documents.problems import Problems
from stormgate.documents.yamlfile import read_documents
from stormgate.evidence.write import JOINING
from stormgate.model import Judgement, Plan, from_json, to_json
from stormgate.net.references import know_secrets
from stormgate.system.files import write_atomically
from stormgate.system.secrets import redacted, redacted_data

# Judgements and plans join by these names, and verdicts are words of ours.
_NAMES = JOINING | {"name", "verdict", "gate", "unit", "plan_digest"}
_LOG_MAX_BYTES = 256 << 20


def know_plan(plan: Plan, root: Path) -> None:
    """What the target and the experiments of a plan take from the environment."""
    documents = [
        document.data
        for experiment in {fault.experiment for fault in plan.faults}
        for document in read_documents(root / experiment, Problems())
    ]
    know_secrets(plan.target, os.environ, *documents, plan=plan)


def hushed(judgement: Judgement) -> Judgement:
    """The judgement without secrets."""
    told = to_json(judgement)
    clean = redacted_data(told, keep=_NAMES)
    return judgement if clean == told else from_json(Judgement, clean)


def sweep_logs(folder: Path) -> None:
    """What was written past a child's own streams (its children, a C library) is redacted where it
    lies. A log too large to be read whole is said to be, and taken away.
    """
    for path in sorted((folder / "logs").glob("*.log")):
        with contextlib.suppress(OSError):
            if path.is_symlink() or not path.is_file():
                continue
            if path.stat().st_size > _LOG_MAX_BYTES:
                write_atomically(path, f"{path.name}: over {_LOG_MAX_BYTES:,} bytes, not kept\n")
                continue
            text = path.read_bytes().decode("utf-8", "surrogateescape")
            if (clean := redacted(text)) != text:
                write_atomically(path, clean.encode("utf-8", "replace").decode())
