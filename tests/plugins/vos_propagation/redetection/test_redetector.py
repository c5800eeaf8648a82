import pytest
import torch
import torch.nn.functional as F

from vos_propagation.backbone.features import pool
from vos_propagation.config import EvidenceConfig, RedetectionConfig
from vos_propagation.redetection.candidates import find_candidate, region_strength
from vos_propagation.redetection.redetector import Redetector
from vos_propagation.redetection.views import View, chroma_distance, evidence, key_similarity, make_view

EVIDENCE, CONFIG = EvidenceConfig(), RedetectionConfig()
CHANNELS = 24
GREY = torch.zeros(2, 16, 24)


def looks(count: int) -> torch.Tensor:
    """Orthogonal unit vectors, (count, C): the features of different looks."""
    return torch.eye(CHANNELS)[:count]


def scene(*boxes: tuple[int, int, int], size: tuple[int, int] = (16, 24)) -> tuple[torch.Tensor, torch.Tensor]:
    """Make cells (C, h, w): ground of look 0, and 8 x 8 cells of each (look, top, left); labels (h, w) mark look 1."""
    index = torch.zeros(size, dtype=torch.int64)
    for look, top, left in boxes:
        index[top : top + 8, left : left + 8] = look
    noise = 0.03 * torch.randn(CHANNELS, *size, generator=torch.Generator().manual_seed(0))
    return F.normalize(looks(4)[index].permute(2, 0, 1) + noise, dim=0), (index == 1).float()


def watch(
    search: Redetector, cells: torch.Tensor, mine: torch.Tensor, chroma: torch.Tensor = GREY
) -> tuple[torch.Tensor, list[int]]:
    """Step with one object's votes; its score is high on look 1. Return its votes and the rows that are found."""
    votes = torch.stack([1 - mine, mine])
    found = search.step([7], pool(cells), chroma, votes, cells[1:2].clamp_min(0))
    torch.testing.assert_close(votes.sum(0), torch.ones_like(mine))
    return votes[1], found


def started() -> tuple[Redetector, torch.Tensor, torch.Tensor]:
    cells, labels = scene((1, 0, 0))
    search = Redetector(CONFIG)
    search.annotate(7, pool(cells), GREY, labels)
    for _ in range(3):
        watch(search, cells, labels)
    return search, cells, labels


def test_a_view_holds_the_cells_inside_and_outside_up_to_their_limits() -> None:
    cells, labels = scene((1, 0, 0))
    half = F.avg_pool2d(labels[None], 2)[0]
    small = make_view(pool(cells), GREY[:, :8, :12], half, EVIDENCE)
    assert small is not None
    assert (len(small.own), len(small.rest)) == (16, 96 - 16)
    cells, labels = scene((1, 0, 0), size=(64, 128))
    labels[:32, :80] = 1
    large = make_view(cells, torch.zeros(2, 64, 128), labels, EVIDENCE)
    assert large is not None
    assert (len(large.own), len(large.rest)) == (EVIDENCE.max_object_cells, EVIDENCE.max_surroundings_cells)
    assert make_view(cells, torch.zeros(2, 64, 128), torch.full_like(labels, 0.1), EVIDENCE) is None


def test_key_similarity_is_the_mean_of_the_nearest() -> None:
    keys = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    torch.testing.assert_close(key_similarity(torch.tensor([[1.0, 0.0]]), keys), torch.tensor([0.8]))
    assert key_similarity(torch.ones(3, 2), keys[:0]).tolist() == [0, 0, 0]


def test_evidence_is_exact_where_it_can_be_high_and_only_those_cells_are_compared_with_the_surroundings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    one_look, other_look = torch.eye(CHANNELS)[0], torch.eye(CHANNELS)[1]
    mixed = torch.linspace(0, 1, 192)[:, None]
    noise = 0.1 * torch.rand(192, CHANNELS, generator=generator)
    mixed_cells = F.normalize(mixed * one_look + (1.1 - mixed) * other_look + noise, dim=1)
    own, rest = mixed_cells[-20:], mixed_cells[:20]
    cells, score = mixed_cells.T.reshape(CHANNELS, 12, 16), 0.2 * torch.rand(12, 16, generator=generator)
    own_part = EVIDENCE.object_weight * key_similarity(mixed_cells, own)
    partial = own_part + EVIDENCE.score_weight * score.flatten() + EVIDENCE.bias
    full = (partial + EVIDENCE.surroundings_weight * key_similarity(mixed_cells, rest)).view(12, 16)
    compared_rows: list[int] = []

    def counted(query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        compared_rows.append(len(query))
        return key_similarity(query, keys)

    monkeypatch.setattr("vos_propagation.redetection.views.key_similarity", counted)
    logits = evidence(cells, [View(own, rest, torch.zeros(20, 2))], score, EVIDENCE)
    likely = full > EVIDENCE.min_evidence
    assert 0 < likely.sum() < likely.numel()
    torch.testing.assert_close(logits[likely], full[likely])
    assert (logits[~likely] < 0).all()
    assert compared_rows[0] == 192 > compared_rows[1] >= likely.sum()


def test_evidence_is_positive_on_the_moved_object_and_negative_elsewhere() -> None:
    cells, labels = scene((1, 0, 0))
    half = F.avg_pool2d(labels[None], 2)[0]
    known = make_view(pool(cells), GREY[:, :8, :12], half, EVIDENCE)
    assert known is not None
    moved, truth = scene((1, 8, 14), (2, 0, 4))
    there = F.avg_pool2d(truth[None], 2)[0]
    logits = evidence(pool(moved), [known], there, EVIDENCE)
    assert torch.equal(logits > 0, there > 0)


def test_the_candidate_is_connected_and_followed_to_its_end() -> None:
    allowed = torch.zeros(9, 9, dtype=torch.bool)
    allowed[::2, :7] = True
    allowed[1::4, 6] = True
    allowed[3::4, 0] = True
    winding = allowed.clone()
    allowed[:, 8] = True
    logits = torch.where(allowed, 1.0, -1.0)
    logits[0, 0] = 2
    free = torch.ones_like(allowed)
    assert torch.equal(find_candidate(logits, torch.zeros(9, 9), free, 2).region, winding)
    assert not find_candidate(-logits.abs(), torch.zeros(9, 9), free, 2).region.any()


def test_region_strength_counts_missing_cells_as_zero() -> None:
    logits = torch.tensor([[4.0, 2.0, -9.0, 6.0]])
    region = torch.tensor([[True, True, False, False]])
    assert float(region_strength(logits, region, 2)) == 3
    assert float(region_strength(logits, region, 3)) == 2


def test_the_candidate_is_the_best_free_region() -> None:
    logits = torch.full((8, 12), -3.0)
    logits[0:3, 0:3], logits[5:8, 8:12] = 6, 4
    mine, free = torch.zeros(8, 12), torch.ones(8, 12, dtype=torch.bool)
    assert torch.equal(find_candidate(logits, mine, free, 2).region, logits == 6)
    free[:4] = False
    candidate = find_candidate(logits, mine, free, 2)
    assert torch.equal(candidate.region, logits == 4)
    assert (candidate.strength, candidate.touches_votes) == (4, False)
    mine[5, 8] = 1
    assert find_candidate(logits, mine, free, 2).touches_votes


def test_the_votes_of_a_held_object_stay() -> None:
    search, cells, labels = started()
    votes, found = watch(search, cells, labels)
    assert torch.equal(votes, labels)
    assert not found
    assert not search.states[7].is_lost


def test_a_lost_object_is_found_where_it_returns() -> None:
    search, _, _ = started()
    empty, nothing = scene()
    for _ in range(30):
        votes, found = watch(search, empty, nothing)
        assert search.states[7].is_lost
        assert not found
        assert not votes.any()
    moved, truth = scene((1, 8, 14))
    votes, found = watch(search, moved, nothing)
    assert found == [0]
    assert torch.equal(votes > 0.5, truth > 0.5)
    assert not search.states[7].is_lost


def test_a_shrunk_object_recovers() -> None:
    search, cells, labels = started()
    part = torch.zeros_like(labels)
    part[:4, :4] = 1
    votes, found = watch(search, cells, part)
    assert found == [0]
    assert votes[labels > 0].min() > 0.5


def test_an_object_of_another_look_is_not_found() -> None:
    search, _, _ = started()
    other, nothing = scene((2, 8, 14))
    for _ in range(4):
        votes, _ = watch(search, other, nothing)
        assert not votes.any()


@pytest.mark.parametrize(("shift", "found"), [(10, True), (80, False)])
def test_an_object_of_another_colour_is_not_found(shift: float, found: bool) -> None:
    search, _, _ = started()
    moved, truth = scene((1, 8, 14))
    for _ in range(4):
        votes, _ = watch(search, moved, torch.zeros_like(truth), GREY + shift * truth)
    assert torch.equal(votes > 0.5, (truth > 0.5) & found)


def test_the_chroma_distance_is_the_median_of_the_distances_to_the_nearest_known_cell() -> None:
    views = [View(looks(2), looks(1), torch.tensor(own)) for own in ([[0.0, 0.0], [10.0, 0.0]], [[0.0, 50.0]])]
    cells = torch.tensor([[10.0, 1.0], [0.0, 53.0], [90.0, 0.0]])
    assert chroma_distance(cells, views) == pytest.approx(3)


def test_few_votes_in_wrong_cells_do_not_prevent_redetection() -> None:
    search, _, _ = started()
    left_behind = torch.zeros(16, 24)
    left_behind[0:2, 0:2] = 1
    moved, truth = scene((1, 8, 14))
    votes, found = watch(search, moved, left_behind)
    assert found == [0]
    assert torch.equal(votes > 0.5, truth > 0.5)


def verify(search: Redetector, cells: torch.Tensor, labels: torch.Tensor, certainty: float = 0.7) -> list[int]:
    return search.reject_unlike([7], pool(cells), labels[None], [certainty])


def test_a_mask_that_is_suddenly_unlike_the_views_is_rejected() -> None:
    search, cells, labels = started()
    other, _ = scene((2, 0, 0))
    assert verify(search, other, labels) == [], "nothing is known of how the masks look"
    search, cells, labels = started()
    for _ in range(3):
        assert verify(search, cells, labels) == []
    assert search.states[7].mask_similarity > 0.9
    assert verify(search, other, labels) == [0]
    assert search.states[7].is_lost
    assert verify(search, other, labels) == [], "it is lost already"


def test_a_mask_of_which_the_decoder_is_certain_stays() -> None:
    search, cells, labels = started()
    verify(search, cells, labels)
    other, _ = scene((2, 0, 0))
    assert verify(search, other, labels, certainty=0.95) == []
    assert not search.states[7].is_lost
    assert verify(search, other, labels) == [0], "an uncertain one of the same look is rejected"


def turned(part: float) -> torch.Tensor:
    """Draw the scene with a part of another look mixed into the object's cells."""
    cells, labels = scene((1, 0, 0))
    return F.normalize((1 - part) * cells + part * labels * looks(6)[5][:, None, None], dim=0)


def test_the_usual_look_follows_slow_changes() -> None:
    search, cells, labels = started()
    verify(search, cells, labels)
    usual = search.states[7].mask_similarity
    assert verify(search, turned(0.8), labels) == [0]
    search, cells, labels = started()
    assert not any(verify(search, turned(0.004 * i), labels) for i in range(100))
    assert search.states[7].mask_similarity < usual - 0.1


def test_a_returned_object_is_compared_with_how_it_looks_now() -> None:
    search, cells, labels = started()
    verify(search, cells, labels)
    search.states[7].is_lost = True
    other, _ = scene((2, 0, 0))
    assert verify(search, other, labels) == []
    search.states[7].is_lost = False
    assert verify(search, other, labels) == []


def test_cells_of_another_object_are_no_candidate() -> None:
    search, _, _ = started()
    cells, labels = scene((1, 8, 14))
    votes = torch.stack([1 - labels, torch.zeros_like(labels), labels])
    search.annotate(9, pool(cells), GREY, labels)
    search.step([7, 9], pool(cells), GREY, votes, torch.stack([labels, labels]))
    assert not votes[1].any()
    assert torch.equal(votes[2], labels)


def test_views_have_a_limit_and_the_newest_and_the_annotated_view_stay() -> None:
    search, cells, labels = started()
    first = search.states[7].views[0]
    for i in range(10):
        turned = F.normalize(cells + 0.1 * i * labels * looks(12)[-1 - i % 3][:, None, None], dim=0)
        search.update_views([7], pool(turned), GREY, labels[None], labels[None])
        half = F.avg_pool2d(labels[None], 2)[0]
        newest = make_view(pool(turned), GREY[:, :8, :12], half, EVIDENCE)
        assert newest is not None
        assert torch.equal(search.states[7].views[-1].own, newest.own)
    assert len(search.states[7].views) == CONFIG.latest_views + 1
    assert search.states[7].views[0] is first


def test_a_badly_visible_object_adds_no_view() -> None:
    search, cells, labels = started()
    search.update_views([7], pool(cells), GREY, labels[None], 0.4 * labels[None])
    assert len(search.states[7].views) == 1
    search.states[7].is_lost = True
    search.update_views([7], pool(cells), GREY, labels[None], labels[None])
    assert len(search.states[7].views) == 1


def test_a_correction_keeps_the_view_annotated_before_and_drops_tracked_ones() -> None:
    search, cells, labels = started()
    annotated = search.states[7].views[0]
    search.update_views([7], pool(cells), GREY, labels[None], labels[None])
    assert len(search.states[7].views) == 2
    search.annotate(7, pool(cells), GREY, labels)
    assert len(search.states[7].views) == 2
    assert search.states[7].views[1] is annotated


def test_a_forgotten_object_is_dropped() -> None:
    search, cells, labels = started()
    search.forget(7)
    search.forget(8)
    assert not search.states
    assert not search.step([], pool(cells), GREY, torch.ones(1, 16, 24), labels[None][:0])


@pytest.mark.parametrize("count", [1, 2, 5, 130])
def test_key_similarity_is_the_mean_of_the_nearest_for_any_number_of_keys(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    query = F.normalize(torch.randn(7, 12, generator=generator), dim=1)
    keys = -F.normalize(torch.rand(count, 12, generator=generator), dim=1)
    expected = (query @ keys.T).sort(dim=1, descending=True).values[:, :3].mean(1)
    torch.testing.assert_close(key_similarity(query, keys), expected)
