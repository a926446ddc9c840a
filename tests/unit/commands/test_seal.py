"""The seal: what was sealed stays, what is not as it was sealed is never PASS, and who vouches."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.golden.judge_writer import RESET, objective, plan_of, rows_of, synthetic, write_folder

from stormgate.cli import stormgate
from stormgate.evidence.manifest import MANIFEST, SIGNATURE, check_manifest, write_manifest
from stormgate.evidence.signature import SignatureProblem, make_key, sign, verify
from stormgate.supervise.conclude import judge_folder, write_reports

PLAN = plan_of([objective("availability", target=0.99)], steady_s=30, rate=100)


def sealed(folder: Path, *, broken: bool = False) -> Path:
    rows = rows_of(PLAN)
    if broken:
        rows.outcome[::5] = RESET
    write_folder(synthetic(PLAN, rows), folder)
    write_reports(folder, judge_folder(folder))
    write_manifest(folder)
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed(tmp_path_factory.mktemp("seal") / "run")


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A copy of an honest run, under another name."""
    return Path(shutil.copytree(original, tmp_path / "renamed"))


def said(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(stormgate, [str(each) for each in arguments], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.return_value, done.output


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_judging_a_renamed_folder_changes_nothing_and_it_stays_whole(run: Path) -> None:
    before = content(run)
    assert said("judge", run)[0] == 0
    assert said("judge", run, "--json")[1].encode() == before["verdict.json"]
    assert said("evidence", "check", run)[0] == 0
    assert content(run) == before
    with pytest.raises(AssertionError, match="is sealed"):
        said("judge", run, "--write")
    assert content(run) == before


def test_a_run_that_was_killed_before_its_seal_still_gets_its_reports(run: Path) -> None:
    (run / MANIFEST).unlink()
    (run / "report.html").unlink()
    assert said("judge", run)[0] == 0
    assert (run / "report.html").exists()


def link(path: Path) -> None:
    path.symlink_to("verdict.json")


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


SPOILS: dict[str, Callable[[Path], object]] = {
    "a report": lambda run: grow(run / "report.html"),
    "one bit of the logs of the load": lambda run: flip(run / "summary.md"),
    "a journal added": lambda run: (run / "journals" / "extra.json").write_text("{}"),
    "a hidden file": lambda run: (run / ".hidden").write_text("x"),
    "a file in a hidden folder": lambda run: (
        (run / ".h").mkdir(),
        (run / ".h" / "x").write_text("x"),
    ),
    "a manifest in a folder below": lambda run: (run / "samples" / MANIFEST).write_text("{}"),
    "a signature in a folder below": lambda run: (run / "samples" / SIGNATURE).write_text("{}"),
    "a link to a file": lambda run: link(run / "samples" / "more.arrow"),
    "a link to a folder": lambda run: (run / "more").symlink_to(run / "samples"),
    "samples behind a link": lambda run: (
        shutil.move(run / "samples", run.parent / "away"),
        (run / "samples").symlink_to(run.parent / "away"),
    ),
    "a pipe": lambda run: os.mkfifo(run / "pipe"),
    "something else restored": lambda run: (
        (run / "restored").mkdir(),
        (run / "restored" / "verdict.json").write_text("{}"),
    ),
    "a manifest without sizes": lambda run: (run / MANIFEST).write_text(
        '{"schema":"stormgate.manifest/1","files":{"plan.json":{"sha256":"0"}}}'
    ),
    "an empty manifest": lambda run: (run / MANIFEST).write_text(""),
    "a manifest that is a link": lambda run: (
        shutil.move(run / MANIFEST, run.parent / "m"),
        (run / MANIFEST).symlink_to(run.parent / "m"),
    ),
    "a deep manifest": lambda run: (run / MANIFEST).write_text("[" * 100_000),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_what_is_not_as_it_was_sealed_is_named_and_never_pass(run: Path, spoil: str) -> None:
    SPOILS[spoil](run)
    problems = check_manifest(run)
    assert problems
    code, told = said("evidence", "check", run)
    assert code == 1
    assert problems[0] in told
    code, told = said("judge", run, "--json")
    assert code not in (0, 1)
    assert problems[0] in json.dumps(json.loads(told), ensure_ascii=False)


def test_a_hole_of_a_terabyte_is_not_read_to_its_end(run: Path) -> None:
    size = (run / "summary.md").stat().st_size
    with (run / "summary.md").open("r+b") as file:
        file.truncate(1 << 40)
    assert check_manifest(run) == [
        f"summary.md: changed since the run (1,099,511,627,776 bytes, manifest.json says {size:,})"
    ]


def test_a_verdict_that_the_evidence_does_not_give_is_found_though_sealed(tmp_path: Path) -> None:
    run = sealed(tmp_path / "run", broken=True)
    assert said("evidence", "check", run)[0] == 0
    verdict = json.loads((run / "verdict.json").read_text())
    assert verdict["verdict"] == "FAIL"
    text = (run / "verdict.json").read_text().replace("FAIL", "PASS")
    (run / "verdict.json").write_text(text)
    write_manifest(run)
    code, told = said("evidence", "check", run)
    assert code == 1
    assert "verdict.json: not what judging the evidence again gives (FAIL" in told
    with_key = tmp_path / "key"
    make_key(with_key)
    assert said("evidence", "sign", run, "--key", with_key)[0] == 1


# -- the signature


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "release.pem"
    assert said("evidence", "keygen", path)[0] == 0
    return path


def public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def test_what_was_signed_is_verified_and_the_seal_stays_whole(run: Path, key: Path) -> None:
    assert key.stat().st_mode & 0o777 == 0o600
    code, told = said("evidence", "verify", run, "--key", public(key))
    assert (code, "nobody vouches" in told) == (1, True)
    assert said("evidence", "sign", run, "--key", key)[0] == 0
    code, told = said("evidence", "verify", run, "--key", public(key))
    assert code == 0
    assert f"{PLAN.gate} PASS" in told
    assert said("evidence", "check", run)[0] == 0
    assert said("judge", run)[0] == 0


def test_openssl_keys_are_keys(run: Path, tmp_path: Path) -> None:
    import subprocess

    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    private, other = tmp_path / "k.pem", tmp_path / "k.pub"
    for argv in (
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)],
        ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(other)],
    ):
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
    sign(run, private)
    assert verify(run, other).verdict == "PASS"


def test_the_envelope_is_one_that_other_tools_read(run: Path, key: Path) -> None:
    """By the letter of DSSE and in-toto, without our own code."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    sign(run, key)
    envelope = json.loads((run / SIGNATURE).read_text())
    body = base64.b64decode(envelope["payload"])
    kind = b"application/vnd.in-toto+json"
    assert envelope["payloadType"].encode() == kind
    signed = b"DSSEv1 28 " + kind + b" " + str(len(body)).encode() + b" " + body
    load_pem_public_key(public(key).read_bytes()).verify(  # type: ignore[call-arg, union-attr]
        base64.b64decode(envelope["signatures"][0]["sig"]), signed
    )
    statement = json.loads(body)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"][0]["name"] == "manifest.json"
    assert statement["predicate"]["verdict"] == "PASS"


def test_a_folder_made_anew_as_a_whole_is_seen(run: Path, key: Path, tmp_path: Path) -> None:
    sign(run, key)
    forged = sealed(tmp_path / "forged", broken=True)
    shutil.copy(run / SIGNATURE, forged / SIGNATURE)
    assert said("evidence", "check", forged)[0] == 0, "the seal alone cannot show it"
    with pytest.raises(SignatureProblem, match="not the one that was signed"):
        verify(forged, public(key))


def test_what_was_changed_after_the_signature_is_named(run: Path, key: Path) -> None:
    sign(run, key)
    grow(run / "report.html")
    with pytest.raises(SignatureProblem, match=r"report\.html: changed"):
        verify(run, public(key))
    with pytest.raises(SignatureProblem, match="what is not whole is not signed"):
        sign(run, key)


def test_another_key_and_another_statement_are_refused(
    run: Path, key: Path, tmp_path: Path
) -> None:
    sign(run, key)
    other = tmp_path / "other.pem"
    make_key(other)
    with pytest.raises(SignatureProblem, match="not signed with this key"):
        verify(run, public(other))
    envelope = json.loads((run / SIGNATURE).read_text())
    payload = base64.b64decode(envelope["payload"]).replace(b"PASS", b"FAIL")
    envelope["payload"] = base64.b64encode(payload).decode()
    (run / SIGNATURE).write_text(json.dumps(envelope))
    with pytest.raises(SignatureProblem, match="not of this content"):
        verify(run, public(key))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "[" * 100_000, '{"payload": 1}', '{"payload": "x", "payloadType": "y"}',
     '{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}]}',
     '{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":[7]}'],
)  # fmt: skip
def test_a_hostile_envelope_is_a_reason(run: Path, key: Path, text: str) -> None:
    (run / SIGNATURE).write_text(text)
    with pytest.raises(SignatureProblem, match=SIGNATURE.replace(".", r"\.")):
        verify(run, public(key))


def test_a_key_that_is_none_is_named_and_no_key_is_written_over(run: Path, key: Path) -> None:
    secret = key.read_bytes()
    with pytest.raises(AssertionError, match=r"exists|already"):
        said("evidence", "keygen", key)
    assert key.read_bytes() == secret
    with pytest.raises(SignatureProblem, match="no private key"):
        sign(run, public(key))
    with pytest.raises(SignatureProblem, match="no public key"):
        verify(run, key)
    with pytest.raises(AssertionError):
        said("evidence", "sign", run, "--key", run / "nowhere")
