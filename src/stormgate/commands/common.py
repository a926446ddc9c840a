"""What several subcommands share: loading a gate, and refusing with a reason and a fix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stormgate.documents.trial.given import Changes
    from stormgate.model import Plan
    from stormgate.supervise.live.watch import LiveRuns

LIVE = click.option(
    "--live",
    type=click.IntRange(0, 65535),
    metavar="[PORT]",
    is_flag=False,
    flag_value=0,
    help="Follow the run in a browser: a page on this machine, at the address that is printed.",
)


def live_runs(
    port: int,
    acts: Mapping[str, Callable[[], str]] | None = None,
    day: Callable[[], dict[str, Any] | None] = lambda: None,
) -> LiveRuns:
    """The live page's runs, listening on `port` (0: a free one). One that is taken: exit code 2."""
    from stormgate.supervise.live.watch import LiveRuns

    try:
        return LiveRuns(port, acts, day)
    except OSError as error:
        refuse(f"--live: port {port} cannot be listened on: {error.strerror}", "another port, or 0")


def refuse(why: str, fix: str) -> NoReturn:
    """End with exit code 2, having touched nothing."""
    raise click.ClickException(f"{why}\n  fix: {fix}")


def load_plan(
    gate: Path,
    *,
    allow_production: bool = False,
    finished: bool = False,
    changes: Changes | None = None,
) -> Plan:
    """The plan of a gate document, its rules proven able to fail. Wrong documents: exit code 2 and
    every problem at once. `finished`: for a run that is over. `changes`: those of a short try.
    """
    from stormgate.documents import DocumentErrors, load_gate
    from stormgate.documents.trial.given import NO_CHANGES
    from stormgate.judge.canary import canary_problems

    try:
        plan = load_gate(
            gate,
            allow_production=allow_production,
            finished=finished,
            changes=changes or NO_CHANGES,
        )
    except DocumentErrors as errors:
        raise click.ClickException(str(errors)) from None
    if blind := canary_problems(plan):
        # A rule that stays green when shown a violation, or nothing at all, would pass any release.
        raise click.ClickException("\n".join(blind))
    return plan


def preflight(gate: Path, plan: Plan) -> Plan:
    """The plan with what only its Locust file can tell (its shape's schedule). What is wrong with
    that file or does not fit it: exit code 2 and every problem at once.
    """
    from stormgate.documents import DocumentErrors, suite_root
    from stormgate.supervise import preflight as asked

    try:
        return asked.preflight(gate, plan, suite_root(gate))
    except DocumentErrors as errors:
        raise click.ClickException(str(errors)) from None
