"""A target that goes on between the tries of a search: a lab of ours, or one that somebody runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from stormgate.model import Judgement, Target, Verdict
from stormgate.net.status import read_status
from stormgate.supervise.children import RunningTarget, bring_up

_ASK_S = 2.0


class StandingTarget:
    """Brings a target up once, and again only when a try left it otherwise than it was: not whole,
    other roles, a fault that stayed. Of a target that somebody else runs it takes what is there.
    """

    def __init__(
        self,
        target: Target,
        folder: Path,
        root: Path,
        defect: str | None,
        say: Callable[[str], object],
    ) -> None:
        self._target = target
        self._folder = folder
        self._root = root
        self._defect = defect
        self._say = say
        self._running: RunningTarget | None = None
        self._roles: Mapping[str, str | None] = {}

    def fresh(self) -> RunningTarget:
        """As it was in the beginning. Raises TargetError when it does not come up."""
        if self._running is None:
            (self._folder / "logs").mkdir(parents=True, exist_ok=True)
            self._running = bring_up(
                self._target,
                self._folder,
                root=self._root,
                defect=self._defect,
                say=lambda _: None,
            )
            self._roles = self._look()
        return self._running

    def after(self, judgement: Judgement) -> None:
        """End what is not as it was, so that the next try begins with a fresh one."""
        if self._running is None or self._target.provision is None:
            return
        broken = judgement.verdict in (Verdict.ERROR, Verdict.DIRTY, Verdict.ABORTED)
        status = read_status(self._running.target, _ASK_S)
        if broken or not status.whole or dict(status.roles) != dict(self._roles):
            self._say("the lab is started afresh: it is not as it was before this try")
            self.end()

    def end(self) -> None:
        """Of a lab of ours nothing is left; idempotent."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def _look(self) -> Mapping[str, str | None]:
        if self._running is None or self._running.target.status_url is None:
            return {}
        return dict(read_status(self._running.target, _ASK_S).roles)
