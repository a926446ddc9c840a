"""`stormgate evidence`: is a run folder what docs/evidence.md says, and who vouches for it?"""

from __future__ import annotations

from pathlib import Path

import click

_RUN = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group(short_help="Check a run folder against the format; sign it, verify it.")
def command() -> None:
    """Run folders: see docs/evidence.md for the format, the seal and the signature."""


@command.command("check")
@_RUN
def check(run: Path) -> int:
    """Name every torn block, wrong hash, wrong column, missing and added file of RUN, judge it
    again and compare; exit 1 if there is any problem.
    """
    from stormgate.evidence.check import check_run

    problems = check_run(run) + _judged_again(run)
    for problem in problems:
        _say(problem)
    restored = run / "restored"
    if restored.is_dir():
        _say(f"{run}: faults were undone or closed after the run was sealed, see {restored.name}/")
    _say(f"{run}: {'whole' if not problems else f'{len(problems)} problems'}")
    return 1 if problems else 0


@command.command("export")
@_RUN
@click.option("--history", "what", flag_value="history", default=None, help="What users did.")
@click.option(
    "--model",
    default="rw-register",
    show_default=True,
    type=click.Choice(["rw-register", "register", "list-append", "bank", "counter"]),
    help="Registers of all keys, one (with --key), lists, accounts or counters.",
)
@click.option("--key", help="Of one key only.")
@click.option("--final", "with_final", is_flag=True, help="With what was read back in the end.")
@click.option("--form", default="edn", show_default=True, type=click.Choice(["edn", "json"]))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A new file.")
def export(
    run: Path,
    what: str | None,
    model: str,
    key: str | None,
    with_final: bool,
    form: str,
    out: Path | None,
) -> int:
    """Write the history of RUN in the shape of Jepsen's, for elle and Knossos. Exit 1 when it has
    none of that model.
    """
    if what is None:
        raise click.UsageError("say what to export: --history")
    if model == "register" and key is None:
        raise click.UsageError("a register is one key: name it with --key")
    from stormgate.evidence import open_run
    from stormgate.evidence.operations import FINAL, HistoryReader
    from stormgate.judge.histories.jepsen import jepsen_history, written

    opened, reader = open_run(run), HistoryReader()
    history = reader.read(opened.operations())
    if with_final:
        history = history.joined(reader.read(opened.operations(FINAL), final=True))
    for problem in (*reader.problems, *opened.problems):
        _say(f"{run}: {problem}", err=True)
    operations = list(jepsen_history(history, model, key))
    if not operations:
        of = f" of key {key!r}" if key else ""
        _say(f"{run}: no operation of {model}{of} is in it", err=True)
        return 1
    lines = written(iter(operations), form)
    if out is None:
        for line in lines:
            click.echo(line)
        return 0
    try:
        with out.open("x", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise click.ClickException(f"{out}: {error.strerror}") from error
    _say(f"{out}: {len(operations) // 2:,} operations")
    return 0


@command.command("keygen")
@click.argument("key", type=click.Path(path_type=Path))
def keygen(key: Path) -> int:
    """Make an Ed25519 key: KEY (keep it secret) and KEY.pub (hand it out)."""
    from stormgate.evidence.signature import make_key

    try:
        public = make_key(key)
    except OSError as error:
        raise click.ClickException(f"{error.filename or key}: {error.strerror}") from error
    _say(f"{key}: to sign with, keep it secret; {public}: to verify with")
    return 0


@command.command("sign")
@_RUN
@click.option(
    "--key", required=True, type=click.Path(path_type=Path), help="Private key, PEM (Ed25519)."
)
def sign(run: Path, key: Path) -> int:
    """Vouch for RUN: sign its manifest, as an in-toto statement in a DSSE envelope. Exit 1 when it
    is not whole.
    """
    from stormgate.evidence.signature import SignatureProblem
    from stormgate.evidence.signature import sign as sign_run

    if again := _judged_again(run):
        _say(f"{run}: NOT signed: {again[0]}", err=True)
        return 1
    try:
        keyid = sign_run(run, key)
    except SignatureProblem as problem:
        _say(f"{run}: NOT signed: {problem}", err=True)
        return 1
    except OSError as error:
        raise click.ClickException(f"{key}: {error.strerror or error}") from error
    _say(f"{run}: signed with key {keyid[:16]}")
    return 0


@command.command("verify")
@_RUN
@click.option(
    "--key", required=True, type=click.Path(path_type=Path), help="Public key, PEM (Ed25519)."
)
def verify(run: Path, key: Path) -> int:
    """Whether RUN is, file by file, what the owner of KEY signed, and its verdict the one that its
    evidence gives. Exit 1 when not.
    """
    from stormgate.evidence.signature import SignatureProblem
    from stormgate.evidence.signature import verify as verify_run

    try:
        signed = verify_run(run, key)
    except SignatureProblem as problem:
        _say(f"{run}: NOT verified: {problem}", err=True)
        return 1
    except OSError as error:
        raise click.ClickException(f"{key}: {error.strerror or error}") from error
    if again := _judged_again(run):
        _say(f"{run}: NOT verified: {again[0]}", err=True)
        return 1
    _say(f"{run}: signed with key {signed.keyid[:16]}: {signed.gate} {signed.verdict}")
    return 0


def _judged_again(run: Path) -> list[str]:
    """What differs between verdict.json and what the evidence gives."""
    from stormgate.evidence.read import read_regular
    from stormgate.report import verdict_json
    from stormgate.supervise.conclude import judge_folder

    try:
        written = read_regular(run / "verdict.json")
    except OSError as error:
        return [f"verdict.json: cannot be read ({error.strerror or error})"]
    judgement = judge_folder(run)
    if verdict_json(judgement).encode() == written:
        return []
    return [
        f"verdict.json: not what judging the evidence again gives ({judgement.verdict}: "
        f"{judgement.why})"
    ]


def _say(text: str, err: bool = False) -> None:
    from stormgate.report.words import one_line

    click.echo(one_line(text), err=err)
