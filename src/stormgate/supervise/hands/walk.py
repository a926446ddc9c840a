"""Walking through a game day: each step is asked for, sealed, broken, watched and taken back, with
what people said and when beside what the system did.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from stormgate.evidence.manifest import write_manifest
from stormgate.faults.hands.asking import NotKept, ask
from stormgate.model import Event, Judgement, Plan, to_json
from stormgate.model.gameday import GameDay, GameStep
from stormgate.report.words import one_line
from stormgate.supervise.hands.drive import Drive, Driving
from stormgate.supervise.terms import Options, RunStopped, Screen
from stormgate.system.files import write_atomically

DAY = "gameday.json"
HELP = "go | skip | hold 30s | note TEXT | note detected | note mitigated | undo | abort"


class Answers(Protocol):
    """Where people's words come from."""

    def poll(self) -> str | None:
        """A line somebody said since the last look; None: nobody did. Raises EOFError when nobody
        will say anything any more.
        """
        ...

    def at(self, now: StepNow | None) -> None:
        """Which step the day is at (None: none), for whoever shows it."""
        ...


@dataclass(frozen=True, slots=True)
class StepNow:
    """The step a day is at: its number `of` so many, what it `does`, what is believed, and what is
    asked now (empty: nothing).
    """

    number: int
    of: int
    step: str
    does: str
    says: str
    asks: str = ""


class Rehearsed:
    """Nobody is asked: every step goes."""

    def poll(self) -> str | None:
        return "go"

    def at(self, now: StepNow | None) -> None:
        """Nobody looks."""


class PageAnswers:
    """People's words from the buttons of the live page, and from where they come without it. While
    there is a page somebody may answer, also when nobody is at the console.
    """

    def __init__(self, beside: Answers) -> None:
        self._beside = beside
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._now: StepNow | None = None

    def poll(self) -> str | None:
        with contextlib.suppress(queue.Empty):
            return self._said.get_nowait()
        try:
            return self._beside.poll()
        except EOFError:
            return None

    def at(self, now: StepNow | None) -> None:
        self._now = now

    def shown(self) -> dict[str, Any] | None:
        """The step for the page."""
        now = self._now
        if now is None:
            return None
        told = {key: one_line(v) if isinstance(v, str) else v for key, v in asdict(now).items()}
        return {**told, "people": not isinstance(self._beside, Rehearsed)}

    def acts(self) -> dict[str, Callable[[], str]]:
        """The buttons. In a rehearsal there are none: nobody is asked."""
        if isinstance(self._beside, Rehearsed):
            return {}
        return {
            "go": lambda: self._answer("go"),
            "skip": lambda: self._answer("skip"),
            "detected": lambda: self._note("detected"),
            "mitigated": lambda: self._note("mitigated"),
        }

    def _answer(self, word: str) -> str:
        # An answer that comes late must not be taken for one to the next step.
        if self._now is None or not self._now.asks or not self._said.empty():
            return "nothing is asked now"
        self._said.put(word)
        return f"{word}: {self._now.step}"

    def _note(self, word: str) -> str:
        if self._now is None:
            return "the day is at no step"
        self._said.put(f"note {word}")
        return f"noted: {word}"


class Console:
    """Lines of a file descriptor, never waited for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = b""
        self._ended = False

    def poll(self) -> str | None:
        while b"\n" not in self._waiting and not self._ended:
            ready, _, _ = select.select([self._descriptor], [], [], 0)
            if not ready:
                return None
            data = os.read(self._descriptor, 4096)
            self._ended = not data
            self._waiting += data
        line, newline, rest = self._waiting.partition(b"\n")
        if not newline and not line:
            raise EOFError
        self._waiting = rest
        return line.decode(errors="replace").strip()

    def at(self, now: StepNow | None) -> None:
        """Whoever is at the console is told in lines."""


class Walk(Drive):
    """One game day as a run. Use from the main thread."""

    def __init__(
        self,
        plan: Plan,
        options: Options,
        screen: Screen,
        day: GameDay,
        answers: Answers,
        say: Callable[[str], object],
        by: str,
    ) -> None:
        super().__init__(plan, options, screen, Driving(for_s=0.0, by=by))
        # The day's own plan: its phases and steps are what is planned, and missed where they fail.
        self._plan = replace(
            plan, short=(*plan.short, *self._plan.short), retry_inconclusive=0, stop="planned"
        )
        self._day = day
        self._answers = answers
        self._say = say
        self._step = ""

    def run(self) -> tuple[Judgement, Path]:
        """The whole day. Its report stands beside the others, in the sealed folder."""
        judgement, folder = super().run()
        from stormgate.evidence import open_run
        from stormgate.report.days import day_html, day_md

        try:
            run = open_run(folder)
            write_atomically(folder / "gameday.md", day_md(self._day, judgement, run))
            write_atomically(folder / "gameday.html", day_html(self._day, judgement, run))
            write_manifest(folder)
        except Exception as error:  # the verdict stands, whatever becomes of a page about it
            self._say(f"the report of the day could not be written: {error}")
        return judgement, folder

    def _middle(self) -> None:
        text = json.dumps(to_json(self._day), indent=1, ensure_ascii=False)
        write_atomically(self.folder / DAY, text + "\n")
        roles = ", ".join(f"{role}: {who}" for role, who in self._day.roles.items())
        self._say(f"{self._day.name}: {len(self._day.steps)} steps{f'; {roles}' if roles else ''}")
        self._wait(self._plan.steady_s)
        for number, step in enumerate(self._day.steps, start=1):
            self._one(step, number)
        self._step = ""
        self._answers.at(None)

    def _left_s(self) -> float | None:
        """Nobody knows: it is people who go on."""
        return None

    def _one(self, step: GameStep, number: int) -> None:
        self._step = step.name
        does = f"{step.mode} {_names(step)} for {step.for_s:g} s"
        self._say(f"step {step.name}: {does}")
        self._say(f"believed: {step.hypothesis.says}")
        now = StepNow(number, len(self._day.steps), step.name, does, step.hypothesis.says)
        self._answers.at(replace(now, asks=step.go or "go?"))
        goes = self._asked_to_go(step)
        self._answers.at(now)
        if not goes:
            return
        # Sealed before anything is broken: what was believed is on disk by now.
        self._timeline.write(
            Event.GAMEDAY_STEP, step=step.name, digest=step.digest, says=step.hypothesis.says
        )
        reply = self._inject(step)
        if "error" in reply:
            self._say(f"step {step.name} broke nothing: {reply['error']}: {reply['why']}")
            return
        self._say(f"it stands, and is taken back at {reply['until_utc']}: {HELP}")
        end = time.monotonic() + step.for_s + 60.0
        while f"recovery[{step.name}]" != self._phase and time.monotonic() < end:
            self._listen()
        end = time.monotonic() + step.recovery_s
        while time.monotonic() < end:
            self._listen()

    def _asked_to_go(self, step: GameStep) -> bool:
        self._say(f"{step.go or 'go?'} ({HELP})")
        hold_until = 0.0
        while True:
            try:
                answer = self._answers.poll()
            except EOFError:
                raise RunStopped(
                    Event.ABORT, f"nobody answers any more before step {step.name}"
                ) from None
            if answer is None or time.monotonic() < hold_until:
                self._tick()
                continue
            word, _, rest = answer.partition(" ")
            match word.lower():
                case "go" | "skip":
                    self._answered(word.lower())
                    return word.lower() == "go"
                case "hold":
                    self._answered(answer)
                    hold_until = time.monotonic() + _seconds(rest)
                case _:
                    self._heard_line(answer)

    def _inject(self, step: GameStep) -> dict[str, Any]:
        """Ask the keeper, and go on ticking until it answers."""
        question = {
            "op": "inject",
            "mode": step.mode,
            "components": list(step.components),
            "params": dict(step.params),
            "for_s": step.for_s,
            "by": self._driving.by,
            "fault": step.name,
            "heals": step.heals,
        }
        found: list[dict[str, Any]] = []

        def work() -> None:
            try:
                if self.keeper is None:
                    raise NotKept("there is no keeper")
                found.append(ask(self.keeper, question))
            except NotKept as error:
                found.append({"error": "NotKept", "why": str(error)})

        asking = threading.Thread(target=work, daemon=True)
        asking.start()
        while asking.is_alive():
            self._listen()
        return found[0]

    def _listen(self) -> None:
        """One beat, and what somebody says meanwhile."""
        self._tick()
        if self._day.rehearsal:
            return
        try:
            answer = self._answers.poll()
        except EOFError:
            return
        if answer:
            self._heard_line(answer)

    def _heard_line(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word.lower():
            case "":
                pass
            case "note":
                self._timeline.write(
                    Event.GAMEDAY_NOTE, step=self._step, text=rest.strip(), by=self._driving.by
                )
                self._say(f"noted: {rest.strip()}")
            case "undo":
                self._answered("undo")
                threading.Thread(
                    target=self.withdraw, args=(self._driving.by,), daemon=True
                ).start()
            case "abort":
                self._answered("abort")
                raise RunStopped(Event.ABORT, f"aborted by {self._driving.by}")
            case _:
                self._say(f"{line!r} is none of: {HELP}")

    def _answered(self, answer: str) -> None:
        self._timeline.write(
            Event.GAMEDAY_ANSWER, step=self._step, answer=answer, by=self._driving.by
        )


def _names(step: GameStep) -> str:
    return ", ".join(str(one) for one in step.components)


def _seconds(text: str) -> float:
    from stormgate.documents.values import duration_s

    try:
        return duration_s(text.strip() or "30s")
    except ValueError:
        return 30.0
