"""The `stormgate` command. Every subcommand is imported only when it is called, so that `--help`
stays instant.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from stormgate import __version__
from stormgate.model import EXIT_USAGE, Verdict
from stormgate.system.engine import EngineError, chosen_engine, engine_line
from stormgate.system.secrets import know_environment
from stormgate.system.streams import lasting

# name -> (module:attribute, one line for the overview)
_COMMANDS: dict[str, tuple[str, str]] = {
    "gate": (
        "stormgate.commands.gate:command",
        "Put a target on trial and say whether the release may ship.",
    ),
    "plan": (
        "stormgate.commands.plan:command",
        "Say whether a gate can decide its objectives at all, before it runs.",
    ),
    "check": (
        "stormgate.commands.check:command",
        "Look whether everything is there for a gate, without breaking anything.",
    ),
    "judge": (
        "stormgate.commands.finished.judge:command",
        "Judge a run folder again, or against another gate.",
    ),
    "publish": (
        "stormgate.commands.finished.publish:command",
        "Publish a run's verdict: JSON for rollouts, annotations for GitHub.",
    ),
    "report": (
        "stormgate.commands.finished.report:command",
        "Make a report of a run again: html, md, junit or json.",
    ),
    "runs": (
        "stormgate.commands.finished.runs:command",
        "List the runs, what they came to and which may go.",
    ),
    "compare": (
        "stormgate.commands.finished.compare:command",
        "Compare two runs, objective by objective.",
    ),
    "reproduce": (
        "stormgate.commands.reproduce.command:command",
        "Play a failed run again on this machine, and say whether it shows.",
    ),
    "restore": (
        "stormgate.commands.restore:restore_command",
        "Undo every fault that a killed run left behind.",
    ),
    "inject": (
        "stormgate.commands.gameday.inject:command",
        "Break something by hand: proven, for a while, taken back by itself.",
    ),
    "load": (
        "stormgate.commands.gameday.load:command",
        "Drive a target's users, with evidence, while people break it.",
    ),
    "gameday": (
        "stormgate.commands.gameday.day:command",
        "Walk through a game day: steps, hypotheses, people's times.",
    ),
    "faults": (
        "stormgate.commands.gameday.faults:faults_command",
        "List what is broken now: proof, age, who, until when.",
    ),
    "undo": (
        "stormgate.commands.gameday.faults:undo_command",
        "Take back a fault, or all of them.",
    ),
    "halt": (
        "stormgate.commands.gameday.faults:halt_command",
        "Take back everything, and break nothing until `resume`.",
    ),
    "resume": (
        "stormgate.commands.gameday.faults:resume_command",
        "Take the order to halt back.",
    ),
    "use": (
        "stormgate.commands.use:command",
        "Choose what plain `chaos run` acts on in this suite.",
    ),
    "wire": (
        "stormgate.commands.wire:command",
        "Put Toxiproxy in front of what a target names as its links.",
    ),
    "mix": (
        "stormgate.commands.reproduce.mix:command",
        "Write a Locust file that asks for what an access log shows.",
    ),
    "lab": ("stormgate.commands.lab:command", "Start, look at and stop the embedded lab."),
    "prove": (
        "stormgate.commands.prove:command",
        "Violate each objective of a gate on its target, and see that it fails.",
    ),
    "detect": (
        "stormgate.commands.detect:command",
        "Plant known faults in the lab and see which of them a gate finds.",
    ),
    "geography": (
        "stormgate.commands.geography:command",
        "Show a traffic mix as a table and a map.",
    ),
    "evidence": (
        "stormgate.commands.finished.evidence:command",
        "Check, sign and verify run folders.",
    ),
    "schema": (
        "stormgate.commands.documents:schema_command",
        "Print the JSON Schema of a document kind, for editors.",
    ),
    "init": (
        "stormgate.commands.documents:init_command",
        "Lay out the content folders for another product.",
    ),
    "discover": (
        "stormgate.commands.discover:command",
        "Write a first target document from what a platform says is there.",
    ),
    "setup": (
        "stormgate.commands.setup:command",
        "Fetch or build what a first run would otherwise wait for.",
    ),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 PASS, 1 FAIL, 2 usage, 3 INCONCLUSIVE, 4 ERROR, 5 ABORTED, 6 DIRTY. "
    "Nothing measured is never PASS.",
)
@click.version_option(
    __version__, prog_name="stormgate", message=f"%(prog)s, version %(version)s\n{engine_line()}"
)
def stormgate() -> None:
    """Stormgate decides whether a release may ship: load, faults, evidence, verdict."""
    try:
        chosen_engine()
    except EngineError as error:
        raise click.UsageError(str(error)) from None


def main(argv: list[str] | None = None) -> None:
    """Console entry point: usage and document errors exit 2 with one message and no traceback. Exit
    codes 0 and 1 only ever mean a judged PASS or FAIL, also when nobody reads what is printed.
    """
    know_environment(os.environ)
    sys.stdout, sys.stderr = lasting(sys.stdout), lasting(sys.stderr)
    try:
        result: Any = stormgate.main(args=argv, prog_name="stormgate", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stormgate: stopped", err=True)
        sys.exit(Verdict.ABORTED.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except Exception as error:
        # Python's own exit code for this is 1, which would read as FAIL: a defect of ours is never
        # a verdict on the release.
        import traceback

        traceback.print_exc()
        click.echo(f"stormgate: internal error: {type(error).__name__}: {error}", err=True)
        sys.exit(Verdict.ERROR.exit_code)
    sys.stdout.flush()
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
