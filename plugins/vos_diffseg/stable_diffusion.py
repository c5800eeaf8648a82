"""Stable Diffusion, as much of it as DiffSeg needs: one image in, its self-attention maps out."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from vos import ExtraMissingError, WeightsError, hub_folder
from vos_diffseg.capture import capture_self_attention

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
"""Subfolders of a Stable Diffusion folder in diffusers' layout."""

_MODELS = {"vae": "diffusion_pytorch_model", "unet": "diffusion_pytorch_model", "text_encoder": "model"}


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
            WeightsError: the folder is not one of diffusers or not of Stable Diffusion 1.x or 2.x, or the hub
                cannot be reached.
        """
        diffusers, transformers = _libraries()
        suffix = f".{variant}" if variant else ""
        files = [f"{part}/{name}{suffix}" for part, name in _MODELS.items()]
        folder = hub_folder(
            model,
            files=["*/*.json", "tokenizer/*", *(f"{file}.safetensors" for file in files)],
            needed=[*(f"{part}/*.json" for part in PARTS), *(f"{file}[.-][!f]*" for file in files)],
            extra="diffseg",
        )
        weights = {"torch_dtype": dtype, "variant": variant or None, "local_files_only": True}
        try:
            self.vae = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae", **weights)
            self.unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **weights)
            self.scheduler = diffusers.DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
            tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
            text_encoder = transformers.CLIPTextModel.from_pretrained(
                folder, subfolder="text_encoder", variant=variant or None, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise WeightsError(f"{folder}: Stable Diffusion cannot be loaded from it ({reason}).") from error
        channels, extra = self.unet.config.in_channels, self.unet.config.get("addition_embed_type")
        if channels != self.vae.config.latent_channels or extra is not None:
            raise WeightsError(
                f"{folder}: the UNet takes {channels} channels and {extra or 'no'} other input; expected a Stable "
                "Diffusion 1.x or 2.x for images (not XL, inpainting, depth or upscaling)."
            )
        del self.vae.decoder
        self.vae.to(device).eval()
        self.unet.to(device).eval()
        text_encoder.to(device, dtype).eval()
        with torch.inference_mode():
            tokens = tokenizer("", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
            self.empty_text: Tensor = text_encoder(tokens.input_ids.to(device))[0]
        self.attention = capture_self_attention(self.unet)
        self.device, self.dtype = device, dtype

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
        return self.attention.take()


def _libraries() -> tuple[Any, Any]:
    """Import diffusers and transformers, without a progress bar for each file that they load."""
    try:
        diffusers = importlib.import_module("diffusers")
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise ExtraMissingError(
            f'diffseg needs diffusers and transformers ({error}). Install them: pip install "vos[diffseg]"'
        ) from error
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    return diffusers, transformers
