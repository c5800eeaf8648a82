"""MobileSAM's encoder in strips and without the padding, against its plain forward pass."""

import pytest
import torch

from vos_sam.encoders.tiny_vit_encoder import TinyVitEncoder
from vos_sam.tiny_vit import TinyViT

SIDE = 256


@pytest.fixture(scope="module")
def encoders():
    torch.manual_seed(0)
    plain = TinyViT(SIDE, 16).eval().requires_grad_(False)
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
    return plain, TinyVitEncoder(plain)


@pytest.mark.parametrize("size", [(SIDE, SIDE), (100, SIDE), (SIDE, 77)], ids=["square", "landscape", "portrait"])
def test_strips_and_the_shared_padding_change_nothing(encoders, size):
    plain, fast = encoders
    images = torch.zeros(2, 3, SIDE, SIDE)
    images[..., : size[0], : size[1]] = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = plain(images)
        torch.testing.assert_close(fast(images, size), expected, atol=2e-5, rtol=1e-5)
        assert not torch.equal(expected[..., 0, 0], expected[..., -1, -1])
