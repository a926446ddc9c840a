"""`stormgate discover`: a first target document, from what a platform says is there."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(short_help="Write a first target document from what a platform says is there.")
def command() -> None:
    """Ask a platform what is there, and print a target document that can break it. Nothing is
    changed.
    """


@command.command("kubernetes")
@click.option("--context", required=True, help="A context of the kubeconfig, by name.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    help="The file. [default: KUBECONFIG, else ~/.kube/config]",
)
@click.option(
    "--namespace",
    "namespaces",
    multiple=True,
    metavar="NAME",
    help="Only these; repeatable. [default: all but the system's own]",
)
@click.option("--name", help="The target's name. [default: the context's]")
def kubernetes(
    context: str, kubeconfig: Path | None, namespaces: tuple[str, ...], name: str | None
) -> int:
    """Regions and zones by the nodes' labels, workloads and services, where users come in, and what
    no mode can break. Exit code 0, or 2 when the cluster could not be asked.

    \b
    stormgate discover kubernetes --context staging > targets/staging.yaml
    """
    from stormgate.faults.backends.kubernetes.api import KubernetesError, cluster_of
    from stormgate.faults.backends.kubernetes.discover import discover, document
    from stormgate.faults.errors import CannotBreak
    from stormgate.net.allow import AllowList
    from stormgate.net.guard import holding

    basis = {"context": context} | ({"kubeconfig": str(kubeconfig)} if kubeconfig else {})
    try:
        cluster = cluster_of(basis)
        with holding(AllowList([cluster.access.host])):
            found = discover(cluster, basis, namespaces)
    except (CannotBreak, KubernetesError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(document(found, name or context, cluster.access.host, context), nl=False)
    return 0
