"""Checkpoints that claim more than they store are refused before memory is taken for them."""

import zipfile

import pytest
import torch

from vos.plugin import WeightsError
from vos.weights import refuse_expanding, refuse_unstored

CLAIMS = {
    "stride 0": (torch.zeros(1).expand(10**9), r"claims 4000000000 bytes, but 4 are stored"),
    "meta": (torch.empty(10**9, device="meta"), "is without data"),
    "sparse": (torch.sparse_coo_tensor(torch.zeros(1, 0).long(), torch.zeros(0), (10**9,)), "is sparse"),
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_tensor_larger_than_what_is_stored_is_refused(kind, tmp_path):
    tensor, message = CLAIMS[kind]
    torch.save({"a": torch.zeros(2), "b": tensor}, tmp_path / "a.pth")
    state = torch.load(tmp_path / "a.pth", weights_only=True)
    with pytest.raises(WeightsError, match=rf'^a\.pth: tensor "b" {message}') as caught:
        refuse_unstored(state, "a.pth")
    assert "\n" not in str(caught.value)


def test_many_views_of_one_storage_are_refused_and_tied_weights_are_not():
    one = torch.zeros(1000)
    refuse_unstored({"a": one, "b": one.view(10, 100), "c": one[:500]}, "tied.pth")
    with pytest.raises(WeightsError, match=r"claim 400000 bytes, but 4000 are stored"):
        refuse_unstored({str(i): one for i in range(100)}, "views.pth")


def test_a_compressed_checkpoint_is_refused_before_it_is_unpacked(tmp_path):
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"a": torch.zeros(1_000_000)}, plain)
    refuse_expanding(plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(WeightsError, match=r"packed\.pth: \d+ bytes that unpack to 4\d+, expected"):
        refuse_expanding(packed)


def test_other_files_are_left_to_torch(tmp_path):
    for content in (b"", b"PK\x03\x04 cut short", b"\x80\x02."):
        (tmp_path / "a.pth").write_bytes(content)
        refuse_expanding(tmp_path / "a.pth")
    refuse_expanding(tmp_path / "absent.pth")
