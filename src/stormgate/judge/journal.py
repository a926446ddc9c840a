"""What a Chaos Toolkit journal says about whether a trial is valid. Pure; imports no chaoslib, so
that the judge may import it.

Chaos Toolkit ends green over failed actions, unmet baselines and failed rollbacks, so neither its
`status` nor its exit code is believed: each activity is looked at. A journal is never evidence that
the system is good, only that the trial was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stormgate.judge.rules.vacuous import vacuous
from stormgate.model import Verdict

# Our runner leaves what the undo ledger said at the end under this key of the journal.
OURS = "stormgate"
_OUR_ACTIONS = "stormgate.chaos."
_INCONCLUSIVE_ERRORS = ("Unproven", "NotWhole", "NotServed", "Stopped", "Halted")
# What these do our runner does again at the end, and writes down what came of it: is anything open,
# is the target whole.
_UNDO, _WAIT = "undo", "wait_until_whole"


@dataclass(frozen=True, slots=True)
class JournalProblem:
    """Why a trial does not count, and what verdict that comes to."""

    severity: Verdict
    why: str


def problems(journal: Mapping[str, Any] | None) -> list[JournalProblem]:
    """Everything that makes the trial of this journal invalid, in the order it happened; empty when
    it was played as written.

    missing -> ERROR; unmet baseline -> INCONCLUSIVE, unreadable -> ERROR; failed action -> ERROR
    (unproven: INCONCLUSIVE); a probe of the method out of its tolerance -> INCONCLUSIVE; deviated
    -> INCONCLUSIVE (the objectives judge users, with confidence); interrupted -> ABORTED; a
    rollback failed or not played, or a fault still open -> DIRTY.
    """
    if not journal:
        return [
            JournalProblem(
                Verdict.ERROR, "there is no journal: the experiment did not run to its end"
            )
        ]
    try:
        return [
            *_shape(journal),
            *_baseline(journal),
            *_method(journal),
            *_after(journal),
            *_ending(journal),
            *_rollbacks(journal),
            *_ledger(journal),
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [
            JournalProblem(
                Verdict.ERROR,
                f"the journal is not Chaos Toolkit's: {type(error).__name__}: {error}",
            )
        ]


def _shape(journal: Mapping[str, Any]) -> Iterable[JournalProblem]:
    experiment = journal["experiment"]
    if experiment.get("dry"):
        yield JournalProblem(Verdict.INCONCLUSIVE, "it was a dry run: nothing was broken")
    if not any(_is_action(activity) for activity in experiment.get("method") or ()):
        yield JournalProblem(Verdict.INCONCLUSIVE, "its method has no action: nothing was broken")


def _baseline(journal: Mapping[str, Any]) -> Iterable[JournalProblem]:
    states = journal.get("steady_states") or {}
    yield from _hypothesis(states.get("before"), "before the fault", Verdict.INCONCLUSIVE)
    for state in states.get("during") or ():
        yield from _hypothesis(state, "during the method", Verdict.INCONCLUSIVE)


def _after(journal: Mapping[str, Any]) -> Iterable[JournalProblem]:
    state = (journal.get("steady_states") or {}).get("after")
    found = list(_hypothesis(state, "after the method", Verdict.INCONCLUSIVE))
    yield from found
    if journal.get("deviated") and not found:
        yield JournalProblem(Verdict.INCONCLUSIVE, "the experiment deviated from its hypothesis")


def _hypothesis(
    state: Mapping[str, Any] | None, when: str, severity: Verdict
) -> Iterable[JournalProblem]:
    if state is None or state.get("steady_state_met"):
        return
    probes = state.get("probes") or []
    for run in probes:
        if run.get("status") != "succeeded":
            yield JournalProblem(
                Verdict.ERROR,
                f"the hypothesis could not be looked at {when}: {_name(run)}: {_error(run)}",
            )
        elif not run.get("tolerance_met", True):
            yield JournalProblem(
                severity,
                f"the hypothesis did not hold {when}: {_name(run)} was {_short(run.get('output'))}",
            )
    if not probes:
        yield JournalProblem(Verdict.ERROR, f"the hypothesis was not looked at {when}")


def _method(journal: Mapping[str, Any]) -> Iterable[JournalProblem]:
    runs = list(journal.get("run") or [])
    for run in runs:
        yield from _activity(run)
    planned = list(journal["experiment"].get("method") or [])
    interrupted = journal.get("status") == "interrupted"
    if len(runs) < len(planned) and not interrupted:
        left = ", ".join(
            str(activity.get("name", activity.get("ref"))) for activity in _not_run(planned, runs)
        )
        yield JournalProblem(
            Verdict.INCONCLUSIVE,
            f"only {len(runs)} of {len(planned)} steps of the method were played; not "
            f"{left or '?'}",
        )


def _activity(run: Mapping[str, Any]) -> Iterable[JournalProblem]:
    activity = run["activity"]
    status = run.get("status")
    if status is None:
        # Chaos Toolkit gives an activity that a signal cut short no status at all.
        yield JournalProblem(Verdict.ABORTED, f"{_name(run)} was interrupted")
    elif status != "succeeded":
        error = _error(run)
        unproven = any(
            f"{name}:" in error or error.startswith(name) for name in _INCONCLUSIVE_ERRORS
        )
        yield JournalProblem(
            Verdict.INCONCLUSIVE if unproven else Verdict.ERROR, f"{_name(run)} failed: {error}"
        )
    elif _is_action(activity) and run.get("output") is False and not _is_wait(activity):
        yield JournalProblem(
            Verdict.ERROR, f"{_name(run)} returned false, which is how some drivers fail"
        )
    elif (nothing := _nothing_done(run)) is not None:
        unproven = nothing.startswith(_INCONCLUSIVE_ERRORS)
        severity = Verdict.INCONCLUSIVE if unproven else Verdict.ERROR
        yield JournalProblem(severity, f"{_name(run)} failed: {nothing}")
    elif not _is_action(activity) and "tolerance" in activity:
        if "tolerance_met" not in run:
            yield JournalProblem(
                Verdict.INCONCLUSIVE,
                f"nobody held {_name(run)} against its tolerance (Chaos Toolkit does not, in a "
                "method)",
            )
        elif not run["tolerance_met"]:
            yield JournalProblem(
                Verdict.INCONCLUSIVE,
                f"{_name(run)} was {_short(run.get('output'))}, out of its tolerance",
            )


def _ending(journal: Mapping[str, Any]) -> Iterable[JournalProblem]:
    status = journal.get("status")
    if status == "interrupted":
        yield JournalProblem(Verdict.ABORTED, "the experiment was interrupted")
    elif status == "aborted":
        yield JournalProblem(Verdict.ERROR, "Chaos Toolkit gave up on the experiment")
    elif status not in {"completed", "failed"}:
        yield JournalProblem(Verdict.ERROR, f"the experiment did not end (status {status!r})")


def _rollbacks(journal: Mapping[str, Any]) -> Iterable[JournalProblem]:
    planned = list(journal["experiment"].get("rollbacks") or [])
    runs = list(journal.get("rollbacks") or [])
    ours = journal.get(OURS)
    for run in runs:
        failed = run.get("status") != "succeeded" or (
            _is_action(run["activity"]) and run.get("output") is False
        )
        nothing = None if failed else _nothing_done(run)
        if failed or nothing is not None:
            forgiven = _made_up_for(run["activity"], ours)
            why = f"rollback {_name(run)} failed: {nothing or _error(run)}"
            yield (
                JournalProblem(Verdict.ERROR, f"{why}; a later try undid everything")
                if forgiven
                else JournalProblem(Verdict.DIRTY, why)
            )
    missing = _not_run(planned, runs)
    for activity in missing:
        forgiven = _made_up_for(activity, ours)
        name = str(activity.get("name", activity.get("ref")))
        yield JournalProblem(
            Verdict.ERROR if forgiven else Verdict.DIRTY, f"rollback {name!r} was not played"
        )


def _ledger(journal: Mapping[str, Any]) -> Iterable[JournalProblem]:
    ours = journal.get(OURS) or {}
    for left in ours.get("open") or ():
        yield JournalProblem(Verdict.DIRTY, f"still broken: {left}")


def _made_up_for(activity: Mapping[str, Any], ours: Mapping[str, Any] | None) -> bool:
    """Whether a rollback of ours that failed or was not played has been made up for, as our
    runner's last look says.
    """
    provider = activity.get("provider") or {}
    if (
        ours is None
        or not str(provider.get("module", "")).startswith(_OUR_ACTIONS)
        or ours.get("open") != []
    ):
        return False
    return provider.get("func") == _UNDO or (
        provider.get("func") == _WAIT and (ours.get("whole") is True or ours.get("gone") is True)
    )


def _not_run(
    planned: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Planned activities without a run. By name, each run used once: background activities are
    recorded in another order.
    """
    names = [str(run["activity"].get("name")) for run in runs]
    left = []
    for activity in planned:
        name = str(activity.get("ref") or activity.get("name"))
        if name in names:
            names.remove(name)
        else:
            left.append(activity)
    return left


def _nothing_done(run: Mapping[str, Any]) -> str | None:
    """Why an action of another driver that succeeded did nothing; None where it did."""
    provider = run["activity"].get("provider") or {}
    if not _is_action(run["activity"]) or "output" not in run:
        return None
    return vacuous(str(provider.get("module")), str(provider.get("func")), run["output"])


def _is_action(activity: Mapping[str, Any]) -> bool:
    return activity.get("type") == "action"


def _is_wait(activity: Mapping[str, Any]) -> bool:
    """Whether it is our `until`, which returns what its probe said, false where that was wanted."""
    provider = activity.get("provider") or {}
    return provider.get("module") == f"{_OUR_ACTIONS}actions" and provider.get("func") == "until"


def _name(run: Mapping[str, Any]) -> str:
    return repr(str(run["activity"].get("name", "an activity without a name")))


def _error(run: Mapping[str, Any]) -> str:
    """The last line of the recorded exception, without Chaos Toolkit's own wrapping."""
    lines = run.get("exception") or []
    text = (
        " ".join("".join(str(line) for line in lines).split("\n")[-2:] if lines else []).strip()
        if lines
        else ""
    )
    text = text.removeprefix("chaoslib.exceptions.ActivityFailed: ")
    if text:
        return _short(text)
    return "it returned false" if run.get("output") is False else "it does not say why"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 300 else text[:297] + "..."
