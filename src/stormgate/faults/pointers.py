"""Which runs of this machine may have left something broken: one small file a run in the state
folder, so that `stormgate restore` and the next gate find them after everything here was killed.

A pointer is written before the run's first intent, and names every intent before the thing is
broken. So a pointer that names none is of a run that broke nothing, and a ledger that lacks what
its pointer names has lost it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stormgate.faults.state import Fate, ProcessOwner, slug, state_dir, state_path
from stormgate.model import Target
from stormgate.system.files import read_json, sync_folder, write_durably


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """A run of this machine that broke something, or was about to.

    `intended`: the entries its ledger must hold. `owner`: the process that breaks them; `fate` is
    what is known of it. `problem`: why the pointer cannot be read; then the rest is not known.
    """

    path: Path
    target: str = ""
    folder: Path = Path()
    intended: tuple[str, ...] = ()
    owner: ProcessOwner | None = None
    fate: Fate = Fate.UNKNOWN
    problem: str = ""

    def forget(self) -> None:
        """Nothing of this run is open any more, or somebody gave it up."""
        if self.path.exists() or self.path.is_symlink():
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)


def register(target_name: str, folder: Path, intended: Sequence[str] = ()) -> None:
    """Remember on this machine that this process is about to break this target for this run, and
    by which entries. Durable before this returns. Raises OSError: then nothing may be broken.
    """
    state_dir()
    path = _path(target_name, folder)
    before = _read(path)
    named = list(dict.fromkeys([*before.intended, *intended]))
    if before.problem and path.exists():
        raise OSError(f"{path}: {before.problem}, and must not be written over")
    data: dict[str, Any] = {
        "target": target_name,
        "folder": str(folder.resolve()),
        "utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "intended": named,
        "owner": ProcessOwner.this().to_dict(),
    }
    write_durably(path, data)


def remember(target: Target) -> None:
    """Whom this machine may contact for a target, by its own documents: what a ledger that comes
    from elsewhere says of that is only its word. Raises OSError.
    """
    path = state_dir() / "targets" / f"{slug(target.name)}.json"
    data = {"target": target.name, "allow": list(target.allow)}
    if read_json(path) != data:
        write_durably(path, data)


def remembered_allow(target_name: str) -> tuple[str, ...] | None:
    """The `allow` of the last run of this user against this target; None when there was none."""
    data = read_json(state_path() / "targets" / f"{slug(target_name)}.json")
    allow = (data or {}).get("allow")
    if not isinstance(allow, list) or not all(isinstance(entry, str) for entry in allow):
        return None
    return tuple(allow)


def unregister(target_name: str, folder: Path) -> None:
    """Forget a run. Idempotent."""
    Pointer(path=_path(target_name, folder)).forget()


def pointers(target_name: str | None = None, state: Path | None = None) -> list[Pointer]:
    """Every run (that broke this target) which had open entries when last seen, and every pointer
    that cannot be read. Raises OSError when the folder of them cannot be looked into.
    """
    base = (state or state_path()) / "open"
    if not base.exists():
        return []
    if target_name is not None:
        folders = [base / slug(target_name)] if (base / slug(target_name)).exists() else []
    else:
        folders = sorted(base.iterdir())
    found = [
        _read(path)
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix == ".json" and not path.name.startswith(".")
    ]
    return [each for each in found if target_name in (None, each.target) or each.problem]


def intended(folder: Path) -> set[str]:
    """What the ledger in this run folder must hold, as far as this machine knows."""
    own = (state_path() / "open").glob(f"*/{slug(str(folder.resolve()))}.json")
    return {name for path in own for name in _read(path).intended}


def forget_moved(ids: Iterable[str]) -> None:
    """Forget the runs whose folder is gone while all that they meant to break (`ids`) stands in a
    ledger that was found, and closed, somewhere else.
    """
    known = set(ids)
    for each in pointers():
        if each.intended and known.issuperset(each.intended) and not each.folder.exists():
            each.forget()


def _path(target_name: str, folder: Path) -> Path:
    return state_path() / "open" / slug(target_name) / f"{slug(str(folder.resolve()))}.json"


def _read(path: Path) -> Pointer:
    data = read_json(path) if path.is_file() else None
    try:
        if data is None:
            raise ValueError("no JSON object")
        target, folder, intended = data["target"], data["folder"], data["intended"]
        if not isinstance(target, str) or not isinstance(folder, str):
            raise ValueError("it names no target and run folder")
        if not isinstance(intended, list) or not all(isinstance(name, str) for name in intended):
            raise ValueError("it does not say what was meant to be broken")
        owner = ProcessOwner.of(data["owner"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        return Pointer(path=path, problem=f"this record of an open run cannot be read ({why})")
    return Pointer(
        path=path,
        target=target,
        folder=Path(folder),
        intended=tuple(intended),
        owner=owner,
        fate=owner.fate(),
    )
