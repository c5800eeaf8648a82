from pathlib import Path

import pytest
import torch

from vos import WeightsError
from vos_propagation.head import WEIGHTS, FusionHead, load_head


def cues(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 8, 12, 10, generator=generator), torch.rand(1, 2, 24, 20, generator=generator)


def test_untrained_it_gives_the_votes_margin() -> None:
    coarse, fine = cues()
    coarse[:, 6], coarse[:, 7] = 0.9, 0.05
    torch.testing.assert_close(FusionHead()(coarse, fine), torch.full((1, 24, 20), 6 * 0.85))


def test_the_shipped_head_is_small_and_sure_where_all_cues_agree() -> None:
    assert WEIGHTS.stat().st_size < 4 * 2**20
    head = load_head()
    own, other = torch.ones(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
    same = torch.full((1, 1, 20, 20), 0.9)
    large = lambda *planes: torch.nn.functional.interpolate(torch.cat(planes, 1), scale_factor=2)  # noqa: E731
    inside = head(torch.cat([own, other, own, other, same, 1 - same, own, other], 1), large(own, other))
    outside = head(torch.cat([other, other, other, other, same, -same, other, other], 1), large(other, other))
    assert (inside[:, 8:-8, 8:-8] > 2).all()
    assert (outside[:, 8:-8, 8:-8] < -2).all()


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt: no such file"):
        load_head(tmp_path / "none.pt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt: is not a head"):
        load_head(tmp_path / "other.pt")
