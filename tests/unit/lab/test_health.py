"""When a peer is held dead, and when alive again."""

from __future__ import annotations

from stormgate.lab.design.health import Health, Probe

OK, REFUSED, SILENT = Probe.OK, Probe.REFUSED, Probe.SILENT


def up_after(health: Health, *results: tuple[Probe, float, float]) -> list[bool]:
    seen = []
    for probe, began_s, ended_s in results:
        health.record(probe, began_s, ended_s)
        seen.append(health.up)
    return seen


def test_unknown_is_down_until_the_first_good_answer() -> None:
    assert up_after(Health(1.0, 3.0), (REFUSED, 0, 0), (OK, 0.1, 0.2)) == [False, True]


def test_refusals_count_sooner_than_silence() -> None:
    refused = up_after(
        Health(0.8, 2.4), (OK, 0, 0), *[(REFUSED, t / 5, t / 5) for t in range(1, 7)]
    )
    silent = up_after(
        Health(0.8, 2.4), (OK, 0, 0), (SILENT, 0.2, 1.2), (SILENT, 1.2, 2.2), (SILENT, 2.2, 3.2)
    )
    assert refused == [True, True, True, True, True, False, False]  # 0.2 s to 1.0 s
    assert silent == [True, True, True, False]


def test_a_timeout_between_refusals_starts_their_count_anew() -> None:
    assert up_after(
        Health(0.8, 9.0),
        (OK, 0, 0),
        (REFUSED, 0.1, 0.1),
        (SILENT, 0.2, 1.0),
        (REFUSED, 1.0, 1.0),
        (REFUSED, 1.9, 1.9),
    ) == [
        True,
        True,
        True,
        True,
        False,
    ]


def test_one_good_answer_forgives_but_coming_back_takes_back_s() -> None:
    health = Health(0.0, 2.0, back_s=1.0)
    rows = (
        (OK, 0, 0),
        (REFUSED, 1, 1),
        (OK, 2, 2),
        (OK, 2.5, 2.5),
        (REFUSED, 2.6, 2.6),
        (OK, 3, 3),
        (OK, 4, 4),
    )
    assert up_after(health, *rows) == [True, False, False, False, False, False, True]


def test_record_says_when_up_changed() -> None:
    health = Health(0.0, 1.0)
    assert [
        health.record(p, t, t) for p, t in ((OK, 0), (OK, 1), (REFUSED, 2), (REFUSED, 3), (OK, 4))
    ] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_dead_is_more_than_not_up() -> None:
    starting = Health(0.5, 2.0, unseen_s=5.0)
    dead = [(starting.record(REFUSED, t, t), starting.dead)[1] for t in range(7)]
    assert dead == [False] * 5 + [True] * 2
    known = Health(0.5, 2.0, unseen_s=5.0)
    up_after(known, (OK, 0, 0), (REFUSED, 1, 1))
    assert (known.up, known.dead) == (True, False)
    up_after(known, (REFUSED, 2, 2))
    assert (known.up, known.dead) == (False, True)
    up_after(known, (OK, 3, 3))
    assert (known.up, known.dead) == (True, False)
