"""Stable Diffusion's parts: loaded strictly, saved in diffusers' layout."""

from __future__ import annotations

import hashlib
import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vos.plugin import ExtraMissingError, OptionError, Runtime, WeightsError, hub_folder, load_network, load_part
from vos.weights import read_config

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
NEEDED = [f"{part}/*.json" for part in PARTS]
FILES = ("*/*.json", "tokenizer/*", "vae/*.safetensors", "unet/*.safetensors", "text_encoder/*.safetensors")
ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
"""Projections of the UNet that LoRA changes, as in diffusers' example."""


def model_folder(model: str) -> Path:
    """Find or fetch a Stable Diffusion's folder; the errors are those of ``hub_folder``."""
    return hub_folder(model, files=FILES, needed=NEEDED, extra="dreambooth", flag="--model ")


@dataclass
class StableDiffusion:
    """The parts of a Stable Diffusion 1.x or 2.x, on their device; only the UNet is trained.

    Attributes:
        scheduler: the folder's own, for pictures.
        noise: diffusers' DDPM scheduler, which adds noise in training.
        lora: whether the UNet is trained by low-rank matrices.
    """

    tokenizer: Any
    text_encoder: Any
    vae: Any
    unet: Any
    scheduler: Any
    noise: Any
    lora: bool

    @classmethod
    def load(cls, model: str, runtime: Runtime, *, lora_rank: int, seed: int) -> StableDiffusion:
        """Load a model, float32.

        Args:
            model: a folder in diffusers' layout, or a hub id.
            runtime: the device.
            lora_rank: 0 trains the whole UNet.
            seed: of LoRA's first matrices.
        Raises:
            ExtraMissingError: diffusers, transformers or peft is not installed.
            WeightsError: the model cannot be found, fetched or loaded.
        """
        diffusers, transformers = _libraries()
        folder = model_folder(model)
        scheduler = str(read_config(folder / "scheduler" / "scheduler_config.json").get("_class_name"))
        kind = getattr(diffusers, scheduler, None)
        if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
            raise WeightsError(f'{folder}/scheduler: diffusers has no scheduler "{scheduler[:60]}".')
        device = runtime.torch_device()
        unet = load_network(diffusers.UNet2DConditionModel, folder, "unet").to(device).requires_grad_(not lora_rank)
        if lora_rank:
            _add_lora(unet, lora_rank, seed)
        return cls(
            load_part(transformers.CLIPTokenizer, folder, "tokenizer"),
            load_network(transformers.CLIPTextModel, folder, "text_encoder", optional=("*.position_ids",))
            .to(device)
            .requires_grad_(False),
            load_network(diffusers.AutoencoderKL, folder, "vae").to(device).requires_grad_(False),
            unet,
            load_part(kind, folder, "scheduler"),
            load_part(diffusers.DDPMScheduler, folder, "scheduler"),
            bool(lora_rank),
        )

    def digest(self) -> str:
        """SHA-256 of the UNet's first weights, which tells one model of this architecture from another."""
        return hashlib.sha256(self.unet.conv_in.weight.detach().cpu().numpy().tobytes()).hexdigest()

    @torch.no_grad()
    def embed(self, prompt: str) -> Tensor:
        """Turn a prompt into text vectors, float32 (1, L, C)."""
        length = self.text_encoder.config.max_position_embeddings
        tokens = self.tokenizer(prompt, padding="max_length", max_length=length, return_tensors="pt").input_ids
        if tokens.shape[1] > length:
            raise OptionError(f'the prompt "{prompt[:60]}" is {tokens.shape[1]} tokens, the model reads {length}.')
        vectors: Tensor = self.text_encoder(tokens.to(self.text_encoder.device))[0]
        return vectors

    def pipeline(self) -> Any:
        """The parts as a pipeline of diffusers; it shares their weights."""
        diffusers, _ = _libraries()
        made = diffusers.StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        made.set_progress_bar_config(disable=True)
        return made

    @torch.no_grad()
    def picture(self, prompt: str, *, side: int, steps: int, seed: int) -> Any:
        """Make a picture of a prompt: a Pillow image."""
        generator = torch.Generator().manual_seed(seed)
        self.unet.eval()
        made = self.pipeline()(prompt, height=side, width=side, num_inference_steps=steps, generator=generator)
        return made.images[0]

    def save(self, folder: Path) -> None:
        """Save what was learnt: the whole pipeline, or LoRA's weights; the folder appears when it is whole."""
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        if self.lora:
            diffusers, _ = _libraries()
            peft: Any = importlib.import_module("peft.utils")
            state = diffusers.utils.convert_state_dict_to_diffusers(peft.get_peft_model_state_dict(self.unet))
            diffusers.StableDiffusionPipeline.save_lora_weights(partial, unet_lora_layers=state)
        else:
            self.pipeline().save_pretrained(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)


def _add_lora(unet: Any, rank: int, seed: int) -> None:
    try:
        peft: Any = importlib.import_module("peft")
    except ImportError as error:
        raise ExtraMissingError(
            f'LoRA needs peft ({error}). Install it: pip install "vos-toolkit[dreambooth]"'
        ) from error
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet.add_adapter(
            peft.LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(ATTENTION))
        )


def _libraries() -> tuple[Any, Any]:
    try:
        diffusers: Any = importlib.import_module("diffusers")
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise ExtraMissingError(
            f'dreambooth needs diffusers, transformers ({error}). Install them: pip install "vos-toolkit[dreambooth]"'
        ) from error
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    return diffusers, transformers
