"""The whole of DiffSeg on a Stable Diffusion of tiny weights, in the real folder layout."""

import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import vos
from vos import Frame, Runtime, VosError, load_plugins
from vos.plugin import ExtraMissingError, Initializer, WeightsError
from vos.registry.options import make_options
from vos.testing import StubTracker
from vos_diffseg.initializer import DiffSeg, square_image
from vos_diffseg.options import DiffSegOptions
from vos_diffseg.stable_diffusion import StableDiffusion

CPU = Runtime(device="cpu")


@pytest.fixture
def frame():
    image = np.zeros((72, 128, 3), dtype=np.uint8)
    image[..., 2] = np.linspace(0, 255, 128)
    image[20:60, 30:80, 0] = 200
    return Frame(0, image, "00000")


def model_of(folder):
    return StableDiffusion(str(folder), "", torch.device("cpu"), torch.float32)


def test_attention_is_what_the_layers_give_by_hand(tiny_folder, frame):
    model = model_of(tiny_folder)
    inputs = {}

    def remember(name):
        def hook(module, arguments):
            inputs[name] = arguments[0]

        return hook

    layers = {name: module for name, module in model.unet.named_modules() if name.endswith(".attn1")}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(remember(name))
    maps = model.attention_maps(square_image(frame.image, 128, "stretch"), 300, noise_seed=5)
    model.unet.requires_grad_(False)

    assert len(layers) == 16
    assert [len(m) for m in maps] == [16 * 16, 8 * 8, 4 * 4, 2 * 2]
    by_side = {}
    for name, layer in layers.items():
        hidden = inputs[name][0].double()
        width = layer.to_q.weight.shape[0] // layer.heads
        for head in range(layer.heads):
            rows = slice(head * width, (head + 1) * width)
            queries = hidden @ layer.to_q.weight[rows].double().T
            keys = hidden @ layer.to_k.weight[rows].double().T
            attention = torch.softmax(queries @ keys.T / width**0.5, dim=-1)
            by_side.setdefault(len(hidden), {}).setdefault(name, []).append(attention)
    for found in maps:
        layer_means = [torch.stack(heads).mean(0) for heads in by_side[len(found)].values()]
        np.testing.assert_allclose(found.numpy(), torch.stack(layer_means).mean(0).numpy(), atol=1e-6)
    assert [len(by_side[len(m)]) for m in maps] == [5, 5, 5, 1]


def test_capturing_does_not_change_what_the_network_computes(tiny_folder):
    from diffusers import UNet2DConditionModel

    plain = UNet2DConditionModel.from_pretrained(tiny_folder, subfolder="unet").eval()
    model = model_of(tiny_folder)
    latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = plain(latent, 300, model.empty_text).sample
        found = model.unet(latent, 300, model.empty_text).sample
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_noise_follows_the_schedule_and_the_seed(tiny_folder, frame):
    model = model_of(tiny_folder)
    seen = []
    model.unet.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    image = square_image(frame.image, 64, "stretch")
    for seed in (None, 3, 3, 4):
        model.attention_maps(image, 300, noise_seed=seed)
    clean, noisy, again, other = seen
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy, other)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = float((1 - betas).cumprod(0)[300])
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(noisy, kept**0.5 * clean + (1 - kept) ** 0.5 * noise, atol=1e-5, rtol=1e-5)


def test_the_network_gets_the_scaled_latent_the_time_step_and_the_empty_text(tiny_folder, frame):
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel

    model = model_of(tiny_folder)
    seen = []
    model.unet.register_forward_pre_hook(lambda module, arguments: seen.extend(arguments))
    image = square_image(frame.image, 64, "stretch")
    model.attention_maps(image, 123, noise_seed=None)
    latent, step, text = seen
    vae = AutoencoderKL.from_pretrained(tiny_folder, subfolder="vae").eval()
    encoder = CLIPTextModel.from_pretrained(tiny_folder, subfolder="text_encoder").eval()
    with torch.inference_mode():
        torch.testing.assert_close(latent, vae.encode(image[None]).latent_dist.mode() * 0.18215)
        empty = encoder(torch.tensor([[1, *[2] * 76]])).last_hidden_state  # its start, its end, and padding
    torch.testing.assert_close(text, empty)
    assert step.tolist() == [123]


def test_sharp_attention_of_version_2_does_not_overflow_in_half_precision(tiny_folder, frame):
    model = StableDiffusion(str(tiny_folder), "", torch.device("cpu"), torch.float16)
    for name, module in model.unet.named_modules():
        if name.endswith(".attn1"):
            module.to_q.weight.data *= 300
            module.to_k.weight.data *= 300
    image = square_image(frame.image, 64, "stretch")
    if model.unet.config.upcast_attention:
        assert all(attention.isfinite().all() for attention in model.attention_maps(image, 300, 0))
    else:
        with pytest.raises(VosError, match="is not a number"):
            model.attention_maps(image, 300, 0)


class Halves:
    """In place of the network: its left half and its right half look at themselves, and it keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def attention_maps(self, image, timestep, noise_seed):
        self.asked.append((image, timestep, noise_seed))
        left = torch.arange(64) % 8 < 4
        return [torch.where(left[:, None] == left[None, :], 1.0, 1e-3) / 32]


def halves_of(tiny_folder, seed=0, **options):
    initializer = DiffSeg(
        DiffSegOptions(model=str(tiny_folder), threshold=0.5, **({"points": 4, "image_size": 64} | options)),
        Runtime(device="cpu", seed=seed),
    )
    initializer.model = Halves()
    return initializer


@pytest.mark.parametrize("options", [{}, {"fit": "letterbox"}, {"image_size": 128}, {"timestep": 7}, {"noise": False}])
def test_the_network_is_asked_as_the_options_say(tiny_folder, frame, options):
    initializer = halves_of(tiny_folder, seed=5, **options)
    initializer.initialize(frame)
    ((image, timestep, noise_seed),) = initializer.model.asked
    expected = square_image(frame.image, options.get("image_size", 64), options.get("fit", "stretch"))
    assert torch.equal(image, expected)
    assert timestep == options.get("timestep", 300)
    assert noise_seed == (5 if options.get("noise", True) else None)


@pytest.mark.parametrize(("size", "fit", "border"), [((72, 128), "stretch", 64), ((72, 128), "letterbox", 64)])
def test_segments_lie_where_the_network_saw_them(tiny_folder, size, fit, border):
    image = np.zeros((*size, 3), dtype=np.uint8)
    label_map = halves_of(tiny_folder, fit=fit).initialize(Frame(0, image, "00000"))
    assert (label_map[:, : border - 8] == 1).all()
    assert (label_map[:, border + 8 :] == 2).all()


def test_a_tall_letterboxed_frame_lies_at_the_left_of_the_square(tiny_folder):
    image = np.zeros((128, 72, 3), dtype=np.uint8)
    label_map = halves_of(tiny_folder, fit="letterbox").initialize(Frame(0, image, "00000"))
    assert (label_map[:, :56] == 1).all()  # the halves meet at column 64 of 128, of which the frame has 72
    assert (label_map[:, 70:] == 2).all()


def test_clusters_follow_the_runtimes_seed(tiny_folder, frame):
    options = DiffSegOptions(model=str(tiny_folder), image_size=128, points=4, clusters=12, noise=False)
    found = [DiffSeg(options, Runtime(device="cpu", seed=seed)).initialize(frame) for seed in (1, 1, 2)]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_frames_of_odd_sizes_are_divided(tiny_folder, fit):
    initializer = DiffSeg(DiffSegOptions(model=str(tiny_folder), image_size=64, points=4, fit=fit), CPU)
    for size in ((1, 1), (3, 2000), (2000, 3)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        label_map = initializer.initialize(Frame(0, image, "00000"))
        assert label_map.shape == size
        assert label_map.min() == 1


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_a_frame_is_divided_at_its_own_size(tiny_folder, frame, fit):
    options = DiffSegOptions(model=str(tiny_folder), image_size=128, points=8, threshold=1e-6, fit=fit)
    initializer = DiffSeg(options, CPU)
    assert isinstance(initializer, Initializer)
    label_map = initializer.initialize(frame)
    assert label_map.shape == frame.size
    assert label_map.dtype == np.uint8
    assert len(np.unique(label_map)) > 1
    assert label_map.min() == 1
    assert np.array_equal(label_map, initializer.initialize(frame))


def test_clusters_can_be_set_on_a_loaded_model(tiny_folder, frame):
    initializer = DiffSeg(DiffSegOptions(model=str(tiny_folder), image_size=128, points=8), CPU)
    clustered = initializer.with_clusters(3)
    assert clustered.model is initializer.model
    assert initializer.options.clusters == 0
    assert 1 < len(np.unique(clustered.initialize(frame))) <= 3


def test_a_full_size_pass_gives_the_papers_resolutions(tiny_folder, frame):
    maps = model_of(tiny_folder).attention_maps(square_image(frame.image, 512, "stretch"), 300, noise_seed=0)
    assert [len(m) for m in maps] == [4096, 1024, 256, 64]
    for attention in maps:
        np.testing.assert_allclose(attention.sum(dim=1).numpy(), 1, atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_models_run(tiny_folder, frame, precision):
    options = DiffSegOptions(model=str(tiny_folder), image_size=64, points=4)
    initializer = DiffSeg(options, Runtime(device="cpu", precision=precision))
    assert initializer.model.unet.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert initializer.initialize(frame).shape == frame.size


def test_it_is_offered_by_name_without_torch_work(tiny_folder, frame):
    spec = load_plugins().initializers.get("diffseg")
    assert spec.segments
    options = make_options(spec.options, {"model": str(tiny_folder), "image_size": "64", "points": "4"}, "diffseg")
    assert spec.factory(options, CPU).initialize(frame).shape == frame.size


def test_segments_become_objects_that_a_tracker_follows(tiny_folder, frame, tmp_path):
    for index in range(3):
        Image.fromarray(np.roll(frame.image, 2 * index, axis=1)).save(tmp_path / f"{index}.png")
    label_map = vos.initialize(
        tmp_path,
        "diffseg",
        {"model": tiny_folder, "image_size": 128, "points": 8, "threshold": 1e-5},
        runtime=CPU,
        select=vos.ObjectSelection(max_objects=2, max_area=1, max_border=1),
    )
    assert vos.object_ids(label_map) == (1, 2)
    tracked = list(vos.stream(tmp_path, label_map, tracker=StubTracker(), runtime=CPU))
    assert [frame.index for frame, _ in tracked] == [0, 1, 2]
    assert np.array_equal(tracked[0][1], label_map)
    assert set(vos.object_ids(tracked[2][1])) <= {1, 2}


def test_a_folder_that_is_no_stable_diffusion_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match=r"not this kind of model: no vae/\*\.json, unet/\*\.json"):
        DiffSeg(DiffSegOptions(model=str(tmp_path)), CPU)


def test_a_variant_that_is_not_there_is_an_error(tiny_folder):
    with pytest.raises(WeightsError, match=r"no vae/diffusion_pytorch_model\.fp16"):
        DiffSeg(DiffSegOptions(model=str(tiny_folder), variant="fp16"), CPU)


def test_a_variants_files_are_read(tiny_folder, tmp_path, frame):
    copy = tmp_path / "variant"
    shutil.copytree(tiny_folder, copy)
    for path in copy.glob("*/*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    options = {"model": str(copy), "image_size": 64, "points": 4}
    assert DiffSeg(DiffSegOptions(variant="fp16", **options), CPU).initialize(frame).shape == frame.size
    with pytest.raises(WeightsError, match="not this kind of model: no vae/diffusion_pytorch_model"):
        DiffSeg(DiffSegOptions(**options), CPU)


def test_a_model_that_wants_more_than_an_image_is_an_error(tiny_folder, tmp_path):
    from diffusers import UNet2DConditionModel

    copy = tmp_path / "inpainting"
    shutil.copytree(tiny_folder, copy)
    config = UNet2DConditionModel.load_config(copy / "unet")
    UNet2DConditionModel.from_config(config, in_channels=9).save_pretrained(copy / "unet")
    with pytest.raises(WeightsError, match="the UNet takes 9 channels and no other input; expected a Stable Diffusion"):
        DiffSeg(DiffSegOptions(model=str(copy)), CPU)


def test_a_missing_extra_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ExtraMissingError, match=r'pip install "vos-toolkit\[diffseg\]"'):
        DiffSeg(DiffSegOptions(model=str(tmp_path)), CPU)
