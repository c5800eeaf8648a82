"""Settings of a training; importing this module imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from vos.plugin import OptionError


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training; a resumed one needs the same.

    Attributes:
        prompt: names the subject by a rare word, "a photo of sks cat".
        class_prompt: names its class, "a photo of a cat"; empty trains without prior preservation.
        steps: optimizer steps, of one image of the subject and one of the class each.
        rate: AdamW's learning rate.
        prior_weight: of the class images' loss.
        resolution: side of the square that images are cut to, pixels.
        lora_rank: 0 trains the whole UNet; else low-rank matrices of that rank in its attention.
        seed: of all that is random.
    Source: the defaults are those of arXiv:2305.03048, section 4.4 (1,000 steps, 1e-6, batch 1).
    """

    prompt: str
    class_prompt: str = ""
    steps: int = 1000
    rate: float = 1e-6
    prior_weight: float = 1.0
    resolution: int = 512
    lora_rank: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, text in (("prompt", self.prompt), ("class-prompt", self.class_prompt)):
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                raise OptionError(f"--{name} is {text!a}, which is not UTF-8.")
        if not self.prompt.strip():
            raise OptionError('--prompt is empty, expected words that name the subject: "a photo of sks cat".')
        if not 0 < self.rate < math.inf:
            raise OptionError(f"--rate is {self.rate}, expected more than 0.")
        if not 0 <= self.prior_weight < math.inf:
            raise OptionError(f"--prior-weight is {self.prior_weight}, expected 0 or more.")
        if self.resolution < 64 or self.resolution % 64:
            raise OptionError(f"--resolution is {self.resolution}, expected a multiple of 64.")


@dataclass(frozen=True)
class SaveIntervals:
    """Intervals at which training writes checkpoints and samples; they do not affect the trained weights.

    Attributes:
        checkpoint_every: steps between checkpoints; only the latest is kept.
        sample_every: steps between sample images; 0 writes none.
        sample_prompt: prompt of the sample images.
        sample_steps: denoising steps of a sample image.
    """

    checkpoint_every: int = 250
    sample_every: int = 250
    sample_prompt: str = ""
    sample_steps: int = 25


@dataclass(frozen=True)
class Places:
    """Files of a training inside the output folder."""

    output: Path

    @property
    def masks(self) -> Path:
        """PerSAM-F's label maps, one an image."""
        return self.output / "masks"

    @property
    def class_images(self) -> Path:
        """Generated pictures of the class."""
        return self.output / "class-images"

    @property
    def samples(self) -> Path:
        """Pictures made as the training goes."""
        return self.output / "samples"

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint."""
        return self.output / "checkpoint.pt"

    @property
    def model(self) -> Path:
        """The result: a folder in diffusers' layout, or LoRA weights."""
        return self.output / "model"
