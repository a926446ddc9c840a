"""A judgement as text: verdict.json, JUnit XML, a Markdown summary, an HTML page, a console. No
sockets, clock or randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stormgate.model import Judgement, Plan

if TYPE_CHECKING:
    from stormgate.evidence.past import PastRun
    from stormgate.evidence.read import Run

__all__ = ["initial", "junit_xml", "report_html", "summary_md", "verdict_json"]


def verdict_json(judgement: Judgement) -> str:
    """verdict.json: the judgement, the same bytes for the same judgement on any machine."""
    from stormgate.report.verdict import verdict_json as render

    return render(judgement)


def junit_xml(judgement: Judgement, run: Run | None = None) -> str:
    """JUnit XML: a test case per objective and validity rule. What is not PASS is a failure or an
    error, never skipped. Of `run` come the times.
    """
    from stormgate.report.junit import junit_xml as render

    return render(judgement, run)


def summary_md(judgement: Judgement, run: Run | None = None) -> str:
    """A job summary in Markdown, at most 1 MiB (GitHub's limit): the verdict, the objectives, what
    to do next.
    """
    from stormgate.report.summary import summary_md as render

    return render(judgement, run)


def report_html(judgement: Judgement, run: Run | None = None, past: Sequence[PastRun] = ()) -> str:
    """One HTML page with everything in it: no outside resource, every shown word escaped. `past`
    are earlier runs of the gate, the oldest first, to be held against.
    """
    from stormgate.report.html.page import report_html as render

    return render(judgement, run, past)


def initial(plan: Plan) -> dict[str, str]:
    """File name -> text of the reports that stand from the first second of a run: INCONCLUSIVE
    until it has been judged.
    """
    from stormgate.report.verdict import not_judged_yet

    judgement = not_judged_yet(plan)
    return {
        "verdict.json": verdict_json(judgement),
        "junit.xml": junit_xml(judgement),
        "summary.md": summary_md(judgement),
    }
