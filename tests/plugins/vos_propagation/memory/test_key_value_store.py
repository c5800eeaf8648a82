import pytest
import torch

from vos_propagation.memory.key_value_store import KeyValueMemoryStore, block_means, in_blocks


def cells_of(height: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(height, width, 5, generator=torch.Generator().manual_seed(seed))


def labels_of(height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(torch.randn(3, height, width, generator=generator), 0)


def test_a_block_holds_four_cells_that_touch() -> None:
    cells = cells_of(4, 6, 0)
    blocks = in_blocks(cells)
    assert blocks.shape == (2, 3, 4, 5)
    assert torch.equal(blocks[1, 2], cells[2:4, 4:6].reshape(4, 5))
    torch.testing.assert_close(block_means(blocks)[1, 2], cells[2:4, 4:6].mean((0, 1)))


def test_a_frame_is_found_again_by_the_index_of_its_blocks() -> None:
    blocks = [in_blocks(cells_of(4, 6, seed)) for seed in range(3)]
    labels = [labels_of(4, 6, seed) for seed in range(3)]
    labels[1][:, 2, 4] = 0
    memory = KeyValueMemoryStore(3, blocks[0], 3)
    frames = []
    for cells, coarse_votes in zip(blocks, labels, strict=True):
        frames.append(memory.put(cells, coarse_votes, frames))
    at = memory.index(frames[1], torch.tensor([1]), torch.tensor([2]))
    assert torch.equal(memory.keys[at].view(4, 5), blocks[1][1, 2])
    torch.testing.assert_close(memory.means[at][0], blocks[1][1, 2].mean(0))
    values = memory.values[at].view(4, 3)
    for cell in range(4):
        assert torch.equal(values[cell], labels[1][:, 2 + cell // 2, 4 + cell % 2])
    assert not values[0].any(), "the first cell of the block says nothing"
    assert torch.equal(memory.cells_of(frames[1]), blocks[1])
    assert torch.equal(memory.labels_of(frames[1]), labels[1])
    torch.testing.assert_close(frames[1].places.sizes, labels[1][1:].sum((1, 2)))


def test_a_new_frame_takes_the_slot_of_one_that_is_not_kept() -> None:
    blocks = [in_blocks(cells_of(4, 6, seed)) for seed in range(4)]
    memory = KeyValueMemoryStore(3, blocks[0], 3)
    kept = []
    for cells in blocks[:3]:
        kept.append(memory.put(cells, labels_of(4, 6, 0), kept))
    new = memory.put(blocks[3], labels_of(4, 6, 1), [kept[0], kept[2]])
    assert new.slot == kept[1].slot
    assert torch.equal(memory.cells_of(kept[0]), blocks[0])
    assert torch.equal(memory.cells_of(kept[2]), blocks[2])
    assert torch.equal(memory.cells_of(new), blocks[3])


def test_a_full_memory_takes_no_more() -> None:
    blocks = in_blocks(cells_of(4, 6, 0))
    memory = KeyValueMemoryStore(1, blocks, 3)
    kept = [memory.put(blocks, labels_of(4, 6, 0), [])]
    with pytest.raises(RuntimeError, match="all of 1 slots"):
        memory.put(blocks, labels_of(4, 6, 0), kept)
