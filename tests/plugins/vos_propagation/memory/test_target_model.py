import torch
import torch.nn.functional as F

from vos_propagation.memory.target_model import BACKGROUND_STRIDE, RIDGE, TargetModel


def samples(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three kinds of cells in ten dimensions, with a constant, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 3, (200,), generator=generator)
    centres = torch.eye(10)[:3] * 2
    cells = centres[kinds].T + 0.1 * torch.randn(10, 200, generator=generator)
    return torch.cat([cells, torch.ones(1, 200)]), F.one_hot(kinds, 3).T.float()


def model(features: torch.Tensor) -> TargetModel:
    return TargetModel(features, 3, decay=0.9, rate=0.15, small=20)


def test_it_tells_apart_what_it_was_taught() -> None:
    features, labels = samples(0)
    target = model(features)
    target.learn(features, labels, annotated=True)
    unseen, truth = samples(1)
    assert torch.equal(target.scores(unseen).argmax(0), truth.argmax(0))


def test_an_annotated_frame_outweighs_many_later_ones_that_contradict_it() -> None:
    features, labels = samples(0)
    target = model(features)
    target.learn(features, labels, annotated=True)
    for _ in range(50):
        target.learn(features, labels.roll(1, 0) * 0.55 + labels * 0.45, annotated=False)
    assert torch.equal(target.scores(features).argmax(0), labels.argmax(0))


def test_cells_without_a_label_teach_nothing() -> None:
    features, labels = samples(0)
    known = labels.clone()
    known[:, 100:] = 0
    target, other = model(features), model(features)
    target.learn(features, known, annotated=True)
    other.learn(features[:, :100], labels[:, :100], annotated=True)
    torch.testing.assert_close(target.scores(features), other.scores(features))


def test_without_a_certain_cell_all_scores_are_0() -> None:
    features, labels = samples(0)
    target = model(features)
    target.learn(features, torch.full_like(labels, 1 / 3), annotated=True)
    assert not target.scores(features).any()


def test_of_alike_cells_of_the_background_every_fourth_teaches_as_much_as_all() -> None:
    """Four of each one after the other: what is left out is what is in. An object's cells all differ, and all teach."""
    generator = torch.Generator().manual_seed(0)
    ground = torch.randn(11, 100, generator=generator).repeat_interleave(BACKGROUND_STRIDE, 1)
    thing = torch.randn(11, 61, generator=generator) + 1
    features = torch.cat([ground, thing], dim=1)
    labels = torch.zeros(3, features.shape[1])
    labels[0, : ground.shape[1]], labels[1, ground.shape[1] :] = 1, 0.9
    labels[0, ground.shape[1] :] = 0.1
    target = model(features)
    target.learn(features, labels, annotated=False)
    share = labels * (2 * labels.amax(0) - 1)
    weight = (share / (share.sum(1, keepdim=True) + 20)).sum(0)
    gram = (features * weight) @ features.T
    ridge = RIDGE * gram.trace() / len(gram) * torch.eye(len(gram))
    expected = torch.linalg.solve(gram + ridge, (features * weight) @ labels.T).T @ features
    torch.testing.assert_close(target.scores(features), expected.clamp(-0.5, 1.5), atol=1e-4, rtol=0)
    shuffled = torch.randperm(ground.shape[1], generator=generator)
    features[:, : ground.shape[1]] = ground[:, shuffled]
    other = model(features)
    other.learn(features, labels, annotated=False)
    assert not torch.allclose(other.scores(features), expected, atol=1e-4)
