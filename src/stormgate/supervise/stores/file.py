"""Logs and other files on this machine (`path` may be a pattern): looked through, byte by byte."""

from __future__ import annotations

import glob
from collections.abc import Sequence

from stormgate.net.deadline import Deadline
from stormgate.supervise.stores import Looked, StoreReader, UnreadableError

_PIECE = 1 << 20


class FileReader(StoreReader):
    """See the module."""

    def looks(self) -> bool:
        return True

    def look(self, canaries: Sequence[str], deadline: Deadline) -> Looked:
        path = self.filled(self.store.path)
        files = sorted(glob.glob(path))
        if not files:
            raise UnreadableError(f"there is no file {path}")
        control = self.store.control
        sought = {text: text.encode() for text in (*canaries, *([control] if control else ()))}
        longest = max(map(len, sought.values()), default=1)
        where: dict[str, str] = {}
        searched = 0
        for name in files:
            with open(name, "rb") as file:
                kept = b""
                while piece := file.read(_PIECE):
                    deadline.left()
                    searched += len(piece)
                    # What stands across two pieces is found too.
                    data = kept + piece
                    for text, word in sought.items():
                        if text not in where and word in data:
                            where[text] = name.rpartition("/")[2]
                    kept = data[-(longest - 1) :] if longest > 1 else b""
        found = {canary: where[canary] for canary in canaries if canary in where}
        return Looked(searched, found, control in where if control else None)


READER = FileReader
