"""What Chaos Toolkit itself says of an experiment, asked in a child process: it imports what the
experiment names. One whose every call was understood by reading needs no asking.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stormgate.documents.problems import Problems, label
from stormgate.documents.trial.checking import OURS, Given
from stormgate.documents.yamlfile import Document, read_documents

TIMEOUT_S = 60.0
_KEYS = {
    "version",
    "title",
    "description",
    "tags",
    "configuration",
    "contributions",
    "controls",
    "steady-state-hypothesis",
    "method",
    "rollbacks",
    "runtime",
}
_ACTIVITY = {"type", "name", "provider", "tolerance"}
_PROVIDER = {"type", "module", "func", "arguments"}


def check_native(experiments: Sequence[tuple[Path, Given]], root: Path, problems: Problems) -> None:
    """Note what Chaos Toolkit would refuse in the experiments, run from `root`; what has been noted
    of a line already is not said twice.
    """
    asked: dict[tuple[Path, str], tuple[Document, Given]] = {}
    for path, given in experiments:
        documents = read_documents(path, Problems())
        if len(documents) == 1 and not _plain(documents[0].data):
            asked.setdefault((path, json.dumps(given.values, sort_keys=True, default=str)),
                             (documents[0], given))  # fmt: skip
    if not asked:
        return
    wanted = [
        {"path": str(path.resolve()), "configuration": json.loads(values)} for path, values in asked
    ]
    answer = _ask(wanted, root)
    if isinstance(answer, str):
        for path, _ in asked:
            fix = "import what it names yourself: python -c 'import …'"
            problems.add(label(path), 1, f"Chaos Toolkit could not be asked of it: {answer}", fix)
        return
    noted = {(one.file, one.line) for one in problems}
    for (document, given), found in zip(asked.values(), answer, strict=True):
        for one in found:
            loc = tuple(one["loc"])
            place = document.file, document.line(*loc)
            if len(loc) > 1 and loc[0] == "configuration" and loc[1] in given.places:
                place = given.places[loc[1]]
            if place not in noted:
                problems.add(*place, one["message"], one["fix"])


def _ask(wanted: list[dict[str, Any]], root: Path) -> list[list[dict[str, Any]]] | str:
    """For each experiment what is wrong with it; or why nobody can say."""
    with tempfile.TemporaryFile() as ask, tempfile.TemporaryFile() as answer:
        ask.write(json.dumps(wanted).encode())
        ask.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-m", "stormgate.chaos.validate"],
            cwd=root,
            stdin=ask,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = child.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"importing what it names takes more than {TIMEOUT_S:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        answer.seek(0)
        try:
            found: list[list[dict[str, Any]]] = json.load(answer)
        except ValueError:
            return f"its process ended with {code} while importing what the experiment names"
    return found if len(found) == len(wanted) else "it answered in part"


def _plain(data: Any) -> bool:
    """Whether nothing is in an experiment that reading does not settle: our functions alone, plain
    values in its configuration, plain tolerances. What is not even that shape has been said.
    """
    if not isinstance(data, dict) or not set(data) <= _KEYS:
        return False
    configuration, hypothesis = data.get("configuration"), data.get("steady-state-hypothesis")
    values = configuration.values() if isinstance(configuration, dict) else ()
    if any(isinstance(value, dict) for value in values) or configuration in ([], "", 0):
        return False
    tags = data.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        return False
    if hypothesis is not None and (not isinstance(hypothesis, dict) or not hypothesis.get("title")):
        return False
    probes = hypothesis.get("probes") if isinstance(hypothesis, dict) else []
    controls = data.get("controls") or []
    lists = [probes or [], data.get("method") or [], data.get("rollbacks") or []]
    if not all(isinstance(each, list) for each in (*lists, controls)):
        return False
    activities = [one for each in lists for one in each]
    return all(_plain_activity(one) for one in activities) and all(
        isinstance(one, dict) and _module(one).startswith(OURS) and one.get("name")
        for one in controls
    )


def _plain_activity(one: Any) -> bool:
    if not isinstance(one, dict) or not set(one) <= _ACTIVITY or not one.get("name"):
        return False
    provider = one.get("provider")
    return (
        isinstance(provider, dict)
        and set(provider) <= _PROVIDER
        and provider.get("type") == "python"
        and _module(one).startswith(OURS)
        and isinstance(one.get("tolerance", True), bool | int | str)
        and isinstance(provider.get("arguments", {}), dict)
    )


def _module(one: Mapping[str, Any]) -> str:
    provider = one.get("provider")
    return str(provider.get("module")) if isinstance(provider, dict) else ""
