"""`stormgate schema` and `stormgate init`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import click

STARTER = {
    "gate.yaml": "slas/release.yaml",
    "target.yaml": "targets/{name}.yaml",
    "experiment.yaml": "experiments/web-loss.yaml",
    "locustfile.txt": "loadtests/users.py",
    "readme.md": "README.md",
    "ignore.txt": ".gitignore",
}


@click.command(short_help="Print the JSON Schema of a document kind, for editors.")
@click.argument("kind", required=False)
def schema_command(kind: str | None) -> None:
    """Print the JSON Schema of KIND, or one schema for files of any kind. Of a run folder: plan,
    verdict and journal, and one row of generator, timeline, undo and reading.

    \b
    stormgate schema > .stormgate.schema.json
    and as the first line of a document, for editors with a YAML language server:
    # yaml-language-server: $schema=../.stormgate.schema.json
    """
    from stormgate.documents.problems import nearest
    from stormgate.documents.schema import combined, schemas
    from stormgate.evidence.formats import schemas as evidence_schemas

    if kind is None:
        click.echo(json.dumps(combined(), indent=2))
        return
    known = schemas() | evidence_schemas()
    if kind not in known:
        raise click.ClickException(
            f"there is no kind {kind!r}; {nearest(kind, known, what='kinds')}"
        )
    click.echo(json.dumps(known[kind], indent=2))


@click.command(short_help="Lay out the content folders for another product.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", help="The product's name. [default: the folder's]")
@click.option(
    "--url",
    "urls",
    multiple=True,
    metavar="[REGION=]URL",
    help="Where users of a region enter; once per region. [default: asked, else http://127.0.0.1:8080]",
)
@click.option(
    "--kind",
    type=click.Choice(["http", "process", "compose", "kubernetes"]),
    help="How the parts run, which is how they are broken; http: all that is known is the URL. "
    "[default: asked, else process]",
)
@click.option(
    "--rate",
    "rate_per_s",
    type=click.FloatRange(1, 100_000),
    default=100.0,
    show_default=True,
    help="Requests a second of the gate; one knob for all of its users.",
)
def init_command(
    folder: Path, name: str | None, urls: tuple[str, ...], kind: str | None, rate_per_s: float
) -> None:
    """Lay a small, complete suite out in FOLDER: gate, target, experiment, users, pipeline.

    Nothing that exists is overwritten. What is written loads without an error; `stormgate check`
    says what of it is not yet so.
    """
    from stormgate.documents.starter import NAME, Starter, regions_of, texts

    product = (
        name or re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "product"
    )
    if not NAME.fullmatch(product):
        raise click.ClickException(
            f"--name: {product!r} is not a name; use lower-case letters, digits and dashes, at "
            "most 42"
        )
    if sys.stdin.isatty():
        urls, kind = asked(urls, kind)
    try:
        regions = regions_of(urls or ("http://127.0.0.1:8080",))
    except ValueError as error:
        raise click.ClickException(f"--url: {error}") from None
    made = texts(Starter(product, regions, kind or "process", rate_per_s))
    try:
        written = write_all({folder / path: text for path, text in made.items()})
        for extra in ("probes", "reports"):
            (folder / extra).mkdir(exist_ok=True)
    except FileExistsError as error:
        raise click.ClickException(
            f"{error.filename} exists and is not overwritten; choose another folder"
        ) from None
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or folder}: {error.strerror}; choose a folder you may write to"
        ) from None
    for path in written:
        click.echo(f"  {path}")
    click.echo(f"\nNext: look through {folder / 'targets' / (product + '.yaml')}, then")
    gate = folder / "slas" / "release.yaml"
    click.echo(f"  stormgate check {gate}    # is everything there?")
    click.echo(f"  stormgate plan {gate}     # can it be decided?")
    click.echo(f"  stormgate gate {gate}")


def asked(urls: tuple[str, ...], kind: str | None) -> tuple[tuple[str, ...], str | None]:
    """What a person at a terminal adds to what the command line said."""
    if not urls:
        found = [click.prompt("Where do users enter? [REGION=]URL", "http://127.0.0.1:8080")]
        while more := click.prompt("Another region? (enter: no)", "", show_default=False):
            found.append(more)
        urls = tuple(found)
    if kind is None:
        kinds = click.Choice(["http", "process", "compose", "kubernetes"])
        kind = str(click.prompt("How do its parts run?", "process", type=kinds))
    return urls, kind


def write_all(texts: Mapping[Path, str]) -> list[Path]:
    """Write files that are not there yet; their paths. Raises FileExistsError before anything is
    written.
    """
    for path in texts:
        if path.exists():
            raise FileExistsError(17, "exists", str(path))
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)


def lay_out(folder: Path, name: str) -> list[Path]:
    """Write the starter set for a product; the paths written. Raises FileExistsError before
    anything is written.
    """
    from importlib import resources

    source = resources.files("stormgate.documents").joinpath("starter")
    texts = {
        folder / target.format(name=name): source.joinpath(template)
        .read_text(encoding="utf-8")
        .replace("PRODUCT", name)
        for template, target in STARTER.items()
    }
    written = write_all(texts)
    for extra in ("probes", "reports"):
        (folder / extra).mkdir(exist_ok=True)
    return written
