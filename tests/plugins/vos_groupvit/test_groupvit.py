"""GroupViT: the segmentation rule by hand, and the whole on a model of tiny weights."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vos import Frame, Runtime, VosError, load_plugins
from vos.plugin import EmptyMaskError, ExtraMissingError, OptionError, WeightsError, split_phrases
from vos.registry.options import make_options
from vos_groupvit.grouping import Segmentation, group_affinity, group_map, patch_groups, phrase_map
from vos_groupvit.initializer import TextInitializer, split_instances
from vos_groupvit.model import TEMPLATES, GroupVit, model_size, prepare_image
from vos_groupvit.options import GroupVitOptions

CPU = Runtime(device="cpu")


@pytest.fixture
def frame():
    generator = np.random.default_rng(0)
    return Frame(0, generator.integers(0, 256, (48, 80, 3), dtype=np.uint8), "00000")


def model_of(folder):
    return GroupVit(str(folder), torch.device("cpu"), torch.float32)


def unit(*rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


def test_patches_follow_two_stages():
    first = torch.tensor([[1.0, 1.0, 0.0, 0.5], [0.0, 0.0, 1.0, 0.5]])  # 2 groups of 4 patches
    second = torch.tensor([[0.8, 0.1], [0.1, 0.9], [0.1, 0.0]])  # 3 groups of those 2
    found = patch_groups([first, second])
    expected = [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.9, 0.0], [0.45, 0.5, 0.05]]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_each_pixel_goes_to_the_group_that_has_most_of_it():
    belonging = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.2, 0.8]])
    assert group_map(belonging, (2, 2), (4, 6)).tolist() == [[0, 0, 0, 1, 1, 1]] * 4


def test_affinity_is_the_softmax_of_shown_phrases_times_that_of_all():
    groups, image = unit((1, 0, 0), (0, 1, 0)), unit((1, 0.1, 0))[0]
    phrases = unit((0, 1, 0), (1, 0, 0), (1, 0.2, 0), (1, 0.3, 0), (1, 0.4, 0), (1, 0.5, 0), (0, 0, 1))
    found = group_affinity(groups, image, phrases, scale=2.0, top=5, sure=1)
    similarity = (2 * groups @ phrases.T).numpy()
    shown = np.array([1, 1, 1, 1, 1, 1, 0])  # the five likeliest, and the wanted first phrase
    weights = np.exp(similarity)
    expected = weights * shown / (weights * shown).sum(1, keepdims=True) * weights / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert not group_affinity(groups, image, phrases, scale=2.0, top=1)[:, [0, 1, 3, 4, 5, 6]].any()


def test_background_phrases_and_unsure_groups_are_background():
    affinity = torch.tensor([[0.9, 0.05, 0.0], [0.1, 0.0, 0.9], [0.4, 0.3, 0.2], [0.1, 0.95, 0.0]])
    groups = torch.tensor([[0, 1], [2, 3]])
    assert phrase_map(Segmentation(groups, affinity), 2, 0.5).tolist() == [[1, 0], [0, 2]]
    assert phrase_map(Segmentation(groups, affinity), 2, 1.0).tolist() == [[0, 0], [0, 2]]
    assert phrase_map(Segmentation(groups, affinity), 3, 0.0).tolist() == [[1, 3], [1, 2]]


def test_the_assignment_map_is_what_the_layers_give_by_hand(tiny_groupvit, frame):
    model = model_of(tiny_groupvit)
    inputs = []
    stages = [stage.downsample.assign for stage in model.network.vision_model.encoder.stages if stage.downsample]
    for stage in stages:
        stage.register_forward_hook(lambda module, arguments, output: inputs.append(arguments))
    phrases = unit((1,) + (0,) * 7, (0, 1) + (0,) * 6)
    found = model.segment(frame.image, phrases, 32, top=2)

    belonging = None
    for stage, (queries, keys) in zip(stages, inputs, strict=True):
        q = queries[0].double() @ stage.q_proj.weight.double().T + stage.q_proj.bias.double()
        k = keys[0].double() @ stage.k_proj.weight.double().T + stage.k_proj.bias.double()
        taken = torch.softmax(q @ k.T / 16**0.5, dim=0).detach()
        belonging = taken.T if belonging is None else belonging @ taken.T
    assert belonging.shape == (4 * 7, 4)
    np.testing.assert_allclose(belonging.sum(dim=1).numpy(), 1, atol=1e-9)
    planes = belonging.T.reshape(1, 4, 4, 7)
    upsampled = torch.nn.functional.interpolate(planes, size=(48, 80), mode="bilinear")[0]
    top = upsampled.topk(2, dim=0).values
    sure = top[0] - top[1] > 1e-5
    assert sure.float().mean() > 0.9
    assert torch.equal(found.groups[sure], upsampled.argmax(dim=0)[sure])


def test_a_phrase_is_the_mean_of_its_sentences(tiny_groupvit):
    model = model_of(tiny_groupvit)
    found = model.embed_phrases(["dog", "cat"], "many")
    sentences = [template.format("cat") for template in TEMPLATES["many"]]
    tokens = model.tokenizer(sentences, padding="max_length", max_length=77, return_tensors="pt")
    with torch.inference_mode():
        vectors = model.network.get_text_features(**tokens)
    vectors = vectors if isinstance(vectors, torch.Tensor) else vectors.pooler_output
    expected = torch.nn.functional.normalize(vectors.mean(dim=0), dim=0)
    torch.testing.assert_close(found[1], expected, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(found.norm(dim=1).numpy(), 1, atol=1e-6)


def test_a_text_gives_one_id_a_phrase(tiny_groupvit, frame):
    options = GroupVitOptions(text="dog; cat", background="", threshold=0.0, model=str(tiny_groupvit), short_side=32)
    initializer = TextInitializer(options, CPU)
    label_map = initializer.initialize(frame)
    assert label_map.shape == frame.size
    assert label_map.dtype == np.uint8
    assert set(np.unique(label_map)) <= {1, 2}
    assert np.array_equal(label_map, initializer.initialize(frame))


def test_background_phrases_take_pixels_from_the_text(tiny_groupvit, frame):
    options = {"text": "dog", "threshold": 0.0, "model": str(tiny_groupvit), "short_side": 32}
    alone = TextInitializer(GroupVitOptions(background="", **options), CPU)
    assert (alone.initialize(frame) == 1).all()

    initializer = TextInitializer(GroupVitOptions(background="sky; road; cat", **options), CPU)
    seen = []
    initializer.model.network.visual_projection.register_forward_hook(lambda *call: seen.append(call[2]))
    groups = initializer.model.segment(frame.image, initializer.vectors, 32, top=5).groups.numpy()
    vectors = torch.nn.functional.normalize(seen[0][:-1], dim=-1)
    most = int(np.bincount(groups.ravel()).argmax())
    others = [index for index in range(4) if index != most]
    initializer.vectors = vectors[[most, *others]]  # each group shows one phrase exactly
    assert np.array_equal(initializer.initialize(frame) == 1, groups == most)

    initializer.vectors = torch.cat([-vectors[[most]], vectors])
    with pytest.raises(EmptyMaskError, match="frame 00000: found no dog in it"):
        initializer.initialize(frame)


def test_a_message_names_five_of_many_phrases(tiny_groupvit, frame):
    text = "; ".join(f"p{i}" for i in range(1, 255))
    options = GroupVitOptions(text=text, background="", model=str(tiny_groupvit), threshold=0.0, short_side=32)
    initializer = TextInitializer(options, CPU)
    initializer.model = Found([[0]], [[0.0] * 254 + [1.0]])
    with pytest.raises(
        EmptyMaskError, match="found no p1 and no p2 and no p3 and no p4 and no p5 and none of 249 others"
    ):
        initializer.initialize(frame)


def test_instances_are_connected_pieces_by_phrase_and_size():
    label_map = np.zeros((20, 40), dtype=np.uint8)
    label_map[0:3, 0:3] = 2
    label_map[10:20, 0:10] = 2
    label_map[0:10, 20:30] = 1
    label_map[19, 39] = 1
    split = split_instances(label_map, min_area=2 / 800)
    assert (split[0:10, 20:30] == 1).all()
    assert (split[10:20, 0:10] == 2).all()
    assert (split[0:3, 0:3] == 3).all()
    assert split[19, 39] == 0


def test_a_frame_keeps_its_shape_for_the_model():
    assert model_size((480, 854), 448, 16) == (448, 800)
    assert model_size((1000, 100), 448, 16) == (2048, 208)
    pixels = prepare_image(np.full((30, 60, 3), 255, dtype=np.uint8), 32, 8)
    assert pixels.shape == (1, 3, 32, 64)
    np.testing.assert_allclose(
        pixels[0, :, 0, 0].numpy(), [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rtol=1e-6
    )


def test_pixels_reach_the_network_as_it_was_trained():
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    expected = (image.transpose(2, 0, 1) / 255 - np.array([[[0.485]], [[0.456]], [[0.406]]])) / np.array(
        [[[0.229]], [[0.224]], [[0.225]]]
    )
    np.testing.assert_allclose(prepare_image(image, 32, 8)[0].numpy(), expected, atol=1e-5)
    lines = np.zeros((128, 128, 3), dtype=np.uint8)
    lines[:, ::4] = 255
    red = prepare_image(lines, 32, 8)[0, 0, 8:-8, 8:-8].numpy()
    np.testing.assert_allclose(red, (0.25 - 0.485) / 0.229, atol=0.3)


@pytest.mark.parametrize("scale", [20.0, 500.0])
def test_groups_are_compared_as_the_network_was_trained(tiny_groupvit, scale):
    """Vectors and scale are those of the library's own forward pass; the scale is at most 100."""
    model = model_of(tiny_groupvit)
    model.network.logit_scale.data.fill_(float(np.log(scale)))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pixels = prepare_image(image, 32, 8)
    phrases = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    phrases = torch.nn.functional.normalize(phrases, dim=-1)
    with torch.inference_mode():
        vision = model.network.vision_model(pixels)
        whole = model.network.visual_projection(vision.pooler_output)[0]
        groups = model.network.visual_projection(vision.last_hidden_state[0])
    groups, whole = (torch.nn.functional.normalize(v, dim=-1) for v in (groups, whole))
    expected = group_affinity(groups, whole, phrases, min(scale, 100.0), top=5)
    found = model.segment(image, phrases, 32, top=5).affinity
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_phrases_come_first_in_their_order_in_their_templates(tiny_groupvit):
    for templates in ("simple", "many"):
        options = GroupVitOptions(
            text="dog; cat", background="sky; Dog; road", templates=templates, model=str(tiny_groupvit)
        )
        initializer = TextInitializer(options, CPU)
        expected = initializer.model.embed_phrases(["dog", "cat", "sky", "road"], templates)
        torch.testing.assert_close(initializer.vectors, expected)
    assert not torch.allclose(
        initializer.model.embed_phrases(["dog"], "simple"), initializer.model.embed_phrases(["dog"], "many")
    )


class Found:
    """In place of the network: groups and affinities that are known, and what it was asked."""

    def __init__(self, groups, affinity):
        self.found = Segmentation(torch.tensor(groups), torch.tensor(affinity))

    def segment(self, image, phrases, short_side, *, top, sure):
        self.asked = (short_side, top, sure)
        return self.found


def found_by(tiny_groupvit, groups, affinity, **options):
    initializer = TextInitializer(GroupVitOptions(text="dog; cat", model=str(tiny_groupvit), **options), CPU)
    initializer.model = Found(groups, affinity)
    height, width = initializer.model.found.groups.shape
    return initializer, initializer.initialize(Frame(0, np.zeros((height, width, 3), dtype=np.uint8), "00000"))


@pytest.mark.parametrize(
    ("options", "asked"), [({}, (448, 5, 2)), ({"likeliest": 3}, (448, 3, 0)), ({"short_side": 64}, (64, 5, 2))]
)
def test_the_network_is_asked_as_the_options_say(tiny_groupvit, options, asked):
    initializer, _ = found_by(tiny_groupvit, [[0]], [[1.0, 0.0]], **options)
    assert initializer.model.asked == asked


@pytest.mark.parametrize(("threshold", "expected"), [(0.4, [[1, 2]]), (0.6, [[1, 0]]), (0.95, [[1, 0]])])
def test_the_threshold_says_what_is_too_unsure(tiny_groupvit, threshold, expected):
    _, label_map = found_by(tiny_groupvit, [[0, 1]], [[0.9, 0.0], [0.0, 0.5]], threshold=threshold)
    assert label_map.tolist() == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [2, 2, 2, 0, 2, 0, 1, 1]),
        ({"instances": True}, [2, 2, 2, 0, 3, 0, 1, 1]),
        ({"instances": True, "min_area": 0.2}, [2, 2, 2, 0, 0, 0, 1, 1]),
        ({"instances": True, "min_area": 0.25}, [2, 2, 2, 0, 0, 0, 1, 1]),
        ({"instances": True, "min_area": 0.3}, [1, 1, 1, 0, 0, 0, 0, 0]),
    ],
)
def test_instances_and_their_least_area_are_as_the_options_say(tiny_groupvit, options, expected):
    groups = [[1, 1, 1, 2, 1, 2, 0, 0]]
    _, label_map = found_by(tiny_groupvit, groups, [[0.9, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.9]], **options)
    assert label_map[0].tolist() == expected


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({"instances": True}, []),
        ({"instances": True, "threshold": 1.0}, ["cat"]),
        ({"instances": True, "min_area": 0.3}, ["dog"]),
        ({"threshold": 1.0}, []),
    ],
)
def test_a_phrase_without_an_instance_is_named(tiny_groupvit, caplog, options, absent):
    groups = [[1, 1, 1, 2, 1, 2, 0, 0]]
    found_by(tiny_groupvit, groups, [[0.96, 0.0, 0.0], [0.0, 0.95, 0.0], [0.0, 0.0, 0.9]], **options)
    assert [record.getMessage() for record in caplog.records] == [
        f"frame 00000: found no {phrase} in it." for phrase in absent
    ]


def test_pieces_that_touch_at_a_corner_are_one_and_no_more_than_254_are_kept():
    assert np.array_equal(split_instances(np.eye(3, dtype=np.uint8), 0.0), np.eye(3))
    specks = np.zeros((40, 40), dtype=np.uint8)
    specks[::2, ::2] = 7
    split = split_instances(specks, 0.0)
    assert np.unique(split).tolist() == list(range(255))
    assert (np.bincount(split.ravel())[1:] == 1).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3)])
def test_frames_of_odd_sizes_are_searched(tiny_groupvit, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    options = GroupVitOptions(text="dog", background="", model=str(tiny_groupvit), short_side=32, instances=True)
    label_map = TextInitializer(options, CPU).initialize(Frame(0, image, "00000"))
    assert (label_map == 1).all()
    assert label_map.shape == size


def test_phrases_are_split_at_semicolons():
    assert split_phrases(" red  car ;dog;; dog \n; Dog; Red car") == ("red car", "dog")
    options = GroupVitOptions(text="Sky; dog")
    assert options.phrases() == ("Sky", "dog")
    assert "sky" not in options.background_phrases()
    assert "road" in options.background_phrases()


@pytest.mark.parametrize("text", ["犬; chien é; 🐶", "a{}b; {0}; %s", "<|endoftext|>", "; ".join(map(str, range(254)))])
def test_any_phrases_are_read(tiny_groupvit, text, frame):
    options = GroupVitOptions(text=text, background="", threshold=0.0, model=str(tiny_groupvit), short_side=32)
    initializer = TextInitializer(options, CPU)
    assert len(initializer.vectors) == len(text.split(";"))
    assert 0 < initializer.initialize(frame).max() <= len(initializer.vectors)


def test_a_phrase_longer_than_the_model_reads_is_an_error(tiny_groupvit):
    model = model_of(tiny_groupvit)
    # The sentence is "a photo of a ... ." and its two ends; the tiny model's tokens are letters.
    longest = "d" * (77 - 2 - len("aphotoofa."))
    assert model.embed_phrases([longest], "simple").isfinite().all()
    with pytest.raises(OptionError, match=r'a phrase of the text is too long: "a photo of a ddd.*" is 78 tokens, the'):
        model.embed_phrases([longest + "d"], "simple")


def test_it_is_offered_by_name(tiny_groupvit, frame):
    spec = load_plugins().initializers.get("groupvit")
    assert not spec.segments
    values = {"text": "dog", "background": "", "model": str(tiny_groupvit), "short_side": "32", "instances": "yes"}
    initializer = spec.factory(make_options(spec.options, values, "groupvit"), CPU)
    assert initializer.initialize(frame).max() >= 1


def test_no_text_is_an_error():
    with pytest.raises(OptionError, match='groupvit needs a text: --text "dog; person"'):
        TextInitializer(GroupVitOptions(), CPU)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": 1.5}, "threshold is 1.5, expected 0 to 1"),
        ({"min_area": 1.0}, "min_area is 1.0, expected 0 to 1"),
        ({"short_side": 8}, "short_side is 8, expected 32 or more"),
        ({"likeliest": -1}, "likeliest is -1, expected 0 or more"),
        ({"text": ";".join(str(i) for i in range(255))}, "text has 255 phrases, expected at most 254"),
        ({"text": "chien \udce9"}, r"text is 'chien \\udce9', which is not UTF-8"),
        ({"background": "\udce9"}, r"background is '\\udce9', which is not UTF-8"),
    ],
)
def test_options_out_of_range_are_errors(values, message):
    with pytest.raises(ValueError, match=message):
        GroupVitOptions(**values)


def test_a_model_of_another_kind_is_an_error(tmp_path):
    for name in ("vocab.json", "merges.txt", "model.safetensors"):
        (tmp_path / name).write_text("")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(WeightsError, match='model type is "clip", expected "groupvit"'):
        model_of(tmp_path)


@pytest.fixture
def folder(tiny_groupvit, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(tiny_groupvit, tmp_path / "model")


def check_refused(folder, message):
    with pytest.raises(WeightsError, match=message) as caught:
        model_of(folder).embed_phrases(["dog"], "simple")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("text_model", '20 keys missing, first "text_model.embeddings.position_embedding.weight"'),
        ("logit_scale", '1 key missing, first "logit_scale"'),
    ],
)
def test_tensors_that_are_not_there_are_said(folder, part, message):
    file = folder / "model.safetensors"
    save_file({k: v for k, v in load_file(file).items() if part not in k}, file, metadata={"format": "pt"})
    check_refused(folder, f"model: weights do not fit GroupViTModel: {message}")


def test_tensors_that_other_releases_save_do_not_matter(folder):
    file, before = folder / "model.safetensors", model_of(folder).embed_phrases(["dog"], "simple")
    tensors = {k: v for k, v in load_file(file).items() if not k.endswith("num_batches_tracked")}
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(tensors, file, metadata={"format": "pt"})
    torch.testing.assert_close(model_of(folder).embed_phrases(["dog"], "simple"), before)


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.json", "tokenizer_config.json", "config.json"])
def test_a_file_cut_short_is_said(folder, name):
    file = folder / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    check_refused(folder, r"cannot be (loaded from it|read|read as JSON) \(.+\)\.")


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.json", "merges.txt", "config.json"])
def test_a_file_that_is_not_there_is_said(folder, name):
    (folder / name).unlink()
    check_refused(
        folder, f"not this kind of model: no {re.escape({'model.safetensors': '*model.*'}.get(name, name))} in"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_size": 32}, "keys of another shape, first"),
        ({"depths": [1, 1]}, r'keys not of this network, first "vision_model\.encoder\.stages\.2\.'),
        ({"num_group_tokens": [8]}, r"GroupViTModel cannot be loaded from it \(IndexError: list index out of range\)"),
    ],
)
def test_a_configuration_that_does_not_fit_is_said(folder, settings, message):
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"].update(settings)
    (folder / "config.json").write_text(json.dumps(config))
    check_refused(folder, message)


def test_a_configuration_of_nothing_is_said(folder):
    (folder / "config.json").write_text("null")
    check_refused(folder, r"config\.json: cannot be read")


def test_a_tokenizer_without_words_is_said(folder):
    (folder / "vocab.json").write_text("{}")
    check_refused(folder, r"the tokenizer cannot read text \(.+\): vocab.json or merges.txt is not that of a GroupViT")


def test_a_tokenizer_of_another_model_is_said(folder):
    words = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(words | {"g</w>": 700}))
    check_refused(folder, r"the tokenizer gives token 700, the network has \d+: they are of different models")


def test_weights_that_are_no_numbers_are_said(folder, frame):
    file = folder / "model.safetensors"
    save_file({k: v * torch.nan if "norm" in k else v for k, v in load_file(file).items()}, file)
    with pytest.raises(VosError, match='tensor ".*norm.*" holds NaN. The file is damaged'):
        TextInitializer(GroupVitOptions(text="dog", model=str(folder), short_side=32), CPU)


def test_a_missing_extra_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ExtraMissingError, match=r'pip install "vos-toolkit\[groupvit\]"'):
        model_of(tmp_path)
