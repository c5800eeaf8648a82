"""Folders of Stable Diffusion: what is whole is read as it is, what is not is refused in a line."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vos import Frame, Runtime, VosError
from vos.plugin import OptionError, WeightsError
from vos_diffseg.initializer import DiffSeg
from vos_diffseg.options import DiffSegOptions
from vos_diffseg.stable_diffusion import StableDiffusion

UNET, VAE = (f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))
TEXT = "text_encoder/model.safetensors"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def load(folder):
    return StableDiffusion(str(folder), "", torch.device("cpu"), torch.float32)


def maps_of(folder):
    return load(folder).attention_maps(torch.linspace(-1, 1, 3 * 64 * 64).reshape(3, 64, 64), 300, 0)


def without(file, *parts):
    """Leave out the tensors whose names have one of the parts."""
    kept = {key: value for key, value in load_file(file).items() if not any(part in key for part in parts)}
    save_file(kept, file, metadata={"format": "pt"})


def configure(file, **settings):
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def check_refused(folder, message, error=WeightsError):
    with pytest.raises(error, match=message) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "part", "message"),
    [
        (UNET, "mid_block", r"unet: weights do not fit UNet2DConditionModel: 46 keys missing, first \"mid_block\."),
        (VAE, "encoder.conv_in", 'vae: weights do not fit AutoencoderKL: 2 keys missing, first "encoder.conv_in.bias"'),
        (TEXT, "final_layer_norm", 'text_encoder: weights do not fit CLIPTextModel: 2 keys missing, first "'),
    ],
)
def test_tensors_that_are_not_there_are_said(folder, file, part, message):
    without(folder / file, part)
    check_refused(folder, message)


@pytest.mark.parametrize("file", [UNET, VAE, TEXT])
def test_a_file_cut_short_is_said(folder, file):
    path = folder / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    check_refused(folder, rf"{path.parent.name}: \w+ cannot be loaded from it \(.+\)\. Files are missing, cut short")


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("unet/config.json", {"cross_attention_dim": 32}, r"attn2\.to_k\.weight expected shape"),
        ("unet/config.json", {"layers_per_block": 1}, r"resnets\.1\.conv1\.weight expected shape"),
        ("unet/config.json", {"transformer_layers_per_block": 0}, "320 keys not of this network, first"),
        ("unet/config.json", {"block_out_channels": 8}, "UNet2DConditionModel cannot be loaded"),
        ("text_encoder/config.json", {"hidden_size": 32}, "19 keys of another shape"),
        ("text_encoder/config.json", {"num_hidden_layers": 0}, "16 keys not of this network"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "none such"}, "DDPMScheduler cannot be loaded from it"),
        ("tokenizer/vocab.json", {"<|endoftext|>": 900}, "tokenizer: gives token 900, the text encoder has 3"),
    ],
)
def test_a_configuration_that_does_not_fit_is_said(folder, file, settings, message):
    configure(folder / file, **settings)
    check_refused(folder, message)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_component_that_is_not_there_is_said(folder, part):
    shutil.rmtree(folder / part)
    check_refused(folder, rf"not this kind of model: no {part}/\*\.json")


def test_a_text_encoder_of_another_width_than_the_unet_is_said(folder):
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig.from_pretrained(folder / "text_encoder")
    config.hidden_size = 32
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    check_refused(folder, "the UNet reads text vectors of 16 numbers, the text encoder gives 32")


def test_a_unet_that_wants_a_class_is_said(folder):
    from diffusers import UNet2DConditionModel

    config = UNet2DConditionModel.load_config(folder / "unet")
    UNet2DConditionModel.from_config(config, class_embed_type="timestep").save_pretrained(folder / "unet")
    check_refused(folder, "the UNet takes 4 channels and class_embed_type; expected a Stable Diffusion")


def test_folders_of_other_releases_give_the_same(folder):
    """Older ones: other names in the VAE, saved position ids, pickles; an image decoder is not needed."""
    whole = maps_of(folder)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {key: value for key, value in load_file(folder / VAE).items() if "decoder" not in key}
    for new_name, old_name in old.items():
        tensors = {key.replace(new_name, old_name): value for key, value in tensors.items()}
    tensors = {key: value for key, value in tensors.items() if "post_quant_conv" not in key}
    save_file(tensors, folder / VAE, metadata={"format": "pt"})
    text = load_file(folder / TEXT)
    text = {key if key.startswith("text_model.") else f"text_model.{key}": value for key, value in text.items()}
    (folder / TEXT).unlink()
    text["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(text, folder / "text_encoder" / "pytorch_model.bin")
    for one, other in zip(whole, maps_of(folder), strict=True):
        torch.testing.assert_close(one, other)


def test_a_tokenizer_that_names_no_length_is_read(folder):
    whole = maps_of(folder)
    settings = folder / "tokenizer" / "tokenizer_config.json"
    values = json.loads(settings.read_text())
    del values["model_max_length"]
    settings.write_text(json.dumps(values))
    for one, other in zip(whole, maps_of(folder), strict=True):
        torch.testing.assert_close(one, other)


def test_a_time_step_that_the_model_does_not_have_is_said(folder):
    configure(folder / "scheduler" / "scheduler_config.json", num_train_timesteps=100)
    with pytest.raises(OptionError, match="timestep is 300, this model has 100: expected 0 to 99"):
        DiffSeg(DiffSegOptions(model=str(folder)), Runtime(device="cpu"))
    assert DiffSeg(DiffSegOptions(model=str(folder), timestep=99), Runtime(device="cpu"))


def test_weights_that_are_no_numbers_are_said(folder):
    tensors = load_file(folder / UNET)
    save_file(tensors | {"conv_in.bias": tensors["conv_in.bias"] * torch.nan}, folder / UNET)
    with pytest.raises(VosError, match='unet: tensor "conv_in.bias" holds NaN. The file is damaged'):
        DiffSeg(DiffSegOptions(model=str(folder), image_size=64, points=4), Runtime(device="cpu"))


def test_attention_that_is_no_number_is_said(folder):
    initializer = DiffSeg(DiffSegOptions(model=str(folder), image_size=64, points=4), Runtime(device="cpu"))
    initializer.model.unet.conv_in.bias.data.fill_(torch.nan)
    with pytest.raises(VosError, match="attention of Stable Diffusion is not a number. With --precision fp16 try bf16"):
        initializer.initialize(Frame(0, np.zeros((8, 8, 3), dtype=np.uint8), "00000"))
