import pytest
import torch
import torch.nn.functional as F

from vos_propagation.stages.fusion_head import COARSE_CUES, FINE_CUES, FusionHead, HeadSize, Separable, load_head
from vos_propagation.training.teach_head import leading_channels, teach
from vos_propagation.training.train_head import RECORDED, TEACHER, TEACHER_SIZE


def records(count: int) -> list[torch.Tensor]:
    """Cues and features that change slowly over the square, as they do in use."""
    generator = torch.Generator().manual_seed(0)

    def planes(channels: int, side: int) -> torch.Tensor:
        coarse = torch.rand(count, channels, 5, 5, generator=generator)
        return F.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)

    n = RECORDED
    features = F.normalize(planes(152, n), dim=1), F.normalize(planes(24, 2 * n), dim=1)
    margin = 2 * planes(1, 2 * n) - 1
    parts = [planes(COARSE_CUES, n), planes(FINE_CUES, 2 * n), *features, margin, (margin[:, 0] > 0) * 255.0]
    return [part.half() for part in parts]


def answers(head: FusionHead, file: list[torch.Tensor]) -> torch.Tensor:
    coarse, fine, cells, fine_cells, margin, _ = (part.float() for part in file)
    with torch.no_grad():
        return head(coarse, fine, *head.look(cells, fine_cells), margin).clamp(-8, 8)


def test_a_smaller_head_learns_what_the_teacher_answers_the_same_each_time() -> None:
    teacher, file = load_head(TEACHER), records(4)
    heads = [teach([file], teacher, 3, 0, rate=5e-3) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(heads[0].parameters(), heads[1].parameters(), strict=True))
    heads = [teach([file], teacher, 100, 0, rate=5e-3)]
    assert HeadSize.of(heads[0].state_dict()) == HeadSize()
    wanted = answers(teacher, file)
    before, after = (
        (answers(h, file) - wanted).abs().mean() for h in (leading_channels(teacher, HeadSize()), heads[0])
    )
    assert after < 0.7 * before


def test_the_leading_channels_of_a_head_of_the_same_size_are_that_head() -> None:
    teacher, file = load_head(TEACHER), records(1)
    assert torch.equal(answers(leading_channels(teacher, TEACHER_SIZE), file), answers(teacher, file))


@pytest.mark.parametrize("separable", [False, True])
def test_leading_channels_keep_each_kind_of_input_in_its_place(separable: bool) -> None:
    teacher = FusionHead(TEACHER_SIZE)
    for name, channels in (("enter", COARSE_CUES + 32), ("merge", 24 + FINE_CUES + 1 + 16)):
        weight = teacher.state_dict()[f"{name}.weight"]
        weight.copy_(torch.arange(channels, dtype=torch.float32)[None, :, None, None].expand_as(weight))
    size = HeadSize(width=8, fine_width=4, coarse_look=3, fine_look=2, separable=separable)
    small = leading_channels(teacher, size).state_dict()
    assert small["enter.weight"][0, :, 0, 0].tolist() == [*range(COARSE_CUES + 3)]
    merge = "merge.1.weight" if separable else "merge.weight"
    assert small[merge][0, :, 0, 0].tolist() == [0, 1, 2, 3, 24, 25, 26, 27, 28]


def test_separable_layers_start_with_what_each_cell_says_itself() -> None:
    teacher = load_head(TEACHER)
    small = leading_channels(teacher, HeadSize(width=8, fine_width=4, coarse_look=3, fine_look=2))
    assert isinstance(small.near, Separable)
    cells = torch.rand(1, 8, 6, 6)
    torch.testing.assert_close(small.near[0](cells), cells)
    torch.testing.assert_close(small.near[1].weight[..., 0, 0], teacher.near.weight[:8, :8, 1, 1])
