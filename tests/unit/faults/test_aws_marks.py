"""What a fault keeps, packed into tags and out of them again. Pure."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormgate.faults.backends.aws import marks
from stormgate.faults.backends.aws.session import AwsError
from stormgate.faults.state import ProcessOwner

RECORD = {"mode": "stop", "token": "ab12", "instances": ["i-1", "i-2"]}


@given(
    st.dictionaries(st.text(max_size=20), st.lists(st.text(max_size=30), max_size=8), max_size=8)
)
def test_what_is_packed_comes_out_again_and_fits_into_tags(more):
    about = {"service": "ec2", "record": {**RECORD, "more": more}}
    tags = marks.packed("ab12", about)
    assert marks.unpacked(tags) == about
    for key, value in tags.items():
        assert len(key) <= 128
        assert 0 < len(value) <= 256
        assert value.isascii()


def long_record():
    return {"service": "ec2", "record": {"x": random.Random(1).randbytes(500).hex()}}


def test_a_mark_of_which_a_piece_is_missing_or_another_s_is_none():
    tags = marks.packed("ab12", long_record())
    assert len(tags) > 2
    for key in tags:
        with pytest.raises(ValueError, match="a piece is missing"):
            marks.unpacked({one: value for one, value in tags.items() if one != key})
    with pytest.raises(ValueError, match="a piece is missing"):
        marks.unpacked({})
    first = next(iter(tags))
    with pytest.raises(ValueError, match="cannot be read"):
        marks.unpacked({**tags, first: "!" + tags[first][1:]})


def test_what_is_too_much_for_tags_is_refused_before_anything_is_broken():
    with pytest.raises(AwsError, match="break fewer things by one component"):
        marks.packed(
            "t", {"service": "ec2", "record": {"x": random.Random(1).randbytes(20_000).hex()}}
        )


def test_only_a_process_that_is_known_to_be_dead_holds_nothing():
    here = ProcessOwner.this()
    assert str(here) in str(marks.holder({"owner": here.to_dict()}))
    dead = {**here.to_dict(), "start_ticks": here.start_ticks + 1}
    assert marks.holder({"owner": dead}) is None
    away = {**here.to_dict(), "boot": "another", "machine": "another/elsewhere"}
    assert "of which nothing is known here" in str(marks.holder({"owner": away}))
    assert marks.holder({}) is not None


def test_a_lease_tells_of_another_machine_s_process_where_the_mark_is_of_one():
    here = ProcessOwner.this()
    away = {**here.to_dict(), "boot": "another", "machine": "another/elsewhere"}
    assert marks.is_leased_elsewhere({"owner": away, "leased": True})
    assert not marks.is_leased_elsewhere({"owner": away}), "of a time before there were leases"
    assert not marks.is_leased_elsewhere({"owner": here.to_dict(), "leased": True})
    assert not marks.is_leased_elsewhere({"owner": {}, "leased": True})
