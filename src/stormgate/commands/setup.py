"""`stormgate setup`: get what a first run would otherwise wait for."""

from __future__ import annotations

import click


@click.command(short_help="Fetch or build what a first run would otherwise wait for.")
def command() -> None:
    """Find or build the toxiproxy server and make the lab's database template, both kept in the user's cache."""
    from stormgate.lab.template import ensure_template
    from stormgate.toxiproxy.server import ensure_binary

    choice = ensure_binary(progress=click.echo)
    click.echo(f"toxiproxy: {choice.kind} {choice.version} ({choice.why})")
    click.echo(f"lab template: {ensure_template()}")
