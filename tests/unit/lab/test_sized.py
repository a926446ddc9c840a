"""Target documents that are generated for a lab of a size."""

from __future__ import annotations

from pathlib import Path

import pytest

from stormgate.documents import load_target
from stormgate.lab.design.plan import plan
from stormgate.lab.design.sized import document
from stormgate.lab.errors import LabError
from stormgate.lab.kinds.ring import wanted


@pytest.mark.parametrize(
    ("regions", "pops", "ring"), [(2, 0, 0), (3, 1, 4), (4, 6, 16), (5, 12, 8), (8, 16, 64)]
)
def test_it_is_a_target_of_that_size(tmp_path: Path, regions: int, pops: int, ring: int) -> None:
    path = tmp_path / "target.yaml"
    path.write_text(document(regions, pops, ring))
    target = load_target(path)
    layout = plan(target)
    kinds = [part.kind for part in layout.parts]
    assert len(layout.regions) == kinds.count("service") == kinds.count("cache") == regions
    assert kinds.count("pop") == pops
    assert (wanted(target) or {"shards": 0})["shards"] == ring
    assert kinds.count("database") == 2 * len(layout.shards)
    assert {p.labels["shard"] for p in target.populations} <= {s.name for s in layout.shards}
    assert sum(p.share for p in target.populations) == pytest.approx(1)
    for shard in layout.shards:
        primary, standby = (layout.region(name) for name in shard.regions)
        assert primary.continent == standby.continent


@pytest.mark.parametrize("size", [(1, 0, 0), (9, 0, 0), (4, 17, 0), (4, 0, 65), (4, -1, 0)])
def test_other_sizes_are_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(LabError, match="2 to 8 regions"):
        document(*size)
