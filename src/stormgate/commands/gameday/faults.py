"""`stormgate faults`, `undo`, `halt` and `resume`: what stands, and taking it back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from stormgate.commands.gameday.chosen import BY, person
from stormgate.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stormgate.faults.hands.standing import StandingFault, StandingFaults


@click.command("faults", short_help="List what is broken now: proof, age, who, until when.")
@click.option("--json", "as_json", is_flag=True, help="An object a line.")
def faults_command(as_json: bool) -> int:
    """List every fault of this user on this machine that is not undone, by hand or of a gate.

    Exit code 6 when nobody can tell of some run what it left.
    """
    found = _look()
    now = datetime.now(UTC)
    for one in found.faults:
        click.echo(json.dumps(_facts(one, now)) if as_json else _line(one, now))
    for line in found.unknown:
        _say(f"nobody can tell: {line}", err=True)
    if not as_json:
        _say_halt()
        if not found.faults and not found.unknown:
            _say("no fault of this user on this machine is open")
    return Verdict.DIRTY.exit_code if found.unknown else 0


@click.command("undo", short_help="Take back a fault, or all of them.")
@click.argument("which", metavar="[ID|all]", default="all")
@BY
def undo_command(which: str, by: str | None) -> int:
    """Take back the fault with this ID, name or component (as `stormgate faults` lists them), or
    all that were made by hand or left behind.

    A gate that lives takes back its own: `stormgate halt` stops it. Exit code 0: undone and seen to
    be; 6: not.
    """
    found = _look()
    chosen = [one for one in found.faults if which in ("all", one.id, one.fault, one.component)]
    if not chosen and which != "all":
        raise click.UsageError(f"no open fault is called {which!r}; `stormgate faults` lists them")
    return _withdraw(chosen, found, person(by), whole_runs=False)


@click.command("halt", short_help="Take back everything, and break nothing until `resume`.")
@click.option("--reason", default="", help="Why, for whoever asks.")
@BY
def halt_command(reason: str, by: str | None) -> int:
    """Take back every fault of this user on this machine, and refuse every new one, also those of
    gates that run, until `stormgate resume`.

    A gate whose fault is open is stopped, as at ctrl-C; one between its faults cannot break the
    next. Exit code 0: nothing is broken any more; 6: something is, and it is named.
    """
    from stormgate.faults.hands.halt import halt

    name = person(by)
    try:
        order = halt(name, reason.strip())
    except OSError as error:
        _say(f"NOT halted: {error}", err=True)
        return Verdict.DIRTY.exit_code
    _say(f"{order}; nothing is broken until: stormgate resume --reason TEXT")
    found = _look()
    return _withdraw(found.faults, found, name, whole_runs=True)


@click.command("resume", short_help="Take the order to halt back.")
@click.option("--reason", required=True, help="Why things may be broken again, for the records.")
@BY
def resume_command(reason: str, by: str | None) -> int:
    """Let things be broken again. Nothing that was withdrawn comes back by itself."""
    from stormgate.faults.hands.halt import resume

    if not reason.strip():
        raise click.UsageError("--reason: say why, for whoever asks")
    try:
        before = resume(person(by), reason.strip())
    except OSError as error:
        raise click.ClickException(f"the order stands: {error}") from None
    _say("nothing was halted" if before is None else f"resumed (it was {before})")
    return 0


def _look() -> StandingFaults:
    from stormgate.faults.hands.standing import standing_faults

    try:
        return standing_faults()
    except OSError as error:
        _say(f"what is broken is not known: {error}", err=True)
        raise SystemExit(Verdict.DIRTY.exit_code) from None


def _withdraw(
    chosen: Sequence[StandingFault], found: StandingFaults, by: str, *, whole_runs: bool
) -> int:
    from stormgate.faults.hands.withdraw import withdraw

    done = withdraw(chosen, by, whole_runs=whole_runs, say=lambda text: _say(text, err=True))
    for item in done.undone:
        _say(f"undone: {item}")
    for problem in done.failed:
        _say(f"NOT undone: {problem}", err=True)
    for line in found.unknown:
        _say(f"nobody can tell: {line}", err=True)
    if not chosen and not found.unknown:
        _say("no fault is open")
    return Verdict.DIRTY.exit_code if done.failed or found.unknown else 0


def _line(one: StandingFault, now: datetime) -> str:
    from stormgate.report.words import one_line

    proof = "; ".join(one.proof) or "not seen from outside yet"
    until = f"until {one.until:%H:%M:%S} UTC" if one.until is not None else "until it is undone"
    if not one.kept:
        until = "whoever broke it is gone: stormgate undo takes it back"
    elif one.until is not None and one.until < now:
        until += " (overdue)"
    age_s = one.age_s(now)
    age = "nobody knows how old" if age_s is None else f"{age_s:.0f} s old"
    what = f"{one.id}  {one.fault}: {one.mode} {one.component} of {one.target}"
    head = f"{what}, {age}, by {one.by}, {until}"
    return f"{one_line(head)}\n  {one_line(proof)}\n  {one_line(str(one.folder))}"


def _facts(one: StandingFault, now: datetime) -> dict[str, Any]:
    return {
        "id": one.id,
        "target": one.target,
        "fault": one.fault,
        "component": one.component,
        "mode": one.mode,
        "parts": list(one.parts),
        "proof": list(one.proof),
        "by": one.by,
        "age_s": one.age_s(now),
        "until_utc": one.until.isoformat() if one.until is not None else None,
        "kept": one.kept,
        "folder": str(one.folder),
    }


def _say_halt() -> None:
    from stormgate.faults.hands.halt import standing

    if (order := standing()) is not None:
        _say(f"{order}; stormgate resume --reason TEXT lets things be broken again")


def _say(text: str, err: bool = False) -> None:
    from stormgate.report.words import one_line

    click.echo(one_line(text), err=err)
