"""Why requests failed, said once per place: an outcome's name alone does not tell which
certificate.
"""

from __future__ import annotations

from collections.abc import Callable

OnReason = Callable[[str, str, str], None]
_MOST = 500  # a reason that is new with every request must not fill the disk


class Reasons:
    """Passes a reason on the first time it stands at a place. `kind` is an outcome's name, or
    `redirect`, `address` or `engine` for what no outcome names. `tell`: None until somebody
    listens.
    """

    def __init__(self, tell: OnReason | None = None) -> None:
        self.tell = tell
        self._said: set[tuple[str, str, str]] = set()

    def say(self, kind: str, place: str, why: str) -> None:
        key = (kind, place, why)
        if key in self._said or len(self._said) >= _MOST:
            return
        self._said.add(key)
        if self.tell is not None:
            self.tell(kind, place, why)
