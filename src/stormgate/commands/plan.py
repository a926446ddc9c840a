"""`stormgate plan`: what a gate can decide, before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stormgate.commands.common import preflight
from stormgate.model import Verdict, company, expected_spans, groups

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable, RenderableType

    from stormgate.judge.planning import Assessment, ObjectivePlan
    from stormgate.model import Plan


@click.command(short_help="Say whether a gate can decide its objectives at all, before it runs.")
@click.argument("gate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--json", "as_json", is_flag=True, help="Print the assessment and the resolved plan as JSON."
)
@click.option(
    "--fault-s",
    type=click.FloatRange(min=1),
    default=20.0,
    show_default=True,
    help="How long a fault phase is assumed to last.",
)
@click.option("--allow-production", is_flag=True, help="Read a gate whose target is production.")
def command(gate: Path, as_json: bool, fault_s: float, allow_production: bool) -> int:
    """Per objective of GATE: the requests needed and expected, the chances to pass, and what
    contradicts itself.

    Exit code 0 if every objective can pass and can fail, 3 if one cannot be decided as planned, 2
    if a rule stays green.
    """
    import json

    from stormgate.documents import DocumentErrors, load_gate, suite_root
    from stormgate.documents.unheld import unheld
    from stormgate.judge.planning import assess
    from stormgate.model import EXIT_USAGE, to_json

    try:
        plan = load_gate(gate, allow_production=allow_production)
    except DocumentErrors as errors:
        raise click.ClickException(str(errors)) from None
    plan = preflight(gate, plan)
    assessment = assess(plan, fault_s, streams_of(plan))
    free = unheld(plan, suite_root(gate))
    if as_json:
        click.echo(
            json.dumps(
                {"assessment": assessment.to_json(), "unheld": free, "plan": to_json(plan)},
                indent=1,
            )
        )
    else:
        from stormgate.report.console import screen

        screen().print(render(plan, assessment))
        for line in free:
            click.echo(f"not held to allow, for it runs by itself: {line}")
    if assessment.green:
        return EXIT_USAGE
    return 0 if assessment.decidable else Verdict.INCONCLUSIVE.exit_code


def streams_of(plan: Plan) -> dict[str, int] | None:
    """How many streams each population is dealt, if all are of one user class; None without
    populations.
    """
    from stormgate.load.schedule.shares import Dealer

    shares = {p.name: p.share for p in plan.target.populations}
    if not any(share > 0 for share in shares.values()):
        return None
    dealer, dealt = Dealer(shares), dict.fromkeys(shares, 0)
    for _ in range(plan.load.users):
        dealt[dealer.take()[1]] += 1
    return dealt


def _unserved(plan: Plan, assessment: Assessment) -> str:
    names = assessment.unserved
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    weight = sum(p.share for p in plan.target.populations if p.name in set(names))
    told = (
        f"no stream is dealt to {shown} ({weight:.1%} of the users): {plan.load.users} streams "
        f"over {len(plan.target.populations)} populations"
    )
    return f"{told}; the judge will miss them, plan more users" if assessment.missed else told


def render(plan: Plan, assessment: Assessment) -> RenderableType:
    """The assessment as a person reads it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = (
        f"{assessment.gate}: {len(plan.target.populations)} populations, {len(plan.faults)} "
        "faults, "
        f"{plan.load.rate_per_s:g} requests/s, confidence {plan.confidence:.4g}, seed {plan.seed}\n"
        f"about {assessment.seconds:,.0f} s and {assessment.requests:,} requests, if a fault "
        f"phase lasts {assessment.fault_s:g} s"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (
        "objective",
        "needs",
        "gets",
        "cells",
        "PASS at limit",
        "half",
        "twice",
        "outages seen",
    ):
        table.add_column(name, justify="left" if name == "objective" else "right", no_wrap=True)
    for o in assessment.objectives:
        table.add_row(*_row(o))
    lines: list[ConsoleRenderable] = [Text(head)]
    lines += [Text(line) for line in course_of(plan, assessment.fault_s)]
    lines += [Text(""), table]
    lines.append(
        Text(
            "PASS at limit, half, twice: the chance to pass if the truth is that share of the "
            "badness allowed (failover: if every cell is down for so long)",
            style="dim",
        )
    )
    if assessment.unserved:
        style = "red" if assessment.missed else "dim"
        lines.append(Text(_unserved(plan, assessment), style=style))
    for o in assessment.objectives:
        for contradiction in o.contradictions:
            lines.append(Text(f"{o.source or 'gate'}: {o.name}: {contradiction}", style="red"))
        if o.note:
            lines.append(Text(f"{o.name}: {o.note}", style="dim"))
    lines += [Text(f"warning: {warning}", style="yellow") for warning in assessment.warnings]
    lines.append(
        Text(
            "every objective can pass, and was shown a violation and failed"
            if assessment.decidable
            else "not decidable as planned",
            style="bold",
        )
    )
    return Group(*lines)


def course_of(plan: Plan, fault_s: float) -> list[str]:
    """Which faults stand together or wait for something, and when each phase of theirs is expected,
    if a fault stands for `fault_s`; nothing where they come one by one.
    """
    spans = {name: (begin, end) for name, begin, end in expected_spans(plan, fault_s)}
    told = []
    for fault in (one for group in groups(plan.faults) for one in group):
        said = []
        if fault.overlaps is not None:
            said.append(f"begins {fault.after_s:g} s after the injection of {fault.overlaps}")
        if fault.when is not None:
            within = f"within {fault.when.within_s:g} s"
            said.append(f"when {fault.when.func} is {fault.when.tolerance!r}, {within}")
        if said or company(fault.name, plan.faults):
            begin, end = spans[f"fault[{fault.name}]"]
            when = f", {', '.join(said)}" if said else ""
            over = spans[f"recovery[{fault.name}]"][1]
            told.append(
                f"  fault[{fault.name}] {begin:.0f} to {end:.0f} s, recovery to {over:.0f} s{when}"
            )
    return told


def _row(o: ObjectivePlan) -> tuple[str, ...]:
    chances = ("", "", "")
    if o.chances is not None:
        chances = (f"{o.chances.at_target:.1%}", f"{o.chances.half:.1%}", f"{o.chances.twice:.1%}")
    resolves = ""
    if o.resolution_s is not None and o.widest_outage_s is not None:
        resolves = f"{o.resolution_s:.2f} to {o.widest_outage_s:.0f} s"
    return (
        o.name,
        f"{o.requests_needed:,}",
        f"{o.requests_expected:,}",
        f"{o.cells}",
        *chances,
        resolves,
    )
