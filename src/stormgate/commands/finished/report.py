"""`stormgate report`: any report of a run again, from its evidence."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("html", "md", "junit", "json")


@click.command(short_help="Make a report of a run again: html, md, junit or json.")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), default="html", show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it. [default: standard output]",
)
def command(run: Path, form: str, output: Path | None) -> int:
    """Judge the evidence in RUN and write one of its reports. The run folder stays as it is.

    Where the judgement differs from the verdict.json in RUN, that is said: the report shows what
    the evidence says now. The exit code is 0 whatever the verdict; `stormgate judge` answers with
    it.
    """
    from stormgate.evidence import open_run
    from stormgate.evidence.past import past_runs
    from stormgate.model import Judgement
    from stormgate.report import junit_xml, report_html, summary_md, verdict_json
    from stormgate.supervise.conclude import judge_folder
    from stormgate.supervise.hush import hushed
    from stormgate.system.files import write_atomically

    judgement = hushed(judge_folder(run))
    _say_if_other(run, verdict_json(judgement))

    def text(judgement: Judgement) -> str:
        if form == "json":
            return verdict_json(judgement)
        if form == "junit":
            return junit_xml(judgement)
        evidence = open_run(run)
        if form == "md":
            return summary_md(judgement, evidence)
        here = run.resolve()
        past = [p for p in past_runs(here.parent, judgement.gate) if p.name < here.name]
        return report_html(judgement, evidence, past)

    if output is None:
        click.echo(text(judgement), nl=False)
        return 0
    try:
        write_atomically(output, text(judgement))
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written: {error.strerror or error}\n  fix: name another file"
        ) from error
    click.echo(f"{judgement.verdict}: {output}", err=True)
    return 0


def _say_if_other(run: Path, text: str) -> None:
    """Say on standard error that the folder's own verdict.json is not what its evidence comes
    to.
    """
    try:
        kept = (run / "verdict.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        click.echo(f"stormgate: {run / 'verdict.json'} cannot be read: {error}", err=True)
        return
    if kept != text:
        click.echo(
            f"stormgate: {run / 'verdict.json'} is not what the evidence comes to now (another "
            "version judged it, or it was changed); the report shows the evidence",
            err=True,
        )
