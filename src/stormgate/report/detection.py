"""The detection matrix as a page and as a picture: defect by seed, found by which objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from stormgate.judge.statistics.detection import (
    HEALTHY,
    DetectionPower,
    DetectionTrial,
    FalseAlarms,
)
from stormgate.report.words import DASH, one_line, percent, seconds

HEAD = (
    "defect",
    "its own objective",
    "runs",
    "found by it",
    "by another alone",
    "missed (PASS)",
    "INCONCLUSIVE",
    "broken",
    "power at least (95 %)",
    "failed objectives",
    "a run takes",
)
CELL, LABEL, LINE = 26, 190, 24
# Letters beside colours: colours alone would leave out who cannot tell them apart.
LOOKS = {
    "own": ("F", "#1a7f37", "#ffffff", "FAIL by its own objective"),
    "other": ("f", "#bf8700", "#ffffff", "FAIL by another objective alone"),
    "missed": ("P", "#cf222e", "#ffffff", "PASS: missed"),
    "undecided": ("?", "#d0d7de", "#1f2328", "INCONCLUSIVE"),
    "broken": ("!", "#57606a", "#ffffff", "ERROR, ABORTED, DIRTY or refused"),
    "pass": ("P", "#1a7f37", "#ffffff", "PASS"),
    "alarm": ("F", "#cf222e", "#ffffff", "FAIL over a healthy lab"),
}


def detection_md(
    gate: str, powers: Sequence[DetectionPower], alarms: FalseAlarms, command: str, made: str
) -> str:
    """The page: what was found, with bounds, and the command that makes it again."""
    lines = [
        f"# What `{gate}` finds",
        "",
        "Known faults of design are planted in the lab one at a time, and the gate runs over each. "
        "Made by a command, never by hand:",
        "",
        f"    {command}",
        "",
        f"Last run: {made}.",
        "",
        f"| {' | '.join(HEAD)} |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|---|--:|",
    ]
    for p in powers:
        by = ", ".join(f"{kind} {count}" for kind, count in sorted(p.by.items())) or DASH
        bound = percent(p.power_at_least) if p.trials else DASH
        took = seconds(p.took_s) if p.took_s is not None else DASH
        own = ", ".join(p.found_by) or "none yet"
        lines.append(
            f"| `{p.defect}` | {own} | {p.trials} | {p.own} | {p.other} | {p.passed} | "
            f"{p.undecided} | {p.broken} | {bound} | {by} | {took} |"
        )
    never = [p.defect for p in powers if not p.trials]
    lines += [
        "",
        f"Healthy lab: {alarms.trials} runs, {alarms.passed} PASS, {alarms.failed} FAIL, "
        f"{alarms.undecided} INCONCLUSIVE, {alarms.broken} broken; false alarms at most "
        f"{percent(alarms.rate_at_most)} (95 %)."
        if alarms.trials
        else "Healthy lab: not run; nothing is known of false alarms.",
        "",
        *([f"Not run: {', '.join(f'`{name}`' for name in never)}.", ""] if never else []),
        "A bound counts a run that found nothing, and one that decided nothing, as not found. "
        "20 of 20 found: at least 86 %; 59 of 59: at least 95 %.",
        "59 healthy runs without a FAIL bound false alarms at 5 %.",
        "",
    ]
    return "\n".join(lines)


def look_of(trial: DetectionTrial, found_by: Sequence[str]) -> str:
    """Which of `LOOKS` a trial has."""
    healthy = trial.defect == HEALTHY
    if trial.verdict == "PASS":
        return "pass" if healthy else "missed"
    if trial.verdict == "FAIL":
        if healthy:
            return "alarm"
        if trial.measured:
            return "own" if set(trial.failed) & set(found_by) else "other"
    return "undecided" if trial.verdict in {"FAIL", "INCONCLUSIVE"} else "broken"


def detection_svg(
    trials: Sequence[DetectionTrial], found_by: Mapping[str, Sequence[str]], seeds: Sequence[int]
) -> str:
    """The matrix as a picture of its own: a row for each defect, a column for each seed."""
    rows = [*sorted(found_by), HEALTHY]
    at = {(trial.defect, trial.seed): trial for trial in trials}
    used: dict[str, None] = {}
    parts: list[Markup] = []
    for column, seed in enumerate(seeds):
        x = LABEL + column * CELL + CELL / 2
        parts.append(_text(x, 16, str(seed), "#57606a", "middle"))
    for row, defect in enumerate(rows):
        y = LINE + row * CELL
        parts.append(_text(LABEL - 8, y + 17, defect, "#57606a", "end"))
        for column, seed in enumerate(seeds):
            trial = at.get((defect, seed))
            if trial is None:
                continue
            look = look_of(trial, found_by.get(defect, ()))
            used[look] = None
            letter, fill, ink, _ = LOOKS[look]
            told = f"{defect}, seed {seed}: {trial.verdict} {', '.join(trial.failed)}"
            parts.append(
                Markup(
                    '<g><title>{}</title><rect x="{}" y="{}" width="{}" height="{}" rx="3" '
                    'fill="{}"/>{}</g>'
                ).format(
                    one_line(told),
                    LABEL + column * CELL + 1,
                    y + 1,
                    CELL - 2,
                    CELL - 2,
                    fill,
                    _text(LABEL + column * CELL + CELL / 2, y + 17, letter, ink, "middle"),
                )
            )
    below = LINE + len(rows) * CELL + 20
    for number, look in enumerate(used):
        letter, fill, _, told = LOOKS[look]
        parts.append(_text(8, below + number * 18, f"{letter}  {told}", fill, "start"))
    width = max(LABEL + len(seeds) * CELL, 380) + 8
    height = below + len(used) * 18
    return (
        str(
            Markup(
                '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img" '
                'aria-label="Which defects the gate found" font-family="sans-serif" '
                'font-size="12">{}</svg>'
            ).format(width, height, Markup("").join(parts))
        )
        + "\n"
    )


def _text(x: float, y: float, words: str, fill: str, anchor: str) -> Markup:
    return Markup('<text x="{:g}" y="{:g}" fill="{}" text-anchor="{}">{}</text>').format(
        x, y, fill, anchor, words
    )
