"""The report page: one file that opens anywhere, years later, without a network. What it shows is
there without its script; the script adds the crosshair, the zoom and the links into time.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from stormgate.model import Judgement, Plan, Verdict, to_json
from stormgate.report.html.data import as_element, page_data
from stormgate.report.html.findings import cells, deciding, failures, objectives, validity
from stormgate.report.html.history import earlier_section
from stormgate.report.html.parts import heading
from stormgate.report.html.places import map_section
from stormgate.report.html.run import RunSections, run_sections
from stormgate.report.words import (
    MARKS,
    amount,
    gate_file,
    headline,
    meaning,
    next_steps,
    one_line,
    printable,
    seconds,
    told_of_run,
)

if TYPE_CHECKING:
    from stormgate.evidence.past import PastRun
    from stormgate.evidence.read import Run


def report_html(judgement: Judgement, run: Run | None = None, past: Sequence[PastRun] = ()) -> str:
    """The page. Evidence that is missing or torn leaves its section out and is named; it never
    breaks the page. `past` are earlier runs of the gate, the oldest first.
    """
    plan = run.plan if run is not None else None
    folder = f"reports/{run.folder.name}" if run is not None else "reports/latest"
    drawn = run_sections(run) if run is not None else RunSections(Markup(""), Markup(""))
    sections = [
        _banner(judgement, plan, drawn),
        objectives(judgement),
        _next(judgement, folder, plan),
        drawn.drawn,
        cells(judgement),
        map_section(judgement, plan, drawn.series),
        earlier_section(judgement, past, run.folder.name if run is not None else ""),
        failures(judgement),
        validity(judgement),
        drawn.behind,
        _again(judgement, folder, plan),
        _plan(plan),
        _footer(judgement, run),
    ]
    title = f"{judgement.verdict.value} {one_line(judgement.gate)}"
    data = page_data(run, drawn) if run is not None else None
    return page(title, Markup("\n").join(section for section in sections if section), data)


def page(title: str, body: Markup, data: dict[str, Any] | None = None) -> str:
    """A whole document around a body: our style, and nothing that could be loaded or run beside
    it, whatever an escaping mistake would let through. With `data` our script comes along.
    """
    css, script = resource("page.css"), Markup("")
    policy = f"default-src 'none'; style-src '{digest(css)}'; base-uri 'none'; form-action 'none'"
    if data is not None:
        code = resource("page.js")
        policy += f"; script-src '{digest(code)}'"
        script = Markup("\n{}\n<script>{}</script>").format(
            as_element(data),
            Markup(code),  # noqa: S704 - our own
        )
    document = Markup(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="{}">\n'
        "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n{}\n</main>{}\n</body>\n</html>\n"
    )
    return printable(document.format(Markup(policy), title, Markup(css), body, script))  # noqa: S704 - our own


def resource(name: str) -> str:
    """A file that the page carries with it."""
    return resources.files("stormgate.report.html").joinpath(name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """The hash of an inline style or script as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _banner(judgement: Judgement, plan: Plan | None, drawn: RunSections) -> Markup:
    verdict = judgement.verdict
    waived = " (waived)" if verdict is Verdict.FAIL and judgement.exit_code == 0 else ""
    facts: list[tuple[str, str]] = [("Exit code", str(judgement.exit_code))]
    if plan is not None:
        facts += [
            ("Target", f"{one_line(plan.target.name)} ({plan.target.environment})"),
            ("Started", plan.started_utc or "unknown"),
            (
                "Load",
                f"{plan.load.rate_per_s:g} requests/s, {len(plan.target.populations)} populations",
            ),
            ("Faults", ", ".join(f.name for f in plan.faults) or "none"),
            ("Confidence", amount(plan.confidence, "share")),
            ("Seed", str(plan.seed)),
        ]
    listed = Markup("").join(
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(k, one_line(v)) for k, v in facts
    )
    return Markup(
        '<header class="banner {0}"><h1>{1}</h1><p class="verdict">{2} {0}{3}</p><p '
        'class="why">{4}</p>{7}{8}'
        '<p class="soft">{0} means: {5}.</p><dl class="facts">{6}</dl></header>'
    ).format(
        verdict.value,
        one_line(judgement.gate),
        MARKS[verdict],
        waived,
        headline(judgement),
        meaning(judgement),
        listed,
        deciding(judgement, drawn.faults),
        Markup("").join(Markup("<p>{}</p>").format(line) for line in told_of_run(judgement)),
    )


def _next(judgement: Judgement, folder: str, plan: Plan | None) -> Markup:
    steps = Markup("").join(
        Markup("<li>{}</li>").format(_with_code(s)) for s in next_steps(judgement, folder, plan)
    )
    return Markup("{}<ol>{}</ol>").format(heading("What to do next", "next"), steps)


def _with_code(step: str) -> Markup:
    parts = step.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else Markup("{}").format(part)
        for index, part in enumerate(parts)
    )


def _again(judgement: Judgement, folder: str, plan: Plan | None) -> Markup:
    gate = gate_file(judgement, plan)
    seed = f" --seed {plan.seed}" if plan else ""
    lines = (
        f"stormgate judge {folder}            # the same evidence, judged again: the same "
        "verdict, byte for byte",
        f"stormgate gate {gate}{seed}   # the same trial again",
        f"stormgate evidence check {folder}   # is the evidence whole?",
    )
    return Markup("{}<pre>{}</pre>").format(
        heading("Again", "again"), "\n".join(one_line_keeping_spaces(line) for line in lines)
    )


def one_line_keeping_spaces(text: str) -> str:
    """A command as it is typed, without line breaks that would make it two."""
    return printable(text).replace("\n", " ").replace("\r", " ")


def _plan(plan: Plan | None) -> Markup:
    if plan is None:
        return Markup("")
    data = to_json(plan)
    around = (
        f"warmup {seconds(plan.warmup_s)}, steady {seconds(plan.steady_s)}, final "
        f"{seconds(plan.final_s)}"
    )
    text = json.dumps(data, indent=1, ensure_ascii=False)
    if len(text) > 200_000:
        text = text[:200_000] + "\n… (the rest is in plan.json)"
    return Markup("{}<p>{}</p><details><summary>plan.json</summary><pre>{}</pre></details>").format(
        heading("Plan", "plan"), around, text
    )


def _footer(judgement: Judgement, run: Run | None) -> Markup:
    problems = ""
    if run is not None and run.problems:
        problems = "Evidence: " + "; ".join(one_line(p) for p in run.problems[:20]) + ". "
    return Markup("<footer>{}Plan digest <code>{}</code>, schema {}.</footer>").format(
        problems, judgement.plan_digest or "none", judgement.schema
    )
