"""Features of ViTs are the same from both libraries, and those of DINO's own code; what does not fit is one line."""

import argparse
import json
import re
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

import vos
from vos.plugin import ExtraMissingError, OptionError, OutputExistsError, WeightsError
from vos.testing import tiny_sequence
from vos_propagation.dino.vit import load_vit

WIDTH, HEADS, DEPTH, PATCH, SIDE = 24, 2, 2, 32, 128
TIMM_ARGS = {"embed_dim": WIDTH, "num_heads": HEADS, "depth": DEPTH, "patch_size": PATCH, "img_size": SIDE}
KINDS = {
    "vit": ("vit_tiny_patch16_224", transformers.ViTConfig, transformers.ViTModel, {"layer_norm_eps": 1e-6}),
    "dinov2": ("vit_small_patch14_dinov2", transformers.Dinov2Config, transformers.Dinov2Model, {}),
    "dinov2-registers": (
        "vit_small_patch14_reg4_dinov2",
        transformers.Dinov2WithRegistersConfig,
        transformers.Dinov2WithRegistersModel,
        {"num_register_tokens": 4},
    ),
    "dinov3": (
        "vit_small_patch16_dinov3",
        transformers.DINOv3ViTConfig,
        transformers.DINOv3ViTModel,
        # timm's architecture of this name has no biases here; vit_small_patch16_dinov3_qkvb has.
        {"num_register_tokens": 4, "query_bias": False, "key_bias": False, "value_bias": False},
    ),
}
# What transformers calls a key of timm; qkv is three of it.
RENAMED = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.register_tokens", "reg_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings(?:\.projection)?\.", "patch_embed.proj."),
    (r"^(?:encoder\.|model\.)?layers?\.", "blocks."),
    (r"layernorm_before|(?<=\d\.)norm1", "norm1"),
    (r"layernorm_after|(?<=\d\.)norm2", "norm2"),
    (r"attention\.o_proj", "attn.proj"),
    (r"up_proj", "fc1"),
    (r"down_proj", "fc2"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"^layernorm", "norm"),
)


def tiny_transformers(kind: str, folder: Path) -> Path:
    _, config, model, more = KINDS[kind]
    torch.manual_seed(0)
    small = config(
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_hidden_layers=DEPTH,
        patch_size=PATCH,
        image_size=SIDE,
        intermediate_size=4 * WIDTH,
        **more,
    )
    network = model(small)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    return folder


def as_timm(kind: str, folder: Path) -> dict[str, Tensor]:
    """The same weights by timm's names."""
    old = KINDS[kind][2].from_pretrained(folder).state_dict()
    new: dict[str, Tensor] = {}
    for key, value in old.items():
        for pattern, name in RENAMED:
            key = re.sub(pattern, name, key)
        new[key] = value
    for block in range(DEPTH):
        for part in ("weight", "bias"):
            names = [f"blocks.{block}.attention.{which}_proj.{part}" for which in "qkv"]
            if names[0] in new:
                new[f"blocks.{block}.attn.qkv.{part}"] = torch.cat([new.pop(name) for name in names])
    new = {key: value for key, value in new.items() if "mask_token" not in key and "pooler" not in key}
    if kind == "dinov2-registers":  # timm adds the class token's place to the token itself
        new["cls_token"] = new["cls_token"] + new["pos_embed"][:, :1]
        new["pos_embed"] = new["pos_embed"][:, 1:]
    if kind == "dinov3":
        new = {re.sub(r"ls(\d)\.gamma", r"gamma_\1", key): value for key, value in new.items()}
    return new


def timm_folder(kind: str, state: dict[str, Tensor], folder: Path, file: str = "model.safetensors") -> Path:
    folder.mkdir()
    config = {"architecture": KINDS[kind][0], "model_args": TIMM_ARGS, "pretrained_cfg": {"tag": "tiny"}}
    (folder / "config.json").write_text(json.dumps(config))
    if file.endswith(".safetensors"):
        safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()}, folder / file)
    else:
        torch.save(state, folder / file)
    return folder


def some_pixels(height: int = 7 * PATCH, width: int = 9 * PATCH) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_transformers_and_timm_give_the_same_features(kind: str, tmp_path: Path) -> None:
    ours = load_vit(str(tiny_transformers(kind, tmp_path / "transformers")))
    theirs = load_vit(str(timm_folder(kind, as_timm(kind, tmp_path / "transformers"), tmp_path / "timm")))
    for pixels in (some_pixels(), some_pixels(4 * PATCH, 4 * PATCH), some_pixels(3 * PATCH, 5 * PATCH)):
        features = ours.features(pixels)
        assert features.shape == (WIDTH, pixels.shape[2] // PATCH, pixels.shape[3] // PATCH)
        torch.testing.assert_close(features, theirs.features(pixels), atol=1e-5, rtol=1e-5)


def dinos_own_features(state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """Patch features of DINO's get_intermediate_layers(n=1) (vision_transformer.py at 04c0ad9)."""
    cells = F.conv2d(pixels, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=PATCH)
    grid, side = cells.shape[2:], SIDE // PATCH
    places = state["pos_embed"][:, 1:].reshape(1, side, side, WIDTH).permute(0, 3, 1, 2)
    places = F.interpolate(places, scale_factor=tuple((n + 0.1) / side for n in grid), mode="bicubic")
    x = torch.cat([state["cls_token"], cells.flatten(2).mT], dim=1)
    x = x + torch.cat([state["pos_embed"][:, :1], places.flatten(2).mT], dim=1)
    for i in range(DEPTH):
        block = {key.removeprefix(f"blocks.{i}."): v for key, v in state.items() if key.startswith(f"blocks.{i}.")}
        y = F.layer_norm(x, (WIDTH,), block["norm1.weight"], block["norm1.bias"], 1e-6)
        y = F.linear(y, block["attn.qkv.weight"], block["attn.qkv.bias"])
        query, key, value = y.reshape(len(y), -1, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        attention = (query @ key.mT * (WIDTH // HEADS) ** -0.5).softmax(-1)
        y = (attention @ value).transpose(1, 2).flatten(2)
        x = x + F.linear(y, block["attn.proj.weight"], block["attn.proj.bias"])
        y = F.layer_norm(x, (WIDTH,), block["norm2.weight"], block["norm2.bias"], 1e-6)
        y = F.gelu(F.linear(y, block["mlp.fc1.weight"], block["mlp.fc1.bias"]))
        x = x + F.linear(y, block["mlp.fc2.weight"], block["mlp.fc2.bias"])
    x = F.layer_norm(x, (WIDTH,), state["norm.weight"], state["norm.bias"], 1e-6)
    return x[0, 1:].T.reshape(WIDTH, *grid)


@torch.inference_mode()
def test_the_features_are_those_that_dinos_protocol_takes(tmp_path: Path) -> None:
    state = as_timm("vit", tiny_transformers("vit", tmp_path / "transformers"))
    vit = load_vit(str(timm_folder("vit", state, tmp_path / "timm", "pytorch_model.bin")))
    torch.testing.assert_close(vit.features(some_pixels()), dinos_own_features(state, some_pixels()))


@torch.inference_mode()
def test_a_model_saved_by_timm_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=3).eval()
    timm.models.save_for_hf(network, tmp_path)
    pixels = some_pixels(160, 160)
    features = load_vit(str(tmp_path)).features(pixels)
    torch.testing.assert_close(features.flatten(1).T, network.forward_features(pixels)[0, 1:])


@torch.inference_mode()
def test_official_dinov2_names_are_renamed(tmp_path: Path) -> None:
    state = as_timm("dinov2-registers", tiny_transformers("dinov2-registers", tmp_path / "transformers"))
    plain = load_vit(str(timm_folder("dinov2-registers", state, tmp_path / "timm")))
    official = {("register_tokens" if key == "reg_token" else key): value for key, value in state.items()}
    # There the class token has a place of its own.
    official["cls_token"] = state["cls_token"] - 1
    official["pos_embed"] = torch.cat([torch.ones(1, 1, WIDTH), state["pos_embed"]], dim=1)
    official["mask_token"] = torch.zeros(1, WIDTH)
    vit = load_vit(str(timm_folder("dinov2-registers", official, tmp_path / "official")))
    torch.testing.assert_close(vit.features(some_pixels()), plain.features(some_pixels()), atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Of timm's smallest ViT, with the names of DINO's release."""
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=0).state_dict()


def as_released(state: dict[str, Tensor]) -> object:
    return state


def as_trained(state: dict[str, Tensor]) -> object:
    teacher = {f"backbone.{key}": value for key, value in state.items()}
    teacher["head.mlp.0.weight"] = torch.zeros(2, 2)
    student = {f"module.{key}": torch.zeros_like(value) for key, value in teacher.items()}
    return {"student": student, "teacher": teacher, "epoch": 3, "args": argparse.Namespace(arch="vit_small")}


def as_student(state: dict[str, Tensor]) -> object:
    return {"student": {f"module.backbone.{key}": value for key, value in state.items()}}


@pytest.mark.parametrize("wrap", [as_released, as_trained, as_student])
@pytest.mark.parametrize("name", ["test_vit", "test_vit.r160_in1k"])
@torch.inference_mode()
def test_a_checkpoint_file_of_a_named_architecture_is_read(name, wrap, state, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    torch.save(wrap(state), tmp_path / "a:checkpoint.pth")
    vit = load_vit(f"{name}:{tmp_path / 'a:checkpoint.pth'}")
    assert vit.patch == 16
    for key, value in vit.network.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)


def test_a_safetensors_file_is_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    vit = load_vit(f"test_vit:{tmp_path / 'weights.safetensors'}")
    assert torch.equal(vit.network.state_dict()["norm.weight"], state["norm.weight"])


@pytest.mark.parametrize("kind", ["file", "timm", "transformers"])
def test_resume_takes_no_other_weights_of_the_same_name(kind: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    if kind == "file":
        folder.mkdir()
        safetensors.torch.save_file(state, folder / "model.safetensors")
    elif kind == "timm":
        timm_folder("vit", as_timm("vit", tiny_transformers("vit", tmp_path / "source")), folder)
    else:
        tiny_transformers("vit", folder)
    backbone = f"test_vit:{folder / 'model.safetensors'}" if kind == "file" else str(folder)
    sequence = tiny_sequence("moving", length=2)

    def track() -> vos.RunSummary:
        return vos.track(
            sequence,
            sequence.label_maps[0],
            tracker="dino",
            options={"backbone": backbone},
            output=tmp_path / "out",
            resume=True,
        )

    details = track().run.details
    assert set(details) == {path.name for path in folder.iterdir()}
    assert track().skipped
    changed = {key: value + 1 for key, value in safetensors.torch.load_file(folder / "model.safetensors").items()}
    safetensors.torch.save_file(changed, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(OutputExistsError, match=r"another model\.safetensors in its details"):
        track()


def test_dinos_release_has_the_names_of_timms_small_vit_of_patch_8() -> None:
    """Names and shapes of dino_deitsmall8_pretrain.pth, as vision_transformer.py at 04c0ad9 makes them."""
    block = {"attn.qkv": (1152, 384), "attn.proj": (384, 384), "mlp.fc1": (1536, 384), "mlp.fc2": (384, 1536)}
    weights = {f"blocks.{i}.{name}.weight": shape for i in range(12) for name, shape in block.items()}
    weights |= {f"blocks.{i}.norm{n}.weight": (384,) for i in range(12) for n in (1, 2)}
    weights |= {"patch_embed.proj.weight": (384, 3, 8, 8), "norm.weight": (384,)}
    biases = {key.replace("weight", "bias"): shape[:1] for key, shape in weights.items()}
    release = {**weights, **biases, "cls_token": (1, 1, 384), "pos_embed": (1, 785, 384)}
    with torch.device("meta"):
        state = timm.create_model("vit_small_patch8_224.dino", num_classes=0).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == release


def check_one_line(error: type[Exception], match: str, backbone: str) -> None:
    with pytest.raises(error, match=match) as caught:
        load_vit(backbone)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    check_one_line(OptionError, 'backbone "nothing/here": no such folder. Give the', "nothing/here")
    check_one_line(WeightsError, 'no such checkpoint file, "none.pth"', "test_vit:none.pth")
    check_one_line(OptionError, r"no config\.json there. Give the folder", str(tmp_path))
    (tmp_path / "alone.pth").write_bytes(b"")
    check_one_line(
        OptionError,
        r"needs the name of its timm architecture before it, such as backbone=vit_small_patch8_224.dino:alone\.pth",
        str(tmp_path / "alone.pth"),
    )
    (tmp_path / "config.json").write_text("[")
    check_one_line(WeightsError, r"config\.json: cannot be read as JSON \(Expecting value", str(tmp_path))
    (tmp_path / "config.json").write_text('{"architecture": "test_vit"}')
    check_one_line(WeightsError, r"no model\.safetensors or pytorch_model\.bin there", str(tmp_path))


def test_an_architecture_that_is_unknown_or_no_vit_is_said(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "a.pth")
    check_one_line(
        OptionError,
        r'timm [\d.]+ has no architecture "vit_smal_patch8_224". Did you mean "vit_small_patch8_224"\?',
        f"vit_smal_patch8_224.dino:{tmp_path / 'a.pth'}",
    )
    check_one_line(OptionError, "is a ResNet, expected a Vision Transformer", f"test_resnet:{tmp_path / 'a.pth'}")
    (tmp_path / "config.json").write_text('{"architecture": "test_vit", "model_args": {"depht": 1}}')
    torch.save(state, tmp_path / "pytorch_model.bin")
    check_one_line(WeightsError, r'config\.json: model_args has "depht", which describes no Vision', str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    check_one_line(OptionError, r"is a resnet, expected a Vision Transformer \(vit, dinov2,", str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    check_one_line(WeightsError, r"AutoConfig cannot be loaded from it \(.*nothing", str(tmp_path))


class Marker:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "key", ["checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"]
)
def test_a_timm_folder_neither_unpickles_nor_fetches_another_file(key, state, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    torch.save(state, tmp_path / "pytorch_model.bin")
    other, ran = tmp_path / "other.pth", tmp_path / "ran"
    torch.save({"state_dict": Marker(ran)}, other)
    value = {"file": str(other), "url": "http://127.0.0.1:9/a.pth"} if key.startswith("pretrained_cfg") else str(other)
    config = {"architecture": "test_vit", "model_args": {key: value}, "pretrained_cfg": {"file": str(other)}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    check_one_line(WeightsError, f'config\\.json: model_args has "{key}", which describes no', str(tmp_path))
    config["model_args"] = {}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_vit(str(tmp_path)).patch == 16
    assert not ran.exists()


@pytest.mark.parametrize("arguments", [{"img_size": 60_000}, {"embed_dim": 65_536}, {"depth": 200, "embed_dim": 8192}])
def test_a_small_checkpoint_makes_no_huge_network(arguments, state, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_vit", "model_args": arguments}))
    check_one_line(
        WeightsError, r"does not fit test_vit: it holds \d+ numbers, the network as configured \d+", str(tmp_path)
    )


def test_weights_that_do_not_fit_are_said(state: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save({key: value for key, value in state.items() if "norm1" not in key}, file)
    check_one_line(
        WeightsError, r'a\.pth: does not fit test_vit: 12 keys missing, first "blocks.0.norm1.bias"', f"test_vit:{file}"
    )
    torch.save(state | {"blocks.99.norm1.bias": torch.zeros(64)}, file)
    check_one_line(
        WeightsError,
        r'does not fit test_vit: 1 keys not of this model, first "blocks.99.norm1.bias"',
        f"test_vit:{file}",
    )
    torch.save(state | {"norm.weight": torch.zeros(3)}, file)
    check_one_line(WeightsError, r"does not fit test_vit \(size mismatch for norm.weight", f"test_vit:{file}")
    torch.save(state | {"patch_embed.proj.weight": torch.zeros(64, 3, 8, 8)}, file)
    check_one_line(WeightsError, "its patches are of 8 px, those of test_vit of 16 px", f"test_vit:{file}")
    torch.save(state | {"norm.weight": torch.tensor(0.0)}, file)
    check_one_line(WeightsError, r"does not fit test_vit \(size mismatch for norm.weight", f"test_vit:{file}")
    for nameless in ({"epoch": 3}, {7: torch.zeros(1)}):
        torch.save(nameless, file)
        check_one_line(WeightsError, "holds no weights by name", f"test_vit:{file}")
    file.write_bytes(b"no checkpoint")
    check_one_line(WeightsError, r"a\.pth: cannot be read as a checkpoint\. Expected weights", f"test_vit:{file}")


def test_a_transformers_folder_whose_weights_do_not_fit_is_said(tmp_path: Path) -> None:
    folder = tiny_transformers("dinov2", tmp_path / "model")
    file = folder / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    del weights["layernorm.weight"]
    safetensors.torch.save_file(weights, file, metadata={"format": "pt"})
    check_one_line(WeightsError, 'weights do not fit Dinov2Model: 1 key missing, first "layernorm.weight"', str(folder))
    file.unlink()
    check_one_line(WeightsError, "AutoModel cannot be loaded from it", str(folder))
    file.write_bytes(b"nothing")
    check_one_line(WeightsError, "AutoModel cannot be loaded from it", str(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_of_fewer_layers_than_the_weights_is_said(kind: str, tmp_path: Path) -> None:
    folder = tiny_transformers(kind, tmp_path / "model")
    _, config, _, more = KINDS[kind]
    small = config(hidden_size=WIDTH, num_attention_heads=HEADS, num_hidden_layers=1, patch_size=PATCH, **more)
    small.update({"image_size": SIDE, "intermediate_size": 4 * WIDTH})
    small.save_pretrained(folder)
    check_one_line(WeightsError, r"\d+ keys not of this network, first", str(folder))


def test_a_pooler_and_a_mask_token_may_be_there_or_not(tmp_path: Path) -> None:
    folder = tiny_transformers("vit", tmp_path / "model")
    file = folder / "model.safetensors"
    weights = {key: value for key, value in safetensors.torch.load_file(file).items() if "pooler" not in key}
    weights["embeddings.mask_token"] = torch.zeros(1, 1, WIDTH)
    safetensors.torch.save_file(weights, file, metadata={"format": "pt"})
    assert load_vit(str(folder)).patch == PATCH


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_missing_library_names_the_extra(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    backbone = "test_vit:a.pth" if library == "timm" else str(tmp_path)
    check_one_line(ExtraMissingError, rf'needs {library} \(.*Install it: pip install "vos-toolkit\[vit\]"', backbone)


def test_a_backbone_must_be_named() -> None:
    check_one_line(OptionError, "the tracker dino has no weights of its own. Name", "")
