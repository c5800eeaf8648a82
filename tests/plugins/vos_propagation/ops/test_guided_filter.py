import pytest
import torch
import torch.nn.functional as F

from vos_propagation.ops.guided_filter import CELL, EPSILON, GuidedFilter, refine_edges
from vos_propagation.ops.logit_buffers import LogitBufferPool


def small_of(image: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(image.float(), CELL).round().to(torch.uint8)


def noise(height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def test_each_cell_is_fitted_by_ridge_regression_on_its_neighbours() -> None:
    image = noise(20, 24)
    small = small_of(image)
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    colours = small.double() / 255

    def around(planes: torch.Tensor, y: int, x: int) -> torch.Tensor:
        padded = F.pad(planes[None], (1, 1, 1, 1), mode="replicate")[0]
        return padded[:, y : y + 3, x : x + 3].reshape(len(planes), 9)

    planes = torch.zeros(4, 5, 6, dtype=torch.float64)
    for y in range(5):
        for x in range(6):
            seen, wanted = around(colours, y, x), around(logits[None].double(), y, x)[0]
            centred = seen - seen.mean(1, keepdim=True)
            gram = centred @ centred.T / 9 + EPSILON * torch.eye(3, dtype=torch.float64)
            slope = torch.linalg.solve(gram, centred @ (wanted - wanted.mean()) / 9)
            planes[:3, y, x], planes[3, y, x] = slope, wanted.mean() - slope @ seen.mean(1)
    smooth = torch.stack([around(planes, y, x).mean(1) for y in range(5) for x in range(6)], 1).view(4, 5, 6)
    large = F.interpolate(smooth[None], scale_factor=CELL, mode="bilinear", align_corners=False)[0]
    expected = (large[:3] * image.double() / 255).sum(0) + large[3]
    found = GuidedFilter(image, small)(logits, slice(0, 5), slice(0, 6))
    torch.testing.assert_close(found.double(), expected, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("edge", [61, 62, 63])
def test_a_mask_ends_where_the_image_does_though_its_cells_are_coarser(edge: int) -> None:
    image = torch.full((3, 64, 128), 60, dtype=torch.uint8)
    image[:, :, edge:] = 200
    truth = torch.zeros(64, 128)
    truth[:, edge:] = 1
    logits = 16 * F.avg_pool2d(truth[None], CELL)[0] - 8
    found = GuidedFilter(image, small_of(image))(logits, slice(0, 16), slice(0, 32))
    assert torch.equal(found > 0, truth > 0)


def test_where_the_image_is_flat_a_mask_is_only_enlarged() -> None:
    image = torch.full((3, 64, 64), 90, dtype=torch.uint8)
    logits = (torch.arange(16.0) - 7.5).expand(16, 16)
    found = GuidedFilter(image, small_of(image))(logits, slice(0, 16), slice(0, 16))
    large = F.interpolate(logits[None, None], scale_factor=CELL, mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(found[8:-8, 16:-16], large[8:-8, 16:-16], atol=1e-3, rtol=0)


def test_a_part_of_the_grid_gives_what_the_whole_gives_there() -> None:
    image = noise(64, 96)
    guided = GuidedFilter(image, small_of(image))
    logits = torch.randn(16, 24, generator=torch.Generator().manual_seed(2))
    whole = guided(logits, slice(0, 16), slice(0, 24))
    rows, columns = slice(2, 14), slice(5, 20)
    part = guided(logits[rows, columns], rows, columns)
    inner = 3 * CELL
    expected = whole[2 * CELL + inner : 14 * CELL - inner, 5 * CELL + inner : 20 * CELL - inner]
    torch.testing.assert_close(part[inner:-inner, inner:-inner], expected)


def test_masks_are_those_of_the_whole_grid_though_only_the_parts_around_objects_are_filtered() -> None:
    image = 90 + noise(128, 160) // 16
    image[:, 40:68, 80:116] += 60
    guided = GuidedFilter(image, small_of(image))
    logits = torch.full((3, 32, 40), -6.0)
    logits[0, 10:17, 20:29], logits[1, :4, 36:] = 5.0, 2.0
    buffer = LogitBufferPool(-8.0).acquire((3, 128, 160), logits)
    refine_edges(logits, guided, buffer)
    whole = torch.stack([guided(plane, slice(0, 32), slice(0, 40)) for plane in logits])
    assert torch.equal(buffer.planes > 0, whole > 0)
    assert (buffer.planes[0, :, :60] == -8).all(), "far from the object nothing is filtered"
    assert (buffer.planes[2] == -8).all()
