"""`stormgate setup`: get what a first run would otherwise wait for, and prove that the lab comes up
on this machine.
"""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Fetch or build what a first run would otherwise wait for.")
@click.option(
    "--target",
    type=click.Path(path_type=Path),
    default=Path("targets/lab.yaml"),
    show_default=True,
    help="The lab to try.",
)
def command(target: Path) -> None:
    """Find or build the toxiproxy server, and start and stop the lab once, which makes its database
    template.
    """
    import tempfile

    from stormgate.documents import load_target
    from stormgate.lab.errors import LabError
    from stormgate.lab.runtime.launch import launch
    from stormgate.toxiproxy.server import ensure_binary

    choice = ensure_binary(progress=click.echo)
    click.echo(f"toxiproxy: {choice.kind} {choice.version or ''} ({choice.why})")
    with tempfile.TemporaryDirectory(
        prefix="stormgate-setup-", ignore_cleanup_errors=True
    ) as state:
        try:
            lab = launch(load_target(target), state=Path(state), deadline_s=120.0)
        except LabError as error:
            raise click.ClickException(
                f"the lab does not come up on this machine: {error}"
            ) from error
        lab.stop()
    click.echo("lab: came up and went down again")
