"""From findings to one verdict: Holm across objectives, the generator's veto, waivers, and when
nothing more can change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import date
from typing import Any, TypeVar

from stormgate.judge.registry import Result
from stormgate.judge.statistics.bounds import fail_limit, holm, pass_limit
from stormgate.model import Cell, Finding, Judgement, Plan, Verdict, Waiver, worst


def holm_across(results: Sequence[Result], alpha: float) -> list[Finding]:
    """The findings, with a FAIL that rests on chance kept only if Holm over all objectives keeps
    it.

    A FAIL that is a fact (an outage's length, a request lost) has no p-value and stays.
    """
    statistical = [i for i, r in enumerate(results) if r.p_fail is not None]
    kept = dict(
        zip(statistical, holm([results[i].p_fail or 0.0 for i in statistical], alpha), strict=True)
    )
    findings = []
    for i, result in enumerate(results):
        finding = result.finding
        if result.p_fail is not None and finding.verdict is Verdict.FAIL and not kept[i]:
            why = (
                f"a FAIL alone, but not after Holm over {len(statistical)} objectives: "
                f"{finding.why}"
            )
            finding = replace(finding, verdict=Verdict.INCONCLUSIVE, why=why)
        if result.p_fail is not None:
            finding = replace(finding, detail={**finding.detail, "p_fail": result.p_fail})
        findings.append(finding)
    return findings


def waiver_problem(waiver: Waiver, started_utc: str) -> str | None:
    """Why a waiver does not hold on the day the run started (a fact of the plan, not of a clock);
    None: it does.

    The last day is included. A run without a start date has no valid waiver.
    """
    if not (waiver.owner.strip() and waiver.reason.strip()):
        return "it names no owner or no reason"
    try:
        started = date.fromisoformat(started_utc[:10])
        expires = date.fromisoformat(waiver.expires)
    except ValueError:
        return "the run has no start date or the waiver no valid expiry"
    return f"it expired on {waiver.expires}" if started > expires else None


def apply_waivers(findings: Sequence[Finding], plan: Plan) -> list[Finding]:
    """Failing findings with a valid waiver carry it; an invalid one is said in `why`."""
    waivers = {w.objective: w for w in plan.waivers}
    out = []
    for finding in findings:
        waiver = waivers.get(finding.name)
        if waiver is not None and finding.verdict is Verdict.FAIL:
            problem = waiver_problem(waiver, plan.started_utc)
            if problem is None:
                finding = replace(  # noqa: PLW2901 - the finding, waived
                    finding, waived=f"{waiver.owner}: {waiver.reason} (until {waiver.expires})"
                )
            else:
                finding = replace(finding, why=f"{finding.why} [waiver does not hold: {problem}]")  # noqa: PLW2901
        out.append(finding)
    return out


def conclude(plan: Plan, objectives: Sequence[Finding], validity: Sequence[Finding]) -> Judgement:
    """The judgement. The verdict ignores waivers; the exit code does not: FAIL wholly waived with
    all else passing exits 0.
    """
    findings = [*objectives, *validity]
    verdict = (
        worst(f.verdict for f in findings)
        if objectives
        else worst([Verdict.INCONCLUSIVE, *(f.verdict for f in validity)])
    )
    exit_code = verdict.exit_code
    if verdict is Verdict.FAIL:
        rest = [f.verdict for f in findings if not f.waived]
        exit_code = max((v for v in rest), key=lambda v: v.severity, default=Verdict.PASS).exit_code
    if verdict is Verdict.PASS:
        why = f"all {len(objectives)} objectives passed"
    elif not objectives and verdict is Verdict.INCONCLUSIVE:
        why = "the plan has no objective"
    else:
        # Validity first: what broke the measurement explains the rest.
        decisive = next(f for f in [*validity, *objectives] if f.verdict is verdict)
        why = (
            decisive.why
            if decisive.why.startswith("generator")
            else f"{decisive.name}: {decisive.why}"
        )
    return Judgement(
        gate=plan.gate,
        verdict=verdict,
        exit_code=exit_code,
        plan_digest=plan.digest,
        objectives=tuple(rounded(f) for f in objectives),
        validity=tuple(rounded(f) for f in validity),
        why=why,
        release=plan.release,
        short=plan.short,
        attempts=plan.attempts,
        proofs=plan.proofs,
    )


# What a machine too busy, or a worker that died on it, is told as. Damaged evidence, an engine that
# failed and accounts that do not add up begin with the same word and would do so again.
_TROUBLE = ("generator saturated", "generator not observed", "generator lost")


def generator_alone(judgement: Judgement) -> bool:
    """Whether a run is INCONCLUSIVE for no other reason than the load generator's own trouble.

    Only such a run may be tried again without a person: nothing it says of the target takes part
    in the choice. Trying again whatever did not please would be testing until it passes.
    """
    findings = [*judgement.objectives, *judgement.validity]
    open_ = [f for f in findings if f.verdict is not Verdict.PASS]
    return (
        judgement.verdict is Verdict.INCONCLUSIVE
        and bool(open_)
        and all(f.verdict is Verdict.INCONCLUSIVE and f.why.startswith(_TROUBLE) for f in open_)
    )


_T = TypeVar("_T")


def rounded(value: _T) -> _T:
    """The same with every float cut to 12 significant digits: mathematical libraries differ in the
    last ones, verdict.json must not.
    """
    result: Any = value
    if isinstance(value, float):
        result = float(f"{value:.12g}")
    elif isinstance(value, Finding | Cell):
        result = replace(value, **{f.name: rounded(getattr(value, f.name)) for f in fields(value)})
    elif isinstance(value, Mapping):
        result = {k: rounded(v) for k, v in value.items()}
    elif isinstance(value, tuple | list):
        result = type(value)(rounded(v) for v in value)
    return result  # type: ignore[no-any-return]


def certain(planned: int, allowed: float, alpha: float, *, seen: int, bad: int) -> Verdict | None:
    """Curtailment: the verdict that no future of `planned` independent requests can change, or None
    while one still could.

    Of 100,000 planned at 1e-4 allowed FAIL is certain at the 16th bad one. Nothing weaker may end a
    run: looking at bounds while it goes on, and stopping when they please, multiplies wrong
    verdicts (gates.md: 17.5 % false FAIL at a nominal 5 %).
    """
    if seen > planned:
        raise ValueError(f"{seen} requests seen of {planned} planned")
    if bad >= fail_limit(planned, allowed, alpha):
        return Verdict.FAIL
    if bad + (planned - seen) <= pass_limit(planned, allowed, alpha):
        return Verdict.PASS
    return None
