from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from vos_propagation.ops.components import part_of, several_components


@given(mask=arrays(np.bool_, (9, 11)))
def test_the_pieces_are_those_of_the_whole_grid(mask):
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    expected = {frozenset(zip(*np.nonzero(labels == label), strict=True)) for label in range(1, count)}

    found = [frozenset(zip(*cells, strict=True)) for cells in several_components(mask)]

    assert len(found) == len(set(found))
    assert set(found) == (expected if len(expected) > 1 else set())


@pytest.mark.parametrize("mask", [np.eye(5, dtype=bool), np.ones((2, 3), bool), np.zeros((4, 6), bool)])
def test_what_touches_at_corners_is_one_piece_and_one_or_none_are_not_listed(mask):
    assert several_components(mask) == []


@pytest.mark.parametrize("cells", [[(2, 3)], [(0, 0), (5, 7)], [(5, 1), (3, 4)]])
def test_the_part_reaches_from_the_first_to_the_last_cell(cells):
    mask = np.zeros((6, 8), bool)
    rows, columns = np.array(cells).T
    mask[rows, columns] = True

    assert part_of(mask) == (slice(min(rows), max(rows) + 1), slice(min(columns), max(columns) + 1))
