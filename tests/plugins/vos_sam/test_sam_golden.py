"""Segment Anything against the official package's recorded outputs, and against itself one by one."""

import numpy as np
import pytest
import torch

from vos_sam.model import SegmentAnything
from vos_sam.prompt import Prompt

LOGITS = {"atol": 2e-3, "rtol": 1e-3}


@pytest.fixture(scope="module")
def embeddings(tiny, reference):
    names = {key.split("/")[0] for key in reference}
    return {name: tiny.encode([reference[f"{name}/image"]])[0] for name in names}


def prompt_a(reference, name):
    return Prompt(reference[f"{name}/points"], reference[f"{name}/labels"], reference[f"{name}/box"])


def test_embedding_equals_the_official_encoder(embeddings, reference, check, picture):
    check(reference, f"{picture}/features", embeddings[picture].features, atol=2e-5)


def test_three_masks_equal_the_official_predictor(tiny, embeddings, reference, check, picture):
    decoded = tiny.decode(embeddings[picture], [prompt_a(reference, picture)])
    np.testing.assert_allclose(decoded.predicted_iou[0], reference[f"{picture}/multi/scores"], atol=1e-4)
    check(reference, f"{picture}/multi/low_res_logits", decoded.low_res_logits[0], **LOGITS)
    shape = reference[f"{picture}/multi/masks_shape"]
    official = np.unpackbits(reference[f"{picture}/multi/masks"])[: np.prod(shape)].reshape(shape).astype(bool)
    ours = (embeddings[picture].view.upsample(decoded.low_res_logits[0]) > 0).numpy()
    assert (ours != official).mean() <= 1e-3


def test_a_mask_prompt_equals_the_official_predictor(tiny, embeddings, reference, check, picture):
    first = tiny.decode(embeddings[picture], [prompt_a(reference, picture)]).low_res_logits[0, 0]
    prompt = Prompt(reference[f"{picture}/points"], reference[f"{picture}/labels"], None, first)
    decoded = tiny.decode(embeddings[picture], [prompt], multimask=False)
    np.testing.assert_allclose(decoded.predicted_iou[0], reference[f"{picture}/single_maskinput/scores"], atol=1e-4)
    check(reference, f"{picture}/single_maskinput/low_res_logits", decoded.low_res_logits[0], **LOGITS)


@pytest.mark.parametrize("multimask", [True, False])
def test_many_different_prompts_in_one_call_equal_one_call_each(tiny, embeddings, reference, multimask):
    name, embedding = next(iter(sorted(embeddings.items())))
    full = prompt_a(reference, name)
    mask = tiny.decode(embedding, [full]).low_res_logits[0, 1]
    prompts = [
        full,
        Prompt(full.points_xy[:1]),
        Prompt(box_xyxy=full.box_xyxy),
        Prompt(low_res_logits=mask),
        Prompt(full.points_xy, full.point_labels, None, mask),
        Prompt(np.array([[3, 4], [100, 90], [50.5, 7.25], [200, 100]]), np.array([1, 0, 1, 1]), full.box_xyxy, mask),
    ]
    together = tiny.decode(embedding, prompts, multimask=multimask)
    for row, prompt in enumerate(prompts):
        alone = tiny.decode(embedding, [prompt], multimask=multimask)
        torch.testing.assert_close(together.low_res_logits[row], alone.low_res_logits[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(together.predicted_iou[row], alone.predicted_iou[0], atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def small_official():
    """A small official model with every kind of block, 8 heads' width, and a grid that windows do not divide."""
    from functools import partial

    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(0)
    sam = Sam(
        ImageEncoderViT(
            img_size=160,
            patch_size=16,
            embed_dim=48,
            depth=3,
            num_heads=3,
            out_chans=256,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=4,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(embed_dim=256, image_embedding_size=(10, 10), input_image_size=(160, 160), mask_in_chans=16),
        MaskDecoder(
            transformer_dim=256, transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=64)
        ),
    ).eval()
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return sam


@pytest.mark.parametrize("size", [(160, 160), (61, 160), (160, 40)], ids=["square", "landscape", "portrait"])
def test_the_encoder_equals_the_official_one_where_windows_are_padded(small_official, size):
    from vos_sam.encoders.vit_encoder import VitEncoder

    images = torch.zeros(2, 3, 160, 160)
    images[..., : size[0], : size[1]] = torch.randn(2, 3, *size)
    with torch.inference_mode():
        torch.testing.assert_close(
            VitEncoder(small_official.image_encoder)(images, size),
            small_official.image_encoder(images),
            atol=2e-5,
            rtol=1e-5,
        )


def test_bf16_stays_near_fp32(small_official):
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    exact = SegmentAnything(small_official).encode([image])[0].features
    rough = SegmentAnything(small_official, torch.bfloat16).encode([image])[0].features
    difference = (exact - rough).abs().max()
    assert 0 < difference < 0.1 * exact.abs().max()


def test_the_predictor_of_the_package_agrees_on_any_size(small_official):
    from segment_anything import SamPredictor

    image = np.random.default_rng(1).integers(0, 256, (93, 61, 3), dtype=np.uint8)
    points, labels, box = np.array([[30, 40], [5, 80]]), np.array([1, 0]), np.array([10, 20, 50, 70])
    predictor = SamPredictor(small_official)
    predictor.set_image(image)
    logits, scores, low_res = predictor.predict(points, labels, box, return_logits=True)
    sam = SegmentAnything(small_official)
    (embedding,) = sam.encode([image])
    decoded = sam.decode(embedding, [Prompt(points, labels, box)])
    np.testing.assert_allclose(decoded.low_res_logits[0], low_res, atol=1e-4)
    np.testing.assert_allclose(decoded.predicted_iou[0], scores, atol=1e-5)
    np.testing.assert_allclose(embedding.view.upsample(decoded.low_res_logits[0]), logits, atol=1e-4)


def test_a_frame_larger_than_the_input_may_stop_at_the_inputs_size(tiny):
    from vos_sam.view import View

    view = View((1200, 1600), 1024)
    maps = torch.randn(2, 256, 256)
    assert view.upsample(maps).shape == (2, 1200, 1600)
    assert view.upsample(maps, at_most_input=True).shape == (2, 768, 1024)
    assert View((120, 160), 1024).upsample(maps, at_most_input=True).shape == (2, 120, 160)
