"""Loading: any model of the published layout, and one clear line for everything else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vos import Runtime, weights
from vos.plugin import WeightsError
from vos_sam.checkpoint import build_sam, load_sam
from vos_sam.known_weights import CHECKPOINTS, resolve_checkpoint
from vos_sam.model import SegmentAnything
from vos_sam.tiny_vit import TinyViT


def test_a_tiny_model_is_recognised_from_its_tensors(tiny_state):
    sam = build_sam(tiny_state, "tiny")
    encoder = sam.image_encoder
    assert (encoder.img_size, len(encoder.blocks), encoder.blocks[0].window_size) == (1024, 2, 14)
    assert [block.attn.num_heads for block in encoder.blocks] == [2, 2]
    assert encoder.blocks[1].window_size == 0
    assert sam.mask_decoder.transformer.num_heads == 4
    assert not sam.training


@pytest.mark.parametrize(("name", "width", "depth"), [("vit_b", 768, 12), ("vit_l", 1024, 24), ("vit_h", 1280, 32)])
def test_published_models_are_recognised(name, width, depth):
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        official = sam_model_registry[name]()
        assert set(official.state_dict()) > {"image_encoder.pos_embed"}
        state = official.state_dict()
        from vos_sam import checkpoint

        encoder, grid = checkpoint._image_encoder(state)
        decoder = checkpoint._mask_decoder(state)
        prompts = checkpoint._prompt_encoder(state, grid, encoder.img_size)
    assert (encoder.img_size, grid, len(encoder.blocks)) == (1024, 64, depth)
    assert encoder.patch_embed.proj.out_channels == width
    for own, its in zip(encoder.blocks, official.image_encoder.blocks, strict=True):
        assert (own.window_size, own.attn.num_heads) == (its.window_size, its.attn.num_heads)
    for own, its in (
        (encoder, official.image_encoder),
        (decoder, official.mask_decoder),
        (prompts, official.prompt_encoder),
    ):
        assert {k: v.shape for k, v in own.state_dict().items()} == {k: v.shape for k, v in its.state_dict().items()}
    assert decoder.transformer.num_heads == official.mask_decoder.transformer.num_heads


def test_mobile_sam_loads_strictly_and_equals_the_official_encoder(mobile):
    state, expected = mobile
    sam = build_sam(state, "mobile")
    assert isinstance(sam.image_encoder, TinyViT)
    assert set(sam.state_dict()) == set(state)
    images = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 3, 1024, 1024)).astype(np.float32))
    with torch.inference_mode():
        features = sam.image_encoder(images)[0]
    np.testing.assert_allclose(features[::8, ::4, ::4], expected, atol=2e-5, rtol=1e-4)


def test_loading_from_a_file(tiny_state, tmp_path):
    path = tmp_path / "tiny.pth"
    torch.save(tiny_state, path)
    loaded = SegmentAnything.load(Runtime(device="cpu", cache=tmp_path), checkpoint=path)
    assert (loaded.side, loaded.grid) == (1024, (64, 64))


def test_a_model_is_known_by_its_content_wherever_the_cache_is(tiny_state, tmp_path, monkeypatch):
    known = replace(CHECKPOINTS["vit_b"], size=None)
    monkeypatch.setitem(CHECKPOINTS, "vit_b", known)
    said = []
    for number, folder in enumerate(("here", "there", "other")):
        path = tmp_path / folder / known.file_name
        path.parent.mkdir()
        state = {key: value + (number == 2) for key, value in tiny_state.items()}
        torch.save(state, path)
        said.append(SegmentAnything.load(Runtime(device="cpu", cache=tmp_path / folder)).details)
        assert said[-1] == {"checkpoint": known.file_name, "sha256": weights.sha256_of(path)}
    assert said[0] == said[1] != said[2]


def test_the_published_files_are_offered_and_found(tmp_path):
    offered = weights.known_checkpoints()
    assert [offered[name] for name in CHECKPOINTS] == list(CHECKPOINTS.values())
    assert [one.file_name for one in CHECKPOINTS.values()] == [
        "sam_vit_b_01ec64.pth",
        "sam_vit_l_0b3195.pth",
        "sam_vit_h_4b8939.pth",
        "mobile_sam.pt",
    ]
    with pytest.raises(WeightsError, match=r"mobile_sam\.pt: the weights of MobileSAM, TinyViT are not there"):
        resolve_checkpoint(None, "vit_t", tmp_path)


def test_a_truncated_file(tiny_state, tmp_path):
    path = tmp_path / "cut.pth"
    torch.save(tiny_state, path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(
        WeightsError, match=r"cut\.pth: cannot be read as a checkpoint of tensors \(100000 bytes"
    ) as error:
        load_sam(path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 no tensors here", b"root:x:0:0:root\n", b"", b"\x80\x02."])
def test_a_file_of_something_else(tmp_path, content):
    path = tmp_path / "photo.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        load_sam(path)


def test_a_file_that_would_run_code(tmp_path):
    path = tmp_path / "code.pth"
    torch.save({"image_encoder.x": Runtime(cache=tmp_path)}, path)
    with pytest.raises(WeightsError, match=r"code\.pth: cannot be read as a checkpoint"):
        load_sam(path)


def test_another_models_checkpoint():
    with pytest.raises(
        WeightsError, match=r"resnet\.pth: not a Segment Anything checkpoint: no tensors of image_encoder"
    ):
        build_sam({"layer1.0.conv1.weight": torch.zeros(1)}, "resnet.pth")


def test_a_missing_tensor(tiny_state):
    state = dict(tiny_state)
    del state["image_encoder.blocks.1.norm1.bias"]
    with pytest.raises(WeightsError, match=r'1 missing, first "image_encoder\.blocks\.1\.norm1\.bias"'):
        build_sam(state, "x.pth")


def test_a_missing_tensor_that_shapes_are_read_from(tiny_state):
    state = dict(tiny_state)
    del state["image_encoder.pos_embed"]
    with pytest.raises(
        WeightsError, match=r"damaged Segment Anything checkpoint: 'image_encoder\.pos_embed' is missing"
    ):
        build_sam(state, "x.pth")


def test_keys_that_are_no_text(tiny_state, tmp_path):
    path = tmp_path / "numbers.pth"
    torch.save({**tiny_state, 7: torch.zeros(1)}, path)
    with pytest.raises(
        WeightsError, match=r"numbers\.pth: not a Segment Anything checkpoint: expected tensors by name"
    ):
        load_sam(path)


@pytest.mark.parametrize(
    "name",
    [
        "image_encoder.pos_embed",
        "image_encoder.neck.0.weight",
        "image_encoder.blocks.0.attn.rel_pos_h",
        "image_encoder.blocks.0.mlp.lin1.weight",
        "prompt_encoder.mask_downscaling.3.weight",
        "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight",
        "mask_decoder.transformer.layers.0.mlp.lin1.weight",
        "mask_decoder.iou_prediction_head.layers.0.weight",
    ],
)
def test_a_tensor_without_dimensions(tiny_state, name):
    with pytest.raises(WeightsError, match=r"^x\.pth: a damaged Segment Anything checkpoint: .* other shapes") as error:
        build_sam({**tiny_state, name: torch.tensor(0.0)}, "x.pth")
    assert "\n" not in str(error.value)


def test_tensors_that_do_not_fit(tiny_state):
    state = dict(tiny_state, extra=torch.zeros(2))
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 7)
    with pytest.raises(
        WeightsError, match='1 unknown, first "extra"; 1 of another shape, first "mask_decoder.iou_token'
    ):
        build_sam(state, "x.pth")


@pytest.mark.parametrize(
    ("name", "claimed"),
    [
        ("mask_decoder.mask_tokens.weight", torch.zeros(1).expand(10**9, 32)),
        ("image_encoder.pos_embed", torch.zeros(1, device="meta").expand(1, 30_000, 30_000, 64)),
    ],
)
def test_a_small_file_of_huge_tensors(tiny_state, tmp_path, name, claimed):
    path = tmp_path / "huge.pth"
    torch.save({**tiny_state, name: claimed}, path)
    with pytest.raises(WeightsError, match=rf'huge\.pth: tensor "{name}" (claims \d+ bytes|is without data)'):
        load_sam(path)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("mask_decoder.mask_tokens.weight", torch.zeros(1_000_000, 1)),
        ("mask_decoder.transformer.layers.999999999.norm1.weight", torch.zeros(1)),
        ("image_encoder.patch_embed.proj.weight", torch.zeros(1, 1, 1, 1_000_000)),
        ("image_encoder.pos_embed", torch.zeros(1, 1_000_000, 1, 1)),
        ("mask_decoder.iou_prediction_head.layers.0.weight", torch.zeros(4_000_000, 1)),
    ],
)
def test_shapes_of_a_huge_model_take_no_memory(tiny_state, name, tensor):
    with pytest.raises(WeightsError, match=r"^x\.pth: (a damaged Segment Anything|tensors do not fit the model)"):
        build_sam({**tiny_state, name: tensor}, "x.pth")


def test_a_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(WeightsError, match=r"no\.pth: no such checkpoint file"):
        resolve_checkpoint(tmp_path / "no.pth", "vit_b", tmp_path)
    with pytest.raises(WeightsError, match=r"`vos weights fetch vit_b` gets them.*put sam_vit_b_01ec64\.pth"):
        resolve_checkpoint(None, "vit_b", tmp_path)


def test_embeddings_are_kept_on_disk_and_a_damaged_file_counts_as_none(tiny_state, tmp_path):
    path = tmp_path / "tiny.pth"
    torch.save(tiny_state, path)
    runtime = Runtime(device="cpu", cache=tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    model = SegmentAnything.load(runtime, checkpoint=path, cache_embeddings=True)
    first = model.encode([image])[0].features
    (kept,) = (tmp_path / "embeddings").rglob("*.pt")

    second = SegmentAnything.load(runtime, checkpoint=path, cache_embeddings=True)
    second._encode = None  # a call would fail: the embedding comes from the disk
    assert torch.equal(second.encode([image])[0].features, first)

    kept.write_bytes(b"damaged")
    assert torch.equal(model.encode([image])[0].features, first)
    assert kept.stat().st_size > 100
    assert not torch.equal(model.encode([image[::-1].copy()])[0].features, first)
