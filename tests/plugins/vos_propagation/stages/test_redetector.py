import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vos_propagation.stages.distractors import DistractorPair
from vos_propagation.stages.redetector import (
    BIAS,
    HOPELESS,
    LIKE_OWN,
    LIKE_REST,
    OWN_CELLS,
    REST_CELLS,
    SCORE,
    VIEWS,
    Redetector,
    View,
    evidence,
    find,
    grow,
    key_similarity,
    pool,
    strength,
    view,
)

CHANNELS = 24


def head_features(count: int) -> torch.Tensor:
    """Unit vectors (count, C), each unlike the others."""
    return torch.eye(CHANNELS)[:count]


def scene(*boxes: tuple[int, int, int], size: tuple[int, int] = (16, 24)) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells (C, h, w) and labels (h, w): ground of look 0, and 8 x 8 cells of (look, top, left); look 1 is labelled."""
    index = torch.zeros(size, dtype=torch.int64)
    for look, top, left in boxes:
        index[top : top + 8, left : left + 8] = look
    noise = 0.03 * torch.randn(CHANNELS, *size, generator=torch.Generator().manual_seed(0))
    return F.normalize(head_features(4)[index].permute(2, 0, 1) + noise, dim=0), (index == 1).float()


def watch(search: Redetector, cells: torch.Tensor, mine: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Step with one object's votes; its model says what the votes say, and every cell is like one before."""
    votes = torch.stack([1 - mine, mine])
    score = cells[1:2].clamp_min(0)
    verdict = search.step([7], cells, votes, score, torch.full_like(mine, 0.9), [])
    torch.testing.assert_close(votes.sum(0), torch.ones_like(mine))
    return votes[1], list(verdict.rejected_rows)


def started() -> tuple[Redetector, torch.Tensor, torch.Tensor]:
    cells, labels = scene((1, 0, 0))
    search = Redetector()
    search.annotate(7, cells, labels, labels)
    for _ in range(3):
        watch(search, cells, labels)
    return search, cells, labels


def test_a_view_keeps_the_cells_inside_and_outside_and_no_more_than_its_budget() -> None:
    cells, labels = scene((1, 0, 0))
    half = F.avg_pool2d(labels[None], 2)[0]
    small = view(pool(cells), half, half)
    assert small is not None
    assert (len(small.own), len(small.rest)) == (16, 96 - 16)
    cells, labels = scene((1, 0, 0), size=(64, 128))
    labels[:32, :80] = 1
    large = view(cells, labels, labels)
    assert large is not None
    assert (len(large.own), len(large.rest)) == (OWN_CELLS, REST_CELLS)
    assert view(cells, torch.full_like(labels, 0.1), labels) is None


def test_what_others_that_look_like_an_object_show_is_not_kept_as_something_else() -> None:
    cells, labels = scene((1, 0, 0), (1, 8, 14))
    mine = labels * (torch.arange(24) < 8)
    search = Redetector()
    search.annotate(7, cells, mine, labels)
    search.update_views([7], cells, mine[None], labels[None], mine[None])
    for known in search.states[7].views:
        assert len(known.own) == 16
        assert len(known.rest) == 96 - 32
        assert (known.rest[:, 0] > 0.9).all(), "all ground"


def test_likeness_is_the_mean_of_the_nearest() -> None:
    keys = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    torch.testing.assert_close(key_similarity(torch.tensor([[1.0, 0.0]]), keys), torch.tensor([0.8]))
    assert key_similarity(torch.ones(3, 2), keys[:0]).tolist() == [0, 0, 0]


def test_evidence_is_exact_for_all_cells_that_may_have_any_and_only_those_are_compared_with_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    like_one, like_other = torch.eye(CHANNELS)[0], torch.eye(CHANNELS)[1]
    mixed = torch.linspace(0, 1, 192)[:, None]
    noise = 0.1 * torch.rand(192, CHANNELS, generator=generator)
    head_features = F.normalize(mixed * like_one + (1.1 - mixed) * like_other + noise, dim=1)
    own, rest = head_features[-20:], head_features[:20]
    cells, score = head_features.T.reshape(CHANNELS, 12, 16), 0.2 * torch.rand(12, 16, generator=generator)
    alone = LIKE_OWN * key_similarity(head_features, own) + SCORE * score.flatten() + BIAS
    full = (alone + LIKE_REST * key_similarity(head_features, rest)).view(12, 16)
    match_keys: list[int] = []

    def counted(query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        match_keys.append(len(query))
        return key_similarity(query, keys)

    monkeypatch.setattr("vos_propagation.stages.redetector.key_similarity", counted)
    logits = evidence(cells, [View(own, rest)], score)
    likely = full > HOPELESS
    assert 0 < likely.sum() < likely.numel()
    torch.testing.assert_close(logits[likely], full[likely])
    assert (logits[~likely] < 0).all()
    assert match_keys[0] == 192 > match_keys[1] >= likely.sum()


def test_evidence_is_positive_on_the_object_wherever_it_went_and_negative_elsewhere() -> None:
    cells, labels = scene((1, 0, 0))
    half = F.avg_pool2d(labels[None], 2)[0]
    known = view(pool(cells), half, half)
    assert known is not None
    moved, truth = scene((1, 8, 14), (2, 0, 4))
    there = F.avg_pool2d(truth[None], 2)[0]
    logits = evidence(pool(moved), [known], there)
    assert torch.equal(logits > 0, there > 0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_growing_gives_the_connected_region(seed: int) -> None:
    allowed = torch.rand(7, 9, generator=torch.Generator().manual_seed(seed)) > 0.5
    seeds = torch.zeros_like(allowed)
    seeds[3, 4] = True
    region, todo = set(), [(3, 4)] if allowed[3, 4] else []
    while todo:
        y, x = todo.pop()
        if (y, x) in region or not (0 <= y < 7 and 0 <= x < 9) or not allowed[y, x]:
            continue
        region.add((y, x))
        todo += [(y + v, x + u) for v in (-1, 0, 1) for u in (-1, 0, 1)]
    assert set(map(tuple, torch.nonzero(grow(seeds, allowed)).tolist())) == region


def test_a_winding_region_is_grown_to_its_end() -> None:
    allowed = torch.zeros(9, 9, dtype=torch.bool)
    allowed[::2] = True
    allowed[1::4, -1] = True
    allowed[3::4, 0] = True
    seeds = torch.zeros_like(allowed)
    seeds[0, 0] = True
    assert torch.equal(grow(seeds, allowed), allowed)


def test_strength_counts_missing_cells_as_nothing() -> None:
    logits = torch.tensor([[4.0, 2.0, -9.0, 6.0]])
    region = torch.tensor([[True, True, False, False]])
    assert float(strength(logits, region, 2)) == 3
    assert float(strength(logits, region, 3)) == 2


def test_find_takes_the_best_region_that_is_free() -> None:
    logits = torch.full((8, 12), -3.0)
    logits[0:3, 0:3], logits[5:8, 8:12] = 6, 4
    mine, free = torch.zeros(8, 12), torch.ones(8, 12, dtype=torch.bool)
    assert torch.equal(find(logits, mine, free, 9).region, logits == 6)
    free[:4] = False
    candidate = find(logits, mine, free, 9)
    assert torch.equal(candidate.region, logits == 4)
    strong, own, row, column, touches, size = candidate.facts.tolist()
    assert size == candidate.region.sum()
    assert (strong, own, touches) == (4, -100, 0)
    assert 5 <= row <= 7
    assert 8 <= column <= 11
    mine[5, 8] = 1
    assert find(logits, mine, free, 9).facts[[1, 4]].tolist() == [4, 1]


def test_a_held_object_is_left_alone() -> None:
    search, cells, labels = started()
    votes, rejected_rows = watch(search, cells, labels)
    assert torch.equal(votes, labels)
    assert not rejected_rows
    assert search.states[7].lost == 0


def test_an_object_is_lost_stays_lost_and_is_found_where_it_returns() -> None:
    search, _, _ = started()
    empty, nothing = scene()
    for count in range(1, 30):
        votes, _ = watch(search, empty, nothing)
        assert search.states[7].lost == count
        assert not votes.any()
    for _ in range(2):
        moved, truth = scene((1, 8, 14))
        votes, _ = watch(search, moved, nothing)
    assert torch.equal(votes > 0.5, truth > 0.5)
    assert search.states[7].lost == 0


@pytest.mark.parametrize("twice_as_large", [False, True])
def test_a_shrunk_object_is_helped_unless_the_region_is_far_larger_than_it_ever_was(twice_as_large: bool) -> None:
    search, _, labels = started()
    cells, _ = scene((1, 0, 0), *[(1, 0, 8)] * twice_as_large)
    part = torch.zeros_like(labels)
    part[:4, :4] = 1
    votes, rejected_rows = watch(search, cells, part)
    assert rejected_rows == []
    if twice_as_large:
        assert torch.equal(votes, part)
    else:
        assert votes[labels > 0].min() > 0.5


def test_what_looks_otherwise_is_not_found() -> None:
    search, _, _ = started()
    other, nothing = scene((2, 8, 14))
    for _ in range(4):
        votes, _ = watch(search, other, nothing)
        assert not votes.any()


def test_leftovers_of_wrong_cells_are_taken_back_and_do_not_keep_the_object_from_being_found() -> None:
    search, _, _ = started()
    static_fragments = torch.zeros(16, 24)
    static_fragments[0:2, 0:2] = 1
    votes, rejected_rows = watch(search, scene()[0], static_fragments)
    assert rejected_rows == [0]
    assert not votes.any()
    search, _, _ = started()
    moved, truth = scene((1, 8, 14))
    votes, _ = watch(search, moved, static_fragments)
    assert torch.equal(votes > 0.5, truth > 0.5)


def test_cells_that_another_object_holds_are_not_taken() -> None:
    search, _, _ = started()
    cells, labels = scene((1, 8, 14))
    votes = torch.stack([1 - labels, torch.zeros_like(labels), labels])
    search.annotate(9, cells, labels, labels)
    search.step([7, 9], cells, votes, torch.stack([labels, labels]), torch.full_like(labels, 0.9), [])
    assert not votes[1].any()
    assert torch.equal(votes[2], labels)


@pytest.mark.parametrize(("left", "found"), [(13, True), (8, False)])
def test_a_lost_object_is_not_found_beside_its_twin(left: int, found: bool) -> None:
    search, cells, labels = started()
    search.annotate(9, cells, labels, labels)
    cells, both = scene((1, 0, 0), (1, 0, left))
    theirs = both * (torch.arange(24) < 8)
    votes = torch.stack([1 - theirs, torch.zeros_like(theirs), theirs])
    search.step([7, 9], cells, votes, both.expand(2, -1, -1), torch.full_like(both, 0.9), [DistractorPair(0, 1, 1.0)])
    assert torch.equal(votes[1] > 0.5, (both - theirs > 0) & found)
    assert torch.equal(votes[2], theirs)


def test_what_may_be_a_lost_object_is_named_unsure() -> None:
    search, _, _ = started()
    cells, labels = scene((1, 8, 14))
    faint = F.normalize(0.45 * cells + 0.55 * scene()[0], dim=0)
    nothing = torch.zeros_like(labels)
    votes = torch.stack([1 - nothing, nothing])
    verdict = search.step([7], faint, votes, nothing[None], nothing, [])
    assert not votes[1].any()
    assert verdict.ignore_mask is not None
    assert torch.equal(verdict.ignore_mask[8:, 14:22], torch.ones(8, 8, dtype=torch.bool))
    assert not verdict.ignore_mask[:6].any()


def test_views_stay_within_their_budget_and_the_newest_and_the_annotated_stay() -> None:
    search, cells, labels = started()
    first = search.states[7].views[0]
    for i in range(10):
        turned = F.normalize(cells + 0.1 * i * labels * head_features(12)[-1 - i % 3][:, None, None], dim=0)
        search.update_views([7], turned, labels[None], labels[None], labels[None])
        half = F.avg_pool2d(labels[None], 2)[0]
        newest = view(pool(turned), half, half)
        assert newest is not None
        assert torch.equal(search.states[7].views[-1].own, newest.own)
    assert len(search.states[7].views) == VIEWS + 1
    assert search.states[7].views[0] is first


def test_how_much_two_views_are_alike_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (
        View(F.normalize(head_features(6)[part], dim=1), head_features(1)) for part in (slice(0, 3), slice(2, 6))
    )
    expected = float(key_similarity(one.own, other.own).mean())
    assert one.appearance_similarity(other) == expected
    assert other.appearance_similarity(one) != expected
    monkeypatch.setattr("vos_propagation.stages.redetector.key_similarity", None)
    assert one.appearance_similarity(other) == expected


def test_what_is_badly_seen_is_not_remembered() -> None:
    search, cells, labels = started()
    search.update_views([7], cells, labels[None], labels[None], 0.4 * labels[None])
    search.update_views([7], cells, labels[None] * (torch.arange(24) < 2), labels[None], labels[None])
    assert len(search.states[7].views) == 1


def test_a_correction_keeps_the_view_annotated_before_and_drops_tracked_ones() -> None:
    search, cells, labels = started()
    annotated = search.states[7].views[0]
    search.update_views([7], cells, labels[None], labels[None], labels[None])
    assert len(search.states[7].views) == 2
    search.annotate(7, cells, labels, labels)
    assert len(search.states[7].views) == 2
    assert search.states[7].views[1] is annotated


def test_a_forgotten_object_is_dropped() -> None:
    search, cells, labels = started()
    search.forget(7)
    search.forget(8)
    assert not search.states
    assert not search.step([], cells, torch.ones(1, 16, 24), labels[None][:0], labels, []).rejected_rows


@pytest.mark.parametrize("count", [1, 2, 5, 130])
def test_likeness_is_the_mean_of_the_nearest_however_many_there_are(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    query = F.normalize(torch.randn(7, 12, generator=generator), dim=1)
    keys = -F.normalize(torch.rand(count, 12, generator=generator), dim=1)
    expected = (query @ keys.T).sort(dim=1, descending=True).values[:, :3].mean(1)
    torch.testing.assert_close(key_similarity(query, keys), expected)
