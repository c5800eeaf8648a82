"""DreamBooth with PerSAM-F's masks, on a tiny seeded Stable Diffusion."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file, save_file

import vos
from vos.plugin import InputError, OptionError, OutputExistsError, WeightsError
from vos.testing import check_plugin
from vos_dreambooth.command import command
from vos_dreambooth.loss import latent_mask, subject_loss
from vos_dreambooth.settings import Places, SaveIntervals, TrainingSettings
from vos_dreambooth.stable_diffusion import StableDiffusion
from vos_dreambooth.subject import Subject, cut_square, load_subjects
from vos_dreambooth.training import DreamBooth, train

CPU = vos.Runtime(device="cpu")
SETTINGS = TrainingSettings("a", "a a", steps=4, rate=1e-2, resolution=64, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Stable Diffusion of one level of 8 channels."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    path = tmp_path_factory.mktemp("stable-diffusion")
    torch.manual_seed(0)
    words = ["a</w>", "<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({word: row for row, word in enumerate(words)}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    special = {"bos_token": words[1], "eos_token": words[2], "unk_token": words[2], "pad_token": words[2]}
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 8, **special})
    )
    text = {"vocab_size": 3, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(4, 4, 4, 4),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=2,
            layers_per_block=1,
            latent_channels=4,
        ),
        unet=UNet2DConditionModel(
            block_out_channels=(8,),
            down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",),
            norm_num_groups=4,
            cross_attention_dim=8,
            layers_per_block=1,
            attention_head_dim=2,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(max_position_embeddings=8, bos_token_id=1, eos_token_id=2, **text)),
        tokenizer=CLIPTokenizer.from_pretrained(path),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def subjects():
    random = np.random.default_rng(0)
    made = []
    for left in (8, 24):
        mask = np.zeros((64, 64), bool)
        mask[16:48, left : left + 24] = True
        made.append(Subject(random.integers(0, 255, (64, 64, 3), dtype=np.uint8), mask))
    return made


def make(folder, subjects, settings=SETTINGS):
    model = StableDiffusion.load(str(folder), CPU, lora_rank=settings.lora_rank, seed=settings.seed)
    return DreamBooth(model, settings, subjects, subjects[:1], runtime=CPU)


def test_the_plugin_offers_the_verb():
    assert check_plugin("vos_dreambooth") == ["dreambooth"]


def test_the_backgrounds_gradient_is_exactly_zero():
    mask = np.zeros((64, 64), bool)
    mask[16:40, 8:28] = True
    cells = latent_mask(mask, 8)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:5, 1:4] = True  # columns 24 to 27 are half of a cell
    assert torch.equal(cells, expected)
    prediction = torch.randn(4, 8, 8, generator=torch.manual_seed(0), requires_grad=True)
    loss = subject_loss(prediction, torch.zeros(4, 8, 8), cells)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float((prediction.detach()[:, cells] ** 2).mean()))
    assert (prediction.grad[:, ~cells] == 0).all()
    assert (prediction.grad[:, cells] != 0).all()
    thin = np.zeros((64, 64), bool)
    thin[30, 3] = True
    assert latent_mask(thin, 8).nonzero().tolist() == [[3, 0]]


def test_the_background_changes_nothing_that_is_learnt(folder, subjects):
    """Outside the mask, training reads the noisy latent as input and never as target."""
    dreambooth = make(folder, subjects)
    latents = torch.stack([mean for mean, _ in dreambooth._subjects])
    prediction, target = dreambooth.predict(latents, torch.Generator().manual_seed(0))
    prediction.retain_grad()
    subject_loss(prediction[0], target[0], dreambooth._masks[0]).backward()
    assert (prediction.grad[0][:, ~dreambooth._masks[0]] == 0).all()
    assert (prediction.grad[1] == 0).all()
    assert any(parameter.grad.abs().sum() > 0 for parameter in dreambooth.parameters if parameter.grad is not None)


def test_the_loss_falls_and_resuming_is_bit_for_bit(folder, subjects, tmp_path):
    whole = make(folder, subjects)
    latents = torch.stack([mean for mean, _ in whole._subjects])

    @torch.no_grad()
    def loss():
        prediction, target = whole.predict(latents, torch.Generator().manual_seed(9))
        return float(subject_loss(prediction[0], target[0], whole._masks[0]))

    before = loss()
    losses = [whole.advance() for _ in range(12)]
    assert loss() < 0.9 * before
    stopped = make(folder, subjects)
    assert [stopped.advance() for _ in range(3)] == losses[:3]
    stopped.save(tmp_path / "checkpoint.pt")
    resumed = make(folder, subjects)
    resumed.resume(tmp_path / "checkpoint.pt")
    assert resumed.step == 3
    assert [resumed.advance() for _ in range(9)] == losses[3:]
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters, whole.parameters, strict=True))
    other = make(folder, subjects, TrainingSettings("a", "a a", rate=1e-3, resolution=64, seed=3))
    with pytest.raises(OptionError, match="was written with rate 0.01, now it is 0.001"):
        other.resume(tmp_path / "checkpoint.pt")
    shorter = make(folder, subjects, replace(SETTINGS, steps=2))
    with pytest.raises(OptionError, match="is at step 3, --steps is 2. Give more steps"):
        shorter.resume(tmp_path / "checkpoint.pt")


def test_lora_trains_little_and_is_saved_as_diffusers_reads_it(folder, subjects, tmp_path):
    pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline

    settings = TrainingSettings("a", "a a", steps=2, rate=1e-2, resolution=64, lora_rank=2)
    dreambooth = make(folder, subjects, settings)
    before = dreambooth.model.unet.conv_in.weight.clone()
    train(dreambooth, Places(tmp_path), SaveIntervals(sample_every=0))
    assert torch.equal(before, dreambooth.model.unet.conv_in.weight)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    # diffusers 0.35, which Python 3.10 gets, wants the name of the file where there is no network.
    pipeline.load_lora_weights(tmp_path / "model", weight_name="pytorch_lora_weights.safetensors")
    loaded = {name.replace(".default_0.", ".default."): p for name, p in pipeline.unet.named_parameters()}
    for name, parameter in dreambooth.model.unet.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(loaded[name], parameter)


def test_squares_are_cut_around_the_subject():
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 80:] = 255
    mask = np.zeros((40, 100), bool)
    mask[10:30, 85:95] = True
    square = cut_square(image, mask, 40)
    assert square.mask.sum() == 200
    assert square.image[:, 20:].min() == 255


def test_an_image_without_the_subject_is_left_out_and_void_is_no_subject(tmp_path, caplog):
    images, masks = [], []
    for name, ids in (("one", [0, 3, 255]), ("two", [0, 255, 0])):
        images.append(tmp_path / f"{name}.png")
        masks.append(tmp_path / f"{name}-mask.png")
        Image.new("RGB", (60, 60)).save(images[-1])
        vos.write_label_map(masks[-1], np.repeat(np.repeat(np.uint8([ids]), 60, axis=0), 20, axis=1))
    (subject,) = load_subjects(images, masks, 60)
    assert np.array_equal(subject.mask.all(axis=0), np.repeat([False, True, False], 20))
    assert "two.png: PerSAM-F found no subject; the image is left out" in caplog.text
    with pytest.raises(InputError, match="no mask has a subject"):
        load_subjects(images[1:], masks[1:], 60)


def test_the_verb_from_images_to_a_folder_that_diffusers_loads(folder, tmp_path):
    from diffusers import StableDiffusionPipeline

    photos = tmp_path / "photos"
    photos.mkdir()
    for name, centre in (("one", (45, 50)), ("two", (110, 60))):
        label_map = np.zeros((120, 160), np.uint8)
        cv2.circle(label_map, centre, 24, 1, -1)
        image = np.where(label_map[..., None] > 0, np.uint8([214, 48, 44]), np.uint8([105, 112, 104]))
        Image.fromarray(image).save(photos / f"{name}.png")
        if name == "one":
            vos.write_label_map(tmp_path / "mask.png", label_map)
    shapes = vos.__file__.replace("vos/__init__.py", "tests/data/sam_shapes/sam_shapes.pth")
    words = ["--reference", photos / "one.png", "--mask", tmp_path / "mask.png", "--images", photos, "--prompt", "a"]
    words += ["--model", folder, "-o", tmp_path / "out", "--class-prompt", "a a", "--class-count", 1, "--steps", 2]
    words += ["--checkpoint", shapes, "--resolution", 64, "--sample-steps", 1, "--device", "cpu"]
    words = [str(word) for word in words]
    with pytest.raises(InputError):
        CliRunner().invoke(command, [*words, "--class-images", str(tmp_path / "none")], catch_exceptions=False)
    assert not (tmp_path / "out").exists(), "refused before the images are segmented"
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.output.splitlines()[-1] == f"{tmp_path}/out/model: 2 steps on 2 of 2 images"
    assert (vos.read_label_map(tmp_path / "out/masks/two.png")[60, 100:120] == 1).all()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "masks", "class-images", "samples", "checkpoint.pt", "model",
    }  # fmt: skip
    assert Image.open(tmp_path / "out/samples/000002.png").size == (64, 64)
    trained = StableDiffusionPipeline.from_pretrained(tmp_path / "out/model", safety_checker=None)
    first = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    changed = [not torch.equal(a, b) for a, b in zip(trained.unet.parameters(), first.unet.parameters(), strict=True)]
    assert any(changed)
    assert all(torch.equal(a, b) for a, b in zip(trained.vae.parameters(), first.vae.parameters(), strict=True))
    with pytest.raises(OutputExistsError, match="holds a training. Give --resume to go on"):
        CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    _refuses_changed_files([*words, "--resume"], tmp_path / "out", photos)
    (tmp_path / "other/samples").mkdir(parents=True)
    with pytest.raises(OutputExistsError, match="other: holds a training"):
        CliRunner().invoke(command, [*map(str, words), "-o", str(tmp_path / "other")], catch_exceptions=False)
    with pytest.raises(OptionError, match="--no-prior trains without class images, and --class-prompt"):
        CliRunner().invoke(command, [*map(str, words), "--no-prior"], catch_exceptions=False)


def _refuses_changed_files(words, out, photos):
    """Resuming needs the images and masks of the checkpoint; one without digests is resumed as before."""

    def refused(message):
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        with pytest.raises(InputError, match=message) as caught:
            CliRunner().invoke(command, words, catch_exceptions=False)
        assert caught.value.exit_code == 2
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before

    mask, content = out / "masks/two.png", (out / "masks/two.png").read_bytes()
    vos.write_label_map(mask, np.ones((120, 160), np.uint8))
    refused(r"out/checkpoint.pt: mask two.png has changed since it was written. Put the earlier files back")
    mask.unlink()
    refused("mask two.png is gone since it was written")
    mask.write_bytes(content)
    (photos / "three.png").write_bytes((photos / "one.png").read_bytes())
    refused("image three.png is new since it was written")
    (photos / "three.png").unlink()
    (photos / "one.png").rename(photos / "five.png")
    refused("image five.png is new since it was written, and 2 more of the training's files differ")
    (photos / "five.png").rename(photos / "one.png")
    picture = out / "class-images/0000.png"
    content = picture.read_bytes()
    picture.write_bytes((photos / "one.png").read_bytes())
    words = list(words)
    refused("class image 0000.png has changed since it was written")
    picture.write_bytes(content)
    (out / "class-images/mine.png").write_bytes(content)
    refused("class image mine.png is new since it was written")
    (out / "class-images/mine.png").unlink()
    words[words.index("--class-count") + 1] = "2"
    refused("class image 0001.png is new since it was written")
    words[words.index("--class-count") + 1] = "1"
    given, other = words[words.index("--model") + 1], photos.parent / "other-model"
    shutil.copytree(given, other)
    weights = next(other.glob("unet/*.safetensors"))
    save_file({name: tensor + 0.5 for name, tensor in load_file(weights).items()}, weights)
    words[words.index("--model") + 1] = str(other)
    refused("model of --model has changed since it was written")
    words[words.index("--model") + 1] = str(out / "model")  # the trained one
    refused("model of --model has changed since it was written")
    words[words.index("--model") + 1] = str(other)
    shutil.rmtree(other)
    shutil.copytree(given, other)  # the same model elsewhere
    shutil.rmtree(out / "class-images")  # they are made again
    CliRunner().invoke(command, words, catch_exceptions=False)
    assert (out / "class-images/0000.png").is_file()
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    del state["digests"]
    torch.save(state, out / "checkpoint.pt")
    vos.write_label_map(mask, np.ones((120, 160), np.uint8))
    assert CliRunner().invoke(command, words, catch_exceptions=False).exit_code == 0


def test_wrong_input_is_refused_before_the_images_are_segmented(tmp_path):
    """A folder ``model`` without a checkpoint beside it is not a part of this training, and stays."""
    Image.new("RGB", (64, 64)).save(tmp_path / "one.png")
    (tmp_path / "out/model").mkdir(parents=True)
    words = f"--reference x --mask x --images {tmp_path} --prompt a --no-prior --model {tmp_path} -o {tmp_path}/out"

    def refused(more, error, message):
        with pytest.raises(error, match=message):
            CliRunner().invoke(command, [*words.split(), *more.split()], catch_exceptions=False)

    refused("--resume", OutputExistsError, "out/model: there is no checkpoint of it to resume from")
    (tmp_path / "out/model").rmdir()
    refused("", WeightsError, "not this kind of model")
    refused(f"--model {tmp_path}/none", WeightsError, "Give a model's folder or a hub id with --model")
    refused("--no-prior --class-images x", OptionError, "--no-prior trains without class images, and --class-images")
    refused("--rate -1", OptionError, "--rate is -1.0, expected more than 0")
    refused("--prior-weight nan", OptionError, "--prior-weight is nan, expected 0 or more")
    assert not list((tmp_path / "out").iterdir())
    refused("--prompt \udcff", OptionError, r"--prompt is '\\udcff', which is not UTF-8")
    refused("-o s3://bucket/out", InputError, "s3://bucket/out/checkpoint.pt: is an address, expected a path")
    refused(f"-o {tmp_path}/one.png", InputError, "one.png: is a file, expected a folder")


def test_class_images_of_another_prompt_are_not_taken_for_these(folder, tmp_path, monkeypatch):
    """They stay where a training was stopped before its first checkpoint."""
    monkeypatch.setattr("vos_dreambooth.training.train", lambda *_: None)
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "one.png")
    (tmp_path / "out/masks").mkdir(parents=True)
    vos.write_label_map(tmp_path / "out/masks/one.png", np.ones((64, 64), np.uint8))
    words = f"--reference x --mask x --images {tmp_path} --prompt a --model {folder} -o {tmp_path}/out --class-count 1"
    words = [*f"{words} --resolution 64 --sample-steps 1 --device cpu --class-prompt".split()]
    pictures = tmp_path / "out/class-images"
    CliRunner().invoke(command, [*words, "a a"], catch_exceptions=False)
    before = (pictures / "0000.png").stat().st_mtime_ns
    assert CliRunner().invoke(command, [*words, "a a"], catch_exceptions=False).exit_code == 0
    with pytest.raises(OutputExistsError, match="class-images: holds pictures of another class prompt, model"):
        CliRunner().invoke(command, [*words, "a a a"], catch_exceptions=False)
    assert (pictures / "0000.png").stat().st_mtime_ns == before
    with pytest.raises(OptionError, match=r"the prompt .* is 13 tokens, the model reads 8"):
        CliRunner().invoke(command, [*words, "a " * 11, "-o", str(tmp_path / "out")], catch_exceptions=False)
    (pictures / "made-of.json").unlink()
    with pytest.raises(OutputExistsError, match="holds pictures of another"):
        CliRunner().invoke(command, [*words, "a a"], catch_exceptions=False)
