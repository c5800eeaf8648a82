import torch
from hypothesis import given
from hypothesis import strategies as st

from vos_propagation.ops.boxes import batches_of, boxes_around


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


def test_boxes_of_about_one_size_are_decoded_together() -> None:
    wide, tall = (slice(0, 8), slice(4, 20)), (slice(0, 16), slice(4, 12))
    far, large = (slice(30, 38), slice(50, 66)), (slice(4, 60), slice(2, 98))
    assert batches_of([wide, None, far, large], (68, 122)) == [[(0, wide, wide), (2, far, far)], [(3, large, large)]]
    grown = (slice(0, 16), slice(4, 20))
    assert batches_of([wide, tall], (68, 122)) == [[(0, wide, grown), (1, tall, (slice(0, 16), slice(0, 16)))]]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 90), st.integers(1, 9), st.integers(1, 9)), max_size=6))
def test_boxes_that_go_together_have_one_size_hold_their_own_and_lie_in_the_frame(
    drawn: list[tuple[int, int, int, int]],
) -> None:
    boxes = [(slice(y, min(68, y + 8 * height)), slice(x, min(122, x + 8 * width))) for y, x, height, width in drawn]
    batches = batches_of(boxes, (68, 122))
    assert sorted(row for batch in batches for row, _, _ in batch) == [*range(len(boxes))]
    for batch in batches:
        assert len({(y.stop - y.start, x.stop - x.start) for _, _, (y, x) in batch}) == 1
        for row, own_box, whole in batch:
            assert own_box == boxes[row]
            for own, part, limit in zip(boxes[row], whole, (68, 122), strict=True):
                assert 0 <= part.start <= own.start < own.stop <= part.stop <= limit
