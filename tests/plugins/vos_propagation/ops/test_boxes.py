import torch

from vos_propagation.ops.boxes import boxes_around


def test_the_decoder_sees_boxes_of_few_sizes_with_room_around_the_object() -> None:
    likely = torch.zeros(6, 60, 108, dtype=torch.bool)
    likely[0, 20:34, 40:54] = True
    likely[1, 20:35, 0:3] = True  # at an edge
    likely[2, 55:60, 98:106] = True  # in a corner
    likely[3] = True
    likely[4, 20:50, 20:51] = True
    boxes = boxes_around(likely)
    assert boxes[0] == (slice(12, 44), slice(32, 64))
    assert boxes[1] == (slice(12, 44), slice(0, 16))
    assert boxes[2] == (slice(44, 60), slice(92, 108))
    assert boxes[3] == (slice(0, 60), slice(0, 108))
    assert boxes[4] == (slice(12, 60), slice(12, 60))
    assert boxes[5] is None
