"""What machines around a pipeline ask of a run: one flat JSON object, and GitHub's annotations."""

from __future__ import annotations

import json
from collections.abc import Iterable

from stormgate.model import Finding, Judgement, Verdict
from stormgate.report.verdict import NOT_YET
from stormgate.report.words import headline, one_line, verdict_word

RUNNING = "RUNNING"
MAX_ANNOTATIONS = 10  # GitHub shows ten of a kind for a step and drops the rest


def published(judgement: Judgement, run: str) -> dict[str, object]:
    """The object a rollout controller reads. `state` is the verdict, or RUNNING before there is
    one. `success` is true on PASS alone and `failure` on FAIL and DIRTY alone: everything else is
    neither, which is what such a controller calls inconclusive.

    A FAIL that is wholly waived is a FAIL with `waived` true and success true: exit code 0.
    """
    judged = judgement.why != NOT_YET
    verdict = judgement.verdict
    waived = verdict is Verdict.FAIL and judgement.exit_code == 0
    return {
        "run": run,
        "gate": judgement.gate,
        "state": verdict.value if judged else RUNNING,
        "verdict": verdict.value,
        "exit_code": judgement.exit_code,
        "success": judged and (verdict is Verdict.PASS or waived),
        "failure": judged and verdict in {Verdict.FAIL, Verdict.DIRTY} and not waived,
        "waived": waived,
        "why": headline(judgement),
        "release": judgement.release.name,
        "commit": judgement.release.commit,
        "short": list(judgement.short),
        "attempt": len(judgement.attempts) + 1,
        "plan_digest": judgement.plan_digest,
    }


def published_json(judgement: Judgement, run: str) -> str:
    """`published` as text, ending in a newline."""
    return json.dumps(published(judgement, run), indent=1) + "\n"


def github_annotations(judgement: Judgement) -> list[str]:
    """Workflow commands: one line on the verdict, then what did not pass at its file and line, the
    deciding first. At most ten.
    """
    verdict = judgement.verdict
    level = {Verdict.PASS: "notice", Verdict.FAIL: "error", Verdict.DIRTY: "error"}
    first = _command(
        level.get(verdict, "warning"),
        f"stormgate {judgement.gate}: {verdict}",
        headline(judgement),
    )
    return [first, *_annotated(judgement)][:MAX_ANNOTATIONS]


def _annotated(judgement: Judgement) -> Iterable[str]:
    findings = [*judgement.objectives, *judgement.validity]
    bad = [f for f in findings if f.verdict is not Verdict.PASS]
    for finding in sorted(bad, key=lambda f: -f.verdict.severity):
        level = "error" if finding.verdict in {Verdict.FAIL, Verdict.DIRTY} else "warning"
        title = f"{verdict_word(finding)}: {finding.name}"
        yield _command(level, title, finding.why, finding)


def _command(level: str, title: str, text: str, at: Finding | None = None) -> str:
    file, _, line = at.source.rpartition(":") if at is not None else ("", "", "")
    where = [f"file={_property(file)}", f"line={line}"] if file and line.isdigit() else []
    fields = ",".join([*where, f"title={_property(one_line(title))}"])
    return f"::{level} {fields}::{_data(one_line(text))}"


def _data(text: str) -> str:
    """Text as workflow commands carry it: nothing in it can begin another command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
