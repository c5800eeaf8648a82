"""Stable Diffusion, as much of it as DiffSeg needs: one image in, its self-attention maps out."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vos.plugin import ExtraMissingError, VosError, WeightsError, hub_folder, load_network, load_part
from vos_diffseg.capture import capture_self_attention

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
"""Subfolders of a Stable Diffusion folder in diffusers' layout."""

_MODELS = {"vae": "diffusion_pytorch_model", "unet": "diffusion_pytorch_model", "text_encoder": "*model"}
"""Names of the files of weights; the text encoder's is model.safetensors or pytorch_model.bin."""

_OTHER_INPUTS = ("addition_embed_type", "class_embed_type", "num_class_embeds", "encoder_hid_dim_type")


class StableDiffusion:
    """The image encoder and the denoising UNet of Stable Diffusion 1.x or 2.x.

    The text encoder is run once, on the empty text, and let go; the image decoder is not kept.
    """

    def __init__(self, model: str, variant: str, device: torch.device, dtype: torch.dtype) -> None:
        """Load a model.

        Args:
            model: a folder in diffusers' layout, or a hub id.
            variant: the files' variant (``"fp16"``), or empty.
            device: where it runs.
            dtype: its arithmetic; softmax and the maps are float32 always.
        Raises:
            ExtraMissingError: diffusers or transformers is not installed.
            WeightsError: the folder is not one of diffusers or not of Stable Diffusion 1.x or 2.x, its files are
                damaged or do not fit one another, or the hub cannot be reached.
        """
        diffusers, transformers = _libraries()
        suffix = f".{variant}" if variant else ""
        files = [f"{part}/{name}{suffix}.safetensors" for part, name in _MODELS.items()]
        folder = hub_folder(
            model,
            files=["*/*.json", "tokenizer/*", *files],
            needed=[
                *(f"{part}/*.json" for part in PARTS),
                *(f"{part}/{name}{suffix}[.-][!f]*" for part, name in _MODELS.items()),
            ],
            extra="diffseg",
        )
        unused, named = ("decoder.*", "post_quant_conv.*"), variant or None
        settings: dict[str, Any] = {"variant": named, "torch_dtype": dtype}
        self.vae = load_network(diffusers.AutoencoderKL, folder, "vae", optional=unused, **settings)
        self.unet = load_network(diffusers.UNet2DConditionModel, folder, "unet", **settings)
        text_encoder = load_network(
            transformers.CLIPTextModel, folder, "text_encoder", optional=("*.position_ids",), variant=named
        )
        self.scheduler = load_part(diffusers.DDPMScheduler, folder, "scheduler")
        tokenizer = load_part(transformers.CLIPTokenizer, folder, "tokenizer")
        self._check_fit(folder, text_encoder.config)
        del self.vae.decoder, self.vae.post_quant_conv
        self.vae.to(device).eval()
        self.unet.to(device).eval()
        text_encoder.to(device, dtype).eval()
        length = text_encoder.config.max_position_embeddings
        tokens = tokenizer("", padding="max_length", max_length=length, return_tensors="pt").input_ids
        if int(tokens.max()) >= text_encoder.config.vocab_size:
            raise WeightsError(
                f"{folder}/tokenizer: gives token {int(tokens.max())}, the text encoder has "
                f"{text_encoder.config.vocab_size}: they are of different models."
            )
        with torch.inference_mode():
            self.empty_text: Tensor = text_encoder(tokens.to(device))[0]
        self.attention = capture_self_attention(self.unet)
        self.folder, self.device, self.dtype = folder, device, dtype

    def _check_fit(self, folder: Path, text: Any) -> None:
        """Refuse parts that do not belong together, or to another kind of Stable Diffusion."""
        unet = self.unet.config
        extra = [name for name in _OTHER_INPUTS if unet.get(name) is not None]
        if unet.in_channels != self.vae.config.latent_channels or extra:
            raise WeightsError(
                f"{folder}: the UNet takes {unet.in_channels} channels and {', '.join(extra) or 'no other input'}; "
                "expected a Stable Diffusion 1.x or 2.x for images (not XL, inpainting, depth or upscaling)."
            )
        if unet.cross_attention_dim != text.hidden_size:
            raise WeightsError(
                f"{folder}: the UNet reads text vectors of {unet.cross_attention_dim} numbers, the text encoder gives "
                f"{text.hidden_size}: they are of different models."
            )

    @torch.inference_mode()
    def attention_maps(self, image: Tensor, timestep: int, noise_seed: int | None) -> list[Tensor]:
        """Run one denoising step and collect self-attention.

        Args:
            image: float32 (3, S, S) in [-1, 1], RGB, S a multiple of 64.
            timestep: 0 to 999.
            noise_seed: seed of the noise that is added for the time step; None adds none.
        Returns:
            float32 (n, n), one for each resolution, the finest first (64, 32, 16 and 8 cells a side
            for 512 pixels): means over layers and heads.
        Raises:
            VosError: they are not numbers, as where half precision overflows.
        Source: arXiv:2308.12469, section 3.1; the official benchmark passes the latent without noise
            (benchmarks.ipynb at 77ea596).
        """
        batch = image[None].to(self.device, self.dtype)
        latent = self.vae.encode(batch).latent_dist.mean * self.vae.config.scaling_factor
        step = torch.tensor([timestep], device=self.device)
        if noise_seed is not None:
            generator = torch.Generator().manual_seed(noise_seed)
            noise = torch.randn(latent.shape, generator=generator).to(latent)
            latent = self.scheduler.add_noise(latent, noise, step)
        self.unet(latent, step, self.empty_text)
        maps = self.attention.take()
        if not all(bool(attention.isfinite().all()) for attention in maps):
            raise VosError(
                f"{self.folder}: the attention of Stable Diffusion is not a number. "
                "With --precision fp16 try bf16 or fp32; otherwise the weights are damaged: fetch them again."
            )
        return maps


def _libraries() -> tuple[Any, Any]:
    """Import diffusers and transformers."""
    try:
        diffusers = importlib.import_module("diffusers")
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise ExtraMissingError(
            f'diffseg needs diffusers and transformers ({error}). Install them: pip install "vos-toolkit[diffseg]"'
        ) from error
    return diffusers, transformers
