import torch

from vos_propagation.labels import with_rows, without_row


def test_what_a_dropped_object_had_is_background_and_a_new_one_has_nothing() -> None:
    labels = torch.softmax(torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)), 0)
    less = without_row(labels, 2)
    torch.testing.assert_close(less, torch.stack([labels[0] + labels[2], labels[1], labels[3]]))
    more = with_rows(labels, 2)
    assert torch.equal(more[:4], labels)
    assert more.shape == (6, 3, 5)
    assert not more[4:].any()
