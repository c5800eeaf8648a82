"""``vos dreambooth``: parse, call, print."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from vos.plugin import (
    OptionError,
    OutputExistsError,
    Runtime,
    atomic_write,
    general_options,
    natural_order,
    refuse_existing,
    replacing,
    runtime_options,
)
from vos_dreambooth.settings import Places, SaveIntervals, TrainingSettings

RECORD = "made-of.json"
"""File beside the class images: what they were made of."""
MODEL = "model of --model"
"""Names the model among the digests of a training's files."""


@click.command()
@click.option("--reference", required=True, type=click.Path(path_type=Path), help="Image that shows the subject.")
@click.option("--mask", required=True, type=click.Path(path_type=Path), help="Label map of the subject in it.")
@click.option("--images", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Images of the subject.")
@click.option("--prompt", required=True, help='Names the subject by a rare word: "a photo of sks cat".')
@click.option("--model", required=True, help="Stable Diffusion 1.x or 2.x: a folder in diffusers' layout, or a hub id.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for all that is written.")
@click.option("--class-prompt", default="", help='Names the class: "a photo of a cat"; preserves what the model knows.')
@click.option("--class-images", type=click.Path(path_type=Path), metavar="DIR", help="Images of the class.")
@click.option(
    "--class-count",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Images of the class to make where --class-images is not given.",
)
@click.option("--no-prior", is_flag=True, help="Train without images of the class.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Segment Anything or MobileSAM file, for PerSAM-F.")
@click.option(
    "--sam",
    type=click.Choice(["vit_b", "vit_l", "vit_h", "vit_t"]),
    default="vit_h",
    show_default=True,
    help="Known Segment Anything to take from the cache folder if no checkpoint is given.",
)
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True, help="Optimizer steps.")
@click.option("--rate", type=float, default=1e-6, show_default=True, help="Learning rate; for LoRA about 1e-4.")
@click.option("--prior-weight", type=float, default=1.0, show_default=True, help="Weight of the class images' loss.")
@click.option("--resolution", type=int, default=512, show_default=True, help="Side of the training squares, pixels.")
@click.option("--lora-rank", type=click.IntRange(min=0), default=0, help="Train LoRA of this rank; 0: the whole UNet.")
@click.option("--checkpoint-every", type=click.IntRange(min=1), default=250, show_default=True, help="In steps.")
@click.option("--sample-every", type=click.IntRange(min=0), default=250, show_default=True, help="In steps; 0: never.")
@click.option("--sample-prompt", default="", help="What sample pictures show; the default is --prompt.")
@click.option("--sample-steps", type=click.IntRange(min=1), default=25, show_default=True, help="Denoising steps.")
@click.option("--resume", is_flag=True, help="Resume from the output folder's checkpoint.")
@runtime_options
@general_options
def command(runtime: Runtime, **given: Any) -> None:
    """Teach Stable Diffusion a subject from a few images, without their backgrounds (DreamBooth with PerSAM-F).

    PerSAM-F cuts the subject out of all images, and the loss leaves the background out.

    \b
      vos dreambooth --reference cat.png --mask cat-mask.png --images cats --prompt "a photo of sks cat" \\
        --class-prompt "a photo of a cat" --model stable-diffusion-v1-5/stable-diffusion-v1-5 -o sks
    """
    from vos_dreambooth.stable_diffusion import StableDiffusion, model_folder
    from vos_dreambooth.subject import file_digests, image_files, load_class_images, load_subjects, segment_subjects
    from vos_dreambooth.training import DreamBooth, refuse_changed_files, train, training_dtype

    args = _Args(**given)
    settings = _settings(args, runtime)
    places = Places(args.output)
    images = image_files(args.images)
    _check_output(places, resume=args.resume)
    class_files = _class_files(args, places)
    model_folder(args.model)  # a wrong one is refused before the images are segmented
    training_dtype(runtime)
    if args.resume and places.checkpoint.exists():
        refuse_changed_files(places.checkpoint, file_digests(images, places.masks, class_files), leaving=MODEL)
    masks = segment_subjects(
        args.reference, args.mask, images, places.masks, checkpoint=args.checkpoint, model=args.sam, runtime=runtime
    )
    subjects = load_subjects(images, masks, settings.resolution)
    model = StableDiffusion.load(args.model, runtime, lora_rank=settings.lora_rank, seed=settings.seed)
    for prompt in (settings.prompt, settings.class_prompt, args.sample_prompt):
        model.embed(prompt)  # one that is too long is refused before pictures are made
    if args.class_images is None and class_files:
        _make_class_images(model, settings, args, places)
    class_images = load_class_images(class_files, settings.resolution)
    digests = file_digests(images, places.masks, class_files) | {MODEL: model.digest()}
    if args.resume and places.checkpoint.exists():
        refuse_changed_files(places.checkpoint, digests)
    dreambooth = DreamBooth(model, settings, subjects, class_images, runtime=runtime, digests=digests)
    if args.resume and places.checkpoint.exists():
        dreambooth.resume(places.checkpoint)
    intervals = SaveIntervals(args.checkpoint_every, args.sample_every, args.sample_prompt, args.sample_steps)
    with tqdm(total=settings.steps, initial=dreambooth.step, unit="step", disable=not sys.stderr.isatty()) as progress:

        def on_step(step: int, loss: float) -> None:
            progress.set_postfix(loss=f"{loss:.4f}", refresh=False)
            progress.update(step - progress.n)

        train(dreambooth, places, intervals, on_step)
    click.echo(f"{places.model}: {settings.steps} steps on {len(subjects)} of {len(images)} images")


@dataclass(frozen=True)
class _Args:
    """The command's options, by the names of their parameters."""

    reference: Path
    mask: Path
    images: Path
    prompt: str
    model: str
    output: Path
    class_prompt: str
    class_images: Path | None
    class_count: int
    no_prior: bool
    checkpoint: Path | None
    sam: str
    steps: int
    rate: float
    prior_weight: float
    resolution: int
    lora_rank: int
    checkpoint_every: int
    sample_every: int
    sample_prompt: str
    sample_steps: int
    resume: bool


def _settings(args: _Args, runtime: Runtime) -> TrainingSettings:
    given = "--class-prompt" if args.class_prompt else "--class-images" if args.class_images is not None else None
    if args.no_prior and given:
        raise OptionError(f"--no-prior trains without class images, and {given} asks for some; give one of them.")
    if not args.no_prior and not args.class_prompt:
        raise OptionError(
            'give --class-prompt "a photo of a cat", whose images preserve what the model knows, or --no-prior.'
        )
    return TrainingSettings(
        prompt=args.prompt,
        class_prompt=args.class_prompt,
        steps=args.steps,
        rate=args.rate,
        prior_weight=args.prior_weight,
        resolution=args.resolution,
        lora_rank=args.lora_rank,
        seed=runtime.seed,
    )


def _check_output(places: Places, *, resume: bool) -> None:
    """Refuse a folder whose files this run would replace without being their next part."""
    refuse_existing([places.checkpoint], overwrite=True)  # what is above it
    if resume and places.checkpoint.exists():
        return
    there = [path for path in (places.checkpoint, places.model, places.samples) if path.exists()]
    if not resume and there:
        raise OutputExistsError(f"{places.output}: holds a training. Give --resume to go on, or another folder.")
    if places.model.exists():  # samples alone are of a training that was stopped before its first checkpoint
        raise OutputExistsError(f"{places.model}: there is no checkpoint of it to resume from. Give another folder.")


def _class_files(args: _Args, places: Places) -> list[Path]:
    """The class images that are given, or those that are made; some are not there yet."""
    from vos_dreambooth.subject import image_files

    if args.no_prior:
        return []
    if args.class_images is not None:
        return image_files(args.class_images)
    made = {places.class_images / f"{number:04d}.png" for number in range(args.class_count)}
    there = image_files(places.class_images) if any(places.class_images.glob("*.png")) else []
    return natural_order({*made, *there})


def _make_class_images(model: Any, settings: TrainingSettings, args: _Args, places: Places) -> None:
    """Make class images with the untrained model; those made before are kept."""
    folder = places.class_images
    folder.mkdir(parents=True, exist_ok=True)
    if not places.checkpoint.exists():  # else its settings are compared
        _refuse_other_pictures(folder, settings, args.model)
    for number in tqdm(range(args.class_count), unit="class image", disable=not sys.stderr.isatty()):
        path = folder / f"{number:04d}.png"
        if not path.exists():
            picture = model.picture(
                settings.class_prompt,
                side=settings.resolution,
                steps=args.sample_steps,
                seed=settings.seed + number,
            )
            with replacing(path) as partial:
                picture.save(partial)


def _refuse_other_pictures(folder: Path, settings: TrainingSettings, model: str) -> None:
    """Refuse class images that were made of something else; without any, record what they are made of now."""
    record = folder / RECORD
    wanted = {"model": model} | {name: getattr(settings, name) for name in ("class_prompt", "resolution", "seed")}
    if not any(folder.glob("*.png")):
        atomic_write(record, json.dumps(wanted, indent=1) + "\n")
        return
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != wanted:
        raise OutputExistsError(
            f"{folder}: holds pictures of another class prompt, model, resolution or seed (see {RECORD} there). "
            "Remove them, give another -o, or --class-images for pictures of your own."
        )
