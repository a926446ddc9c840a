"""`stormgate schema` and `stormgate init`."""

from __future__ import annotations

import json
import re
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
def init_command(folder: Path, name: str | None) -> None:
    """Lay a small, complete set of content folders out in FOLDER: a gate, a target, an experiment,
    users.

    Nothing that exists is overwritten. What is written loads without an error; put your own
    addresses in.
    """
    product = (
        name or re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "product"
    )
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", product):
        raise click.ClickException(
            f"--name: {product!r} is not a name; use lower-case letters, digits and dashes, at "
            "most 42"
        )
    try:
        written = lay_out(folder, product)
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
    click.echo(f"\nNext: put your addresses into {folder / 'targets' / (product + '.yaml')}, then")
    click.echo(f"  stormgate plan {folder / 'slas' / 'release.yaml'}")


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
    for path in texts:
        if path.exists():
            raise FileExistsError(17, "exists", str(path))
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for extra in ("probes", "reports"):
        (folder / extra).mkdir(exist_ok=True)
    return list(texts)
