import torch

from vos_propagation.memory.labels import add_rows, drop_row, representative_cells


def test_what_a_dropped_object_had_is_background_and_a_new_one_has_nothing() -> None:
    labels = torch.softmax(torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)), 0)
    less = drop_row(labels, 2)
    torch.testing.assert_close(less, torch.stack([labels[0] + labels[2], labels[1], labels[3]]))
    more = add_rows(labels, 2)
    assert torch.equal(more[:4], labels)
    assert more.shape == (6, 3, 5)
    assert not more[4:].any()


def test_what_is_mostly_an_object_shows_its_look_or_the_best_of_what_is_little_of_it() -> None:
    assert representative_cells(torch.tensor([0.59, 0.61, 1.0])).tolist() == [False, True, True]
    assert representative_cells(torch.tensor([0.1, 0.3, 0.29])).tolist() == [False, True, True]
