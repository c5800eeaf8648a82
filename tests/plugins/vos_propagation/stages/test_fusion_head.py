from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from vos.plugin import WeightsError
from vos_propagation.stages.fusion_head import WEIGHTS, FusionHead, HeadSize, load_head

HEIGHT, WIDTH = 12, 10


def inputs(own: float, other: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """All cues agree on an object's own value and its rival's; the image is noise of unit length."""
    generator = torch.Generator().manual_seed(0)
    values = [own, other, own, other, 0.9, max(own, other) - 0.9, own, other, 0.9, own, other]
    coarse = torch.tensor(values)[None, :, None, None].expand(1, -1, HEIGHT, WIDTH)
    fine = torch.tensor([own, other])[None, :, None, None].expand(1, -1, 2 * HEIGHT, 2 * WIDTH)
    cells = F.normalize(torch.rand(1, 152, HEIGHT, WIDTH, generator=generator), dim=1)
    return coarse, fine, cells, F.normalize(torch.rand(1, 24, 2 * HEIGHT, 2 * WIDTH, generator=generator), dim=1)


def test_untrained_it_gives_the_votes_margin() -> None:
    head = FusionHead()
    coarse, fine, cells, fine_cells = inputs(0.9, 0.05)
    logits = head(coarse, fine, *head.look(cells, fine_cells))
    torch.testing.assert_close(logits, torch.full((1, 2 * HEIGHT, 2 * WIDTH), 6 * 0.85))


def test_the_shipped_head_is_small_and_sure_where_all_cues_agree() -> None:
    assert WEIGHTS.stat().st_size < 2**20
    head = load_head()
    assert HeadSize.of(head.state_dict()) == HeadSize()
    answers = []
    for own, other in ((1.0, 0.0), (0.0, 0.0), (0.0, 1.0)):
        coarse, fine, cells, fine_cells = inputs(own, other)
        answers.append(head(coarse, fine, *head.look(cells, fine_cells))[:, 8:-8, 8:-8])
    assert answers[0].min() > 2
    assert answers[1].max() < -2
    assert answers[2].max() < -2


@pytest.mark.parametrize("separable", [False, True])
def test_a_head_of_any_size_is_loaded(separable: bool, tmp_path: Path) -> None:
    size = HeadSize(width=8, fine_width=4, coarse_look=6, fine_look=5, separable=separable)
    head = FusionHead(size)
    torch.save(head.state_dict(), tmp_path / "head.pt")
    coarse, fine, cells, fine_cells = inputs(0.9, 0.05)
    loaded = load_head(tmp_path / "head.pt")
    assert HeadSize.of(loaded.state_dict()) == size
    head_features = loaded.look(cells, fine_cells)
    assert [look.shape[1] for look in head_features] == [6, 5]
    torch.testing.assert_close(loaded(coarse, fine, *head_features), head(coarse, fine, *head.look(cells, fine_cells)))


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt: no such file"):
        load_head(tmp_path / "none.pt")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt: is not a head"):
        load_head(tmp_path / "other.pt")
