"""`stormgate inject`: break something by hand, proven, for a while, and taken back by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stormgate.commands.common import refuse
from stormgate.commands.gameday.chosen import (
    BY,
    REPORTS,
    TARGET,
    parameters,
    person,
    reports_of,
    seconds,
    the_target,
)
from stormgate.model import Verdict

if TYPE_CHECKING:
    from pydantic import BaseModel

    from stormgate.faults.hands.asking import Keeper
    from stormgate.model import Component, Target

_SAME = {"kill": "crash"}
_KEYS = ("kind", "region", "role", "share")
# What came of an injection that does not stand. Else: nothing was touched.
_CODES = {
    "Unproven": Verdict.INCONCLUSIVE,
    "Stopped": Verdict.ABORTED,
    "NotApplied": Verdict.ERROR,
    "UndoFailed": Verdict.DIRTY,
}


@click.command(
    "inject",
    short_help="Break something by hand: proven, for a while, taken back by itself.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
)
@click.argument("mode")
@click.argument(
    "words", nargs=-1, type=click.UNPROCESSED, metavar="[COMPONENT]... [--PARAMETER VALUE]..."
)
@click.option(
    "--for",
    "stand",
    metavar="TIME",
    help="How long it stands, as in 60s. [default: 10m, or what a load's gate allows]",
)
@click.option("--kind", help="Of this kind only.")
@click.option("--region", help="In this region only.")
@click.option("--role", help="In this live role only, as in primary.")
@click.option("--share", "part", help="So many of those selected: one of, half of, 2, 25%.")
@click.option("--name", default="", help="What the fault is called. [default: hand-1, hand-2, …]")
@click.option("--heals", is_flag=True, help="Something is expected to heal it while it stands.")
@click.option("--max-regions", type=click.IntRange(0), help="Refuse what touches more regions.")
@click.option(
    "--max-users", metavar="SHARE", help="Refuse what touches more of the users, as in 10%."
)
@click.option("--allow-production", is_flag=True, help="Needed for a target that is production.")
@TARGET
@REPORTS
@BY
def command(  # noqa: PLR0913 - one for each option of the command line
    mode: str,
    words: tuple[str, ...],
    *,
    stand: str | None,
    kind: str | None,
    region: str | None,
    role: str | None,
    part: str | None,
    name: str,
    heals: bool,
    max_regions: int | None,
    max_users: str | None,
    allow_production: bool,
    target_file: Path | None,
    reports: Path | None,
    by: str | None,
) -> int:
    """Break COMPONENT by MODE (kill, freeze, slow, … whatever its backend can) and return when it
    is seen to be broken.

    \b
    stormgate inject kill eu-west/cache --for 60s
    stormgate inject slow eu-west --latency 150ms
    stormgate inject kill --kind database --role primary
    stormgate inject partition eu-west,eu-north us-east

    A partition cuts the links between sets of regions (one set: from all others), silently unless
    --cut says how.

    It is taken back when its time is over, also when this console is gone long since; at once by
    `stormgate undo` and `stormgate halt`. While `stormgate load` runs it becomes part of that run;
    else it leaves a run folder of its own. Exit code 0: it stands, proven. 2: nothing was touched.
    3: no effect was seen, and it was taken back. 6: something could not be taken back.
    """
    target = the_target(target_file)
    count = next((i for i, word in enumerate(words) if word.startswith("--")), len(words))
    chosen: list[Any] = list(words[:count])
    if selection := {k: v for k, v in zip(_KEYS, (kind, region, role, part), strict=True) if v}:
        chosen = [{**selection, "name": one} for one in chosen] or [selection]
    mode = _SAME.get(mode, mode)
    question = {
        "op": "inject",
        "mode": mode,
        "components": chosen,
        "params": parameters(words[count:], _model(target, mode, chosen)),
        "for_s": seconds("--for", stand) if stand is not None else None,
        "by": person(by),
        "fault": name,
        "heals": heals,
        "bounds": [max_regions, _share(max_users)],
        "allow_production": allow_production,
    }
    return _told(*_ask(target, question, reports_of(reports)), target)


def _ask(target: Target, question: dict[str, Any], reports: Path) -> tuple[Keeper, dict[str, Any]]:
    from stormgate.faults.errors import ChaosError
    from stormgate.faults.hands.asking import NotKept, ask
    from stormgate.faults.hands.halt import standing
    from stormgate.supervise.hands.starting import keep

    if (order := standing()) is not None:
        refuse(str(order), "stormgate resume --reason TEXT")
    try:
        keeper = keep(target, reports, question["by"])
        reply = ask(keeper, question, lambda text: click.echo(text, err=True))
        if reply.get("error") == "Ending":
            # The one there was had just nothing left to keep.
            keeper = keep(target, reports, question["by"], besides=keeper)
            reply = ask(keeper, question, lambda text: click.echo(text, err=True))
    except NotKept as error:
        raise click.ClickException(f"{error}; `stormgate faults` says what stands") from None
    except ChaosError as error:
        refuse(str(error), "wait for it, or stop it")
    except OSError as error:
        raise click.ClickException(f"no run folder could be made: {error}") from None
    return keeper, reply


def _told(keeper: Keeper, reply: dict[str, Any], target: Target) -> int:
    from stormgate.report.words import one_line

    if "error" in reply:
        kind, why = str(reply["error"]), one_line(str(reply["why"]))
        verdict = _CODES.get(kind)
        if verdict is None:
            refuse(f"{kind}: {why}", "nothing was broken; correct it and try again")
        click.echo(f"NOT standing: {kind}: {why}", err=True)
        click.echo(f"evidence: {keeper.folder}", err=True)
        return verdict.exit_code
    fault = one_line(str(reply["fault"]))
    for row in reply["rows"]:
        after = row["observed_after_ms"]
        click.echo(f"{fault}: {row['mode']} {one_line(row['component'])}, seen after {after:g} ms")
        for proof in row["proof"]:
            click.echo(f"  {one_line(proof['component'])}: {one_line(proof['saw'])}")
    click.echo(f"taken back at {reply['until_utc']}, or by: stormgate undo {fault}")
    click.echo(f"evidence: {keeper.folder}")
    if target.environment == "production":
        click.echo("this is production")
    return 0


def _model(target: Target, mode: str, chosen: list[Any]) -> type[BaseModel] | None:
    """What the mode may be told by the first that is named; None where only the keeper can say."""
    from stormgate.faults import backends, expansion
    from stormgate.faults.errors import ChaosError
    from stormgate.faults.selection import Selector, select
    from stormgate.model import Component

    try:
        if mode == expansion.SURGE:
            return backends.modes_of(Component(name="load", kind=expansion.LOAD, backend="load"))[
                mode
            ]
        found: list[Component] = []
        for one in chosen:
            selector = Selector.of(one)
            if selector.role is None:
                found += select(target.components, selector, seed="")
        part = expansion.parts_of(target, found[0], mode)[0] if found else None
        return backends.modes_of(part.component)[part.mode] if part is not None else None
    except (ChaosError, KeyError, IndexError):
        return None


def _share(text: str | None) -> float | None:
    from stormgate.documents.values import share

    if text is None:
        return None
    try:
        return share(text)
    except ValueError as error:
        told = getattr(error, "context", {}).get("what", error)
        raise click.UsageError(f"--max-users: {told}") from None
