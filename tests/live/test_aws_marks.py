"""What stands on AWS itself of a fault, and is taken back by, when the ledger is lost."""

from __future__ import annotations

import os

import pytest
from tests.live.aws_world import REGION, cloud, context
from tests.live.test_aws import acls, states, subnets_of

from stormgate.faults.backends.aws import marks
from stormgate.faults.errors import NotWhole
from stormgate.faults.inject import inject
from stormgate.faults.looks.leftovers import undo_left
from stormgate.faults.undo import undo_all

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("xdg"))
    with cloud() as made:
        yield made
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture
def aws(server):
    server.reset()
    return server


def tags(aws):
    found = aws.client("ec2").describe_tags()["Tags"]
    return [one for one in found if one["Key"].startswith(marks.UNDO)]


def test_a_fault_stands_on_what_it_breaks_until_it_is_undone(aws, tmp_path):
    [ours] = aws.instances(1, app="shop")
    part = aws.component("ec2", ours)
    run = context(tmp_path / "run", part)
    inject(run, [part], "stop")
    assert {one["ResourceId"] for one in tags(aws)} == {ours}
    undo_all(run)
    assert tags(aws) == []
    assert states(aws, [ours]) == ["running"]


def test_a_lost_ledger_is_made_up_for_by_what_stands_on_aws(aws, tmp_path):
    """Three kinds in one account: the force is for a run that this very process is."""
    ours, shut = aws.instances(2, app="shop"), aws.instances(1, app="shut")
    subnets = subnets_of(aws, f"{REGION}b")
    before = acls(aws, subnets)
    parts = [
        aws.component("ec2", tags={"app": "shop"}, name="app"),
        aws.component("nacl", *subnets, name="net"),
        aws.component("security_group", *shut, name="gate"),
    ]
    run = context(tmp_path / "run", *parts)
    inject(run, parts[:1], "stop")
    inject(run, parts[1:], "blackhole")
    run.watch.end()
    (tmp_path / "run" / "undo.ndjson").unlink()
    kept = undo_left(run.target, 20.0)
    assert len(kept.failed) == kept.alive == 3
    assert states(aws, ours) == ["stopped", "stopped"]
    found = undo_left(run.target, 20.0, force=True)
    assert (found.failed, len(found.undone)) == ((), 3), found
    assert states(aws, ours) == ["running", "running"]
    assert acls(aws, subnets) == before
    assert tags(aws) == []
    assert undo_left(run.target, 5.0) == type(found)(("aws",), (), ())


def test_what_another_run_s_fault_is_written_on_is_no_place_for_a_second(aws, tmp_path):
    [ours] = aws.instances(1, app="shop")
    part = aws.component("ec2", ours)
    left = [{"Key": f"{marks.UNDO}ffff-1of2", "Value": "x"}]
    aws.client("ec2").create_tags(Resources=[ours], Tags=left)
    with pytest.raises(NotWhole, match=f"{ours} is marked as broken by fault ffff"):
        inject(context(tmp_path / "run", part), [part], "stop")
    found = undo_left(context(tmp_path / "run", part).target, 5.0)
    assert "an undo mark of which a piece is missing" in found.failed[0]


def test_what_stands_in_the_ledger_alone_is_never_passed_over(aws, tmp_path):
    [ours] = aws.instances(1, app="shop")
    parts = [aws.component("ec2", ours), aws.component("lambda", "pay", name="pay")]
    run = context(tmp_path / "run", *parts)
    inject(run, parts[:1], "stop")
    run.watch.end()
    (tmp_path / "run" / "undo.ndjson").unlink()
    found = undo_left(run.target, 10.0, force=True)
    assert len(found.undone) == 1
    assert "broken of lambda stands in its ledger alone" in found.failed[0]
