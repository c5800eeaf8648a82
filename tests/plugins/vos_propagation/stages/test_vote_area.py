import torch

from vos_propagation.stages.vote_area import match_vote_area


def test_an_object_has_as_many_cells_as_were_voted_for_it_within_half_a_logit() -> None:
    votes = torch.zeros(3, 10, 10)
    votes[:, :5] = 0.9  # 50 cells each
    logits = torch.full((3, 10, 10), -8.0)
    logits[0, :4], logits[0, 4] = 3.0, -0.3  # lacks a row that is nearly there
    logits[1, :4], logits[1, 4] = 3.0, -2.0  # lacks one that is not
    logits[2, :6] = 3.0  # has more than was voted
    given = match_vote_area(logits, votes) - logits
    torch.testing.assert_close(given[:, 0, 0], torch.tensor([0.3, 0.5, 0.0]))
    torch.testing.assert_close(given, given[:, :1, :1].expand_as(given))
    votes[:, 2:] = 0  # too few to tell
    assert torch.equal(match_vote_area(logits, votes), logits)
