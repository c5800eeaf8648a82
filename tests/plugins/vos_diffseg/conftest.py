"""A Stable Diffusion of tiny seeded weights, saved as diffusers saves the real one."""

import json
from pathlib import Path

import pytest
import torch


def save_stable_diffusion(folder: Path, *, version: int) -> Path:
    """Save the layers of Stable Diffusion 1.x or 2.x, a few channels wide.

    Version 2 differs as the real one: linear projections, heads by layer, upcast attention, v-prediction.
    """
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(version)
    second = version == 2
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        cross_attention_dim=16,
        layers_per_block=2,
        attention_head_dim=(1, 2, 4, 4) if second else 2,
        use_linear_projection=second,
        upcast_attention=second,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        layers_per_block=1,
        latent_channels=4,
        scaling_factor=0.18215,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if second else "epsilon",
        skip_prk_steps=True,
    )
    words = ["a</w>", "<|startoftext|>", "<|endoftext|>"]
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    for name, part in {"unet": unet, "vae": vae, "scheduler": scheduler, "text_encoder": text_encoder}.items():
        part.save_pretrained(folder / name)
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": words[1], "eos_token": words[2], "unk_token": words[2], "pad_token": words[2]}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session", params=[1, 2], ids=["sd1", "sd2"])
def tiny_folder(request, tmp_path_factory):
    """A folder in diffusers' layout; each test that asks runs on both versions."""
    pytest.importorskip("diffusers")
    return save_stable_diffusion(tmp_path_factory.mktemp("stable-diffusion"), version=request.param)
