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


@command.command("aws")
@click.option("--region", required=True, metavar="REGION", help="Such as eu-west-1.")
@click.option("--profile", help="A profile of ~/.aws. [default: the environment's credentials]")
@click.option("--endpoint-url", metavar="URL", help="A server other than AWS's own.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Only what carries it; repeatable."
)
@click.option("--name", help="The target's name. [default: aws-REGION]")
def aws(
    region: str,
    profile: str | None,
    endpoint_url: str | None,
    tags: tuple[str, ...],
    name: str | None,
) -> int:
    """Zones, instances, groups, subnets, databases, caches, target groups and functions of a
    region, where users come in, and what no mode can break. Exit code 0, or 2 when the account
    could not be asked.

    \b
    stormgate discover aws --region eu-west-1 --tag app=shop > targets/shop.yaml
    """
    from stormgate.faults.backends.aws.discover import CLIENTS, Discovery, document
    from stormgate.faults.backends.aws.handle import hosts
    from stormgate.faults.backends.aws.session import AwsError, Place, account_here
    from stormgate.faults.errors import CannotBreak
    from stormgate.model import EXIT_USAGE
    from stormgate.net.allow import AllowList
    from stormgate.net.guard import holding

    wanted = dict(tag.partition("=")[::2] for tag in tags)
    if not all(key and "=" in tag for key, tag in zip(wanted, tags, strict=False)):
        raise click.UsageError("--tag wants KEY=VALUE")
    try:
        contacted = hosts({"region": region, "endpoint_url": endpoint_url}, CLIENTS)
        with holding(AllowList(contacted)):
            account = account_here(region, profile, endpoint_url)
            place = Place(account, region, profile, endpoint_url)
            found = Discovery(place, wanted).run()
    except (CannotBreak, AwsError) as error:
        click.echo(f"Error: {error}", err=True)
        return EXIT_USAGE
    click.echo(document(found, place, name or f"aws-{region}"), nl=False)
    return 0
