"""The training loop: noise, predict, compare on the subject, step.

The noise of a step follows from the seed and the step's number alone, so that a resumed training equals one that was
never stopped, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import InputError, OptionError, Runtime, VosError, WeightsError, replacing
from vos.weights import refuse_expanding
from vos_dreambooth.loss import latent_mask, subject_loss
from vos_dreambooth.settings import Places, SaveIntervals, TrainingSettings
from vos_dreambooth.stable_diffusion import StableDiffusion
from vos_dreambooth.subject import Subject

LARGEST_GRADIENT = 1.0
"""Norm that gradients are clipped to, as in diffusers' example."""


def training_dtype(runtime: Runtime) -> torch.dtype:
    """The UNet's arithmetic in training: float32 or bfloat16; OptionError for float16."""
    dtype = runtime.torch_dtype()
    if dtype == torch.float16:
        raise OptionError("--precision fp16 underflows in training; give bf16 or fp32.")
    return dtype


class DreamBooth:
    """Teaches a Stable Diffusion a subject.

    Attributes:
        step: steps done.
    """

    def __init__(
        self,
        model: StableDiffusion,
        settings: TrainingSettings,
        subjects: Sequence[Subject],
        class_images: Sequence[Subject] = (),
        *,
        runtime: Runtime | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        """Encode all images and prompts once.

        Args:
            model: its UNet is trained in place.
            settings: of the training.
            subjects: images with the subject's masks.
            class_images: images of the class; none trains without prior preservation.
            runtime: precision ``bf16`` runs the UNet in bfloat16 by autocast; the weights stay float32.
            digests: of the subject's files, as ``file_digests`` gives them; kept in checkpoints.
        """
        self._digests = dict(digests or {})
        self.model, self.settings, self.step = model, settings, 0
        self._autocast = training_dtype(runtime or Runtime())
        self.parameters = [parameter for parameter in model.unet.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=settings.rate)
        self._subjects = [self._encode(one.image) for one in subjects]
        self._masks = [
            latent_mask(one.mask, latent[0].shape[-1]) for one, latent in zip(subjects, self._subjects, strict=True)
        ]
        self._class_images = [self._encode(one.image) for one in class_images]
        self._prompts = [model.embed(settings.prompt)] + [model.embed(settings.class_prompt)] * bool(class_images)

    @torch.no_grad()
    def _encode(self, image: Any) -> tuple[Tensor, Tensor]:
        """Mean and deviation of an image's latent, float32 (C, h, w) each."""
        vae = self.model.vae
        pixels = torch.from_numpy(image.copy()).to(vae.device).permute(2, 0, 1)[None] / 127.5 - 1
        found = vae.encode(pixels).latent_dist
        return found.mean[0], found.std[0]

    def advance(self) -> float:
        """Do one step; returns the loss."""
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.step)
        chosen = [self._subjects[self.step % len(self._subjects)]]
        if self._class_images:
            chosen.append(self._class_images[self.step % len(self._class_images)])
        latents = torch.stack([self._latent(mean, deviation, generator) for mean, deviation in chosen])
        prediction, target = self.predict(latents, generator)
        loss = subject_loss(prediction[0], target[0], self._masks[self.step % len(self._masks)].to(target.device))
        if self._class_images:
            loss = loss + self.settings.prior_weight * F.mse_loss(prediction[1], target[1])
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        self.optimizer.step()
        self.step += 1
        value = float(loss.detach())
        if value != value:
            raise VosError(f"step {self.step}: the loss is not a number. Try a lower --rate, or --precision fp32.")
        return value

    def _latent(self, mean: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
        drawn = mean + deviation * torch.randn(mean.shape, generator=generator).to(mean.device)
        scaled: Tensor = drawn * self.model.vae.config.scaling_factor
        return scaled

    def predict(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Add noise to latents and let the UNet predict: prediction and target, float32 (B, C, h, w)."""
        noise_scheduler = self.model.noise
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        times = torch.randint(0, noise_scheduler.config.num_train_timesteps, (len(latents),), generator=generator)
        times = times.to(latents.device)
        noisy = noise_scheduler.add_noise(latents, noise, times)
        text = torch.cat(self._prompts[: len(latents)])
        self.model.unet.train()
        with torch.autocast(latents.device.type, self._autocast, enabled=self._autocast != torch.float32):
            prediction = self.model.unet(noisy, times, text).sample
        velocity = noise_scheduler.config.prediction_type == "v_prediction"
        return prediction.float(), noise_scheduler.get_velocity(latents, noise, times) if velocity else noise

    def save(self, path: Path) -> None:
        """Write a checkpoint; the one before is replaced when this one is whole."""
        trained = {name: p.detach() for name, p in self.model.unet.named_parameters() if p.requires_grad}
        state = {
            "step": self.step,
            "settings": asdict(self.settings),
            "trained": trained,
            "optimizer": self.optimizer.state_dict(),
            "digests": self._digests,
        }
        with replacing(path) as partial:
            torch.save(state, partial)

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint.

        Raises:
            WeightsError: it cannot be read, or is of another model.
            OptionError: it was written with other settings.
        """
        state = _read_checkpoint(path)
        found, trained = state["settings"], state["trained"]
        for name, value in asdict(self.settings).items():
            if found.get(name) != value and name != "steps":
                raise OptionError(f"{path}: was written with {name} {found.get(name)!r}, now it is {value!r}.")
        if state["step"] > self.settings.steps:
            raise OptionError(f"{path}: is at step {state['step']}, --steps is {self.settings.steps}. Give more steps.")
        own = {name: p for name, p in self.model.unet.named_parameters() if p.requires_grad}
        if {n: p.shape for n, p in own.items()} != {n: p.shape for n, p in trained.items()}:
            raise WeightsError(f"{path}: is of another model. Give the model of the first run.")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(trained[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])


def refuse_changed_files(path: Path, digests: Mapping[str, str], leaving: str | None = None) -> None:
    """Refuse to resume with other images, masks or another model than the checkpoint's.

    Args:
        path: the checkpoint; one without digests, of an earlier version, is accepted.
        digests: of the files now, as ``file_digests`` gives them.
        leaving: a kind that is not compared.
    Raises:
        WeightsError: the checkpoint cannot be read.
        InputError: a file changed, is gone or is new; the message names the first.
    """
    before = _read_checkpoint(path, mmap=True).get("digests")
    if not before:
        return
    compared = sorted(name for name in {*before, *digests} if name != leaving)
    differing = [name for name in compared if name not in before or digests.get(name) not in ("", before[name])]
    if differing:
        first = differing[0]
        what = "is gone" if first not in digests else "is new" if first not in before else "has changed"
        more = f", and {len(differing) - 1} more of the training's files differ" if len(differing) > 1 else ""
        raise InputError(
            f"{path}: {first} {what} since it was written{more}. Put the earlier files back, or give another -o."
        )


def _read_checkpoint(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read a checkpoint; with ``mmap`` its tensors, gigabytes of them, stay on the disk."""
    refuse_expanding(path)
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        if missing := {"settings", "trained", "step", "optimizer"} - set(state):
            raise KeyError(min(missing))
    except Exception as error:  # the unpickler fails in many ways on foreign bytes
        raise WeightsError(f"{path}: cannot be read as a checkpoint. Remove it to begin anew.") from error
    return state


def train(
    dreambooth: DreamBooth,
    places: Places,
    intervals: SaveIntervals,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Run a training to its end: checkpoints, sample pictures, and the model.

    Args:
        dreambooth: fresh, or resumed.
        places: where to write.
        intervals: when checkpoints and samples are written.
        on_step: called with the number of steps done and the loss, after each.
    """
    settings = dreambooth.settings
    while dreambooth.step < settings.steps:
        loss = dreambooth.advance()
        on_step(dreambooth.step, loss)
        last = dreambooth.step == settings.steps
        if dreambooth.step % intervals.checkpoint_every == 0 or last:
            dreambooth.save(places.checkpoint)
        if intervals.sample_every and (dreambooth.step % intervals.sample_every == 0 or last):
            places.samples.mkdir(exist_ok=True)
            picture = dreambooth.model.picture(
                intervals.sample_prompt or settings.prompt,
                side=settings.resolution,
                steps=intervals.sample_steps,
                seed=settings.seed,
            )
            with replacing(places.samples / f"{dreambooth.step:06d}.png") as partial:
                picture.save(partial)
    dreambooth.model.save(places.model)
