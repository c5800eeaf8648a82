import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vos_propagation.ops import topk
from vos_propagation.ops.scratch import ScratchBuffers
from vos_propagation.ops.topk import GROUP, approx_topk_indices, max_of_four, topk_of_rows


def drawn(rows: int, seed: int) -> torch.Tensor:
    """Numbers that bfloat16 has."""
    return torch.randn(2, rows, 3, generator=torch.Generator().manual_seed(seed)).bfloat16().float()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 20), st.integers(0, 40), st.integers(0, 1000))
def test_where_tables_have_rows_enough_the_best_of_their_rows_are_found(
    few: int, many: int, more: int, seed: int
) -> None:
    lengths, first = (2 * few + 1, 2 * many + more), GROUP * (2 * few + 1)
    values = drawn(GROUP * sum(lengths), seed)
    found = approx_topk_indices(values, first, (few, many), ScratchBuffers())
    assert found.shape == (2, 3, few + many)
    for n in range(2):
        for m in range(3):
            own = values[n, :, m]
            parts = zip(own.tensor_split((first,)), found[n, m].tensor_split((few,)), lengths, (0, first), strict=True)
            for part, where, length, start in parts:
                assert len(set(where.tolist())) == len(where)
                assert int(where.min()) >= start
                expected = part.view(GROUP, length).amax(0).topk(len(where)).values.clamp_min(0)
                torch.testing.assert_close(part[where - start].clamp_min(0).sort(descending=True).values, expected)


@settings(deadline=None, max_examples=30)
@example(15 * GROUP, 47 * GROUP, 0)
@given(st.integers(1, 15 * GROUP), st.integers(0, 47 * GROUP), st.integers(0, 1000))
def test_of_fewer_rows_all_are_searched(first: int, others: int, seed: int) -> None:
    values, counts = drawn(first + others, seed), (min(first, 8), min(others, 24))
    found = approx_topk_indices(values, first, counts, ScratchBuffers())
    parts = (values[:, :first], 0), (values[:, first:], first)
    for (part, start), where in zip(parts, found.tensor_split((counts[0],), dim=-1), strict=True):
        taken = part.gather(1, (where - start).transpose(1, 2))
        assert torch.equal(taken.sort(1, descending=True).values, part.topk(where.shape[-1], dim=1).values)


@pytest.mark.parametrize("largest", [1 << 16, 1])
def test_the_same_are_found_whether_rows_can_be_numbered_or_not(monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    """Values fall in steps that bfloat16 tells apart, the highest in rows of their own."""
    monkeypatch.setattr(topk, "MAX_LENGTH", largest)
    first, others = 2 * GROUP * 8, 2 * GROUP * 24
    steps = torch.cat([torch.arange(first), torch.arange(others)]).float().neg().exp2() ** (1 / 64)
    found = approx_topk_indices(steps[None, :, None].expand(1, -1, 16).contiguous(), first, (8, 24), ScratchBuffers())
    assert found.shape == (1, 16, 32)
    for row in found[0].tolist():
        assert sorted(row[:8]) == [*range(8)]
        assert sorted(row[8:]) == [*range(first, first + 24)]


def test_most_of_the_highest_are_found() -> None:
    """Of 32 in 350 rows, those that share a row are missed: about 32 / 350 / 2 of them."""
    values = torch.rand(4, GROUP * 366, 16, generator=torch.Generator().manual_seed(0))
    found = approx_topk_indices(values, GROUP * 16, (8, 32), ScratchBuffers())[..., 8:] - GROUP * 16
    exact = values[:, GROUP * 16 :].topk(32, dim=1).indices.transpose(1, 2)
    hits = (found[..., None] == exact[..., None, :]).any(-1).float().mean()
    assert hits > 0.9


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000), st.sampled_from([torch.float32, torch.bfloat16]))
def test_the_highest_of_each_row(length: int, count: int, seed: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = (torch.randint(0, 9, (3, 2, length), generator=generator) / 8).to(dtype)  # with ties
    count = min(count, length)
    found = topk_of_rows(values, count).sort(dim=-1, descending=True).values
    assert torch.equal(found, values.topk(count, dim=-1).values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_highest_of_four_neighbours(dtype: torch.dtype) -> None:
    values = torch.rand(3, 2, 20, generator=torch.Generator().manual_seed(0)).to(dtype)
    values[:, :, ::4] *= -1
    assert torch.equal(max_of_four(values), values.unflatten(-1, (5, 4)).amax(-1))
