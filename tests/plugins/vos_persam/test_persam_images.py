"""Personalised images: from files to files, as a user would."""

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import vos
import vos.plugin
from vos.cli import main
from vos.plugin import AnnotationError, EmptyMaskError, WeightsError
from vos_persam.command import command
from vos_persam.guidance import guidance_for, official_guidance
from vos_persam.images import REFERENCE_MASK_VALUE, PersonalizeSettings, personalize, read_image
from vos_persam.personal import PersonalOptions, PersonalSegmenter
from vos_persam.target import similarity

SIZE = (120, 160)
COLOURS = np.array([[105, 112, 104], [214, 48, 44], [40, 88, 222]], np.float32)


def draw(disc, square, size=SIZE):
    label_map = np.zeros(size, np.uint8)
    cv2.circle(label_map, disc, 24, 1, -1)
    cv2.rectangle(label_map, square, (square[0] + 40, square[1] + 40), 2, -1)
    image = cv2.GaussianBlur(COLOURS[label_map], (0, 0), 0.6) + np.random.default_rng(disc[0]).normal(0, 4, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), label_map


@pytest.fixture
def files(tmp_path):
    for name, scene in {
        "a": draw((45, 50), (95, 60)),
        "b": draw((110, 40), (20, 60)),
        "c": draw((50, 90), (70, 10), (160, 120)),
    }.items():
        Image.fromarray(scene[0]).save(tmp_path / f"{name}.png")
        vos.write_label_map(tmp_path / f"{name}_mask.png", scene[1])
    return tmp_path


@pytest.fixture
def refused(capsys):
    """Run the verb on bad input and return its error message."""

    def invoke(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["personalize", *map(str, arguments)])
        said = capsys.readouterr()
        assert (ended.value.code, said.out) == (2, "")
        assert said.err.count("\n") == 1
        return said.err

    return invoke


def iou(path, exact_path):
    ours, exact = vos.read_label_map(path), vos.read_label_map(exact_path)
    return [((ours == i) & (exact == i)).sum() / ((ours == i) | (exact == i)).sum() for i in (1, 2)]


@pytest.mark.parametrize("flags", [[], ["--f"]])
def test_the_verb_segments_the_references_objects(files, shapes, shapes_checkpoint, flags):
    out = files / "out"
    arguments = ["--reference", files / "a.png", "--mask", files / "a_mask.png", "-o", out, *flags]
    arguments += [
        "--checkpoint",
        shapes_checkpoint,
        "--device",
        "cpu",
        files / "a.png",
        files / "b.png",
        files / "c.png",
    ]
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.split() == [str(out / f"{name}.png") for name in "abc"]
    for name in "abc":
        assert min(iou(out / f"{name}.png", files / f"{name}_mask.png")) > 0.6

    segmenter = PersonalSegmenter(
        shapes,
        read_image(files / "a.png"),
        vos.read_label_map(files / "a_mask.png"),
        PersonalOptions(learnt="--f" in flags),
    )
    for name in "abc":
        label_map = segmenter.segment(read_image(files / f"{name}.png"))
        np.testing.assert_array_equal(vos.read_label_map(out / f"{name}.png"), label_map)


def test_compat_differs_only_in_what_the_release_does(shapes, files, shapes_checkpoint):
    """In its choice of cells and in guidance that is stretched over the padding; so not where neither can differ."""
    compat = PersonalOptions(reference_mask_value=REFERENCE_MASK_VALUE)

    # Objects of whole cells in frames without padding: nothing to erode, nothing to stretch.
    side = shapes.side
    image, _ = draw((45, 50), (95, 60), (side, side))
    whole = np.zeros((side, side), np.uint8)
    whole[32:72, 24:64] = 1
    ours, theirs = (PersonalSegmenter(shapes, image, whole, options) for options in (None, compat))
    torch.testing.assert_close(ours.pooled, theirs.pooled)
    for other in (image, draw((110, 40), (20, 60), (side, side))[0]):
        mended, released = ours.segment(other), theirs.segment(other)
        assert (mended > 0).sum() > 500
        assert (mended != released).mean() < 0.01

    # Padded frames, and an outline that cuts through cells: both differ, and the prompts still do not.
    image, label_map = draw((45, 50), (95, 60))
    one = np.where(label_map == 1, 1, 0).astype(np.uint8)
    ours, theirs = (PersonalSegmenter(shapes, image, one, options) for options in (None, compat))
    assert (ours.pooled - theirs.pooled).norm() > 0.05
    stages = []
    for segmenter in (ours, theirs):
        segmenter.on_stages = stages.append
        segmenter.targets = ours.targets
        segmenter.pooled = ours.pooled
    other = read_image(files / "b.png")
    mended, released = ours.segment(other), theirs.segment(other)
    (first, *_), (their_first, *_) = stages
    np.testing.assert_array_equal(first.prompts[0].points_xy, their_first.prompts[0].points_xy)
    assert first.prompts[0].point_labels.tolist() == their_first.prompts[0].point_labels.tolist() == [1, 0]
    (embedding,) = shapes.encode([other])
    maps = similarity(embedding.features, ours.targets)
    for stage, guide in ((first, guidance_for), (their_first, official_guidance)):
        guidance = guide(maps, embedding.view, ours.pooled)
        decoded = shapes.decode(embedding, stage.prompts, multimask=False, hooks=guidance)
        torch.testing.assert_close(stage.decoded.low_res_logits, decoded.low_res_logits, atol=1e-4, rtol=0)
    assert (mended != released).any()

    # From files to files it is the same choice.
    vos.write_label_map(files / "one.png", one)
    for flag, options in ((False, None), (True, compat)):
        (path,) = personalize(
            files / "a.png",
            files / "one.png",
            [files / "b.png"],
            files / f"out-{flag}",
            PersonalizeSettings(compat=flag, checkpoint=shapes_checkpoint, runtime=vos.Runtime(device="cpu")),
        )
        expected = PersonalSegmenter(shapes, image, one, options).segment(other)
        assert vos.object_ids(expected) == (1,)
        np.testing.assert_array_equal(vos.read_label_map(path), expected)
    assert (vos.read_label_map(files / "out-True" / "b.png") != vos.read_label_map(files / "out-False" / "b.png")).any()


def test_an_empty_mask_has_no_box_which_stops_compat_alone(shapes):
    image, label_map = draw((45, 50), (95, 60))
    one = np.where(label_map == 1, 6, 0).astype(np.uint8)
    for value in (None, REFERENCE_MASK_VALUE):
        options = PersonalOptions(learnt=True, epochs=1, reference_mask_value=value)
        segmenter, stages = PersonalSegmenter(shapes, image, one, options), []
        segmenter.on_stages = stages.append
        segmenter.mask_weights = torch.zeros(1, 3)  # nothing is above 0 in this mixture
        if value is None:
            assert vos.object_ids(segmenter.segment(image)) == (6,)
            _, second, third = stages[0]
            assert second.prompts[0].box_xyxy is None
            assert third.prompts[0].box_xyxy is not None
        else:
            with pytest.raises(vos.TrackerError, match="object 6: a mask is empty before its box is taken, where the"):
                segmenter.segment(image)


def test_images_are_turned_as_their_camera_says(tmp_path):
    image, _ = draw((45, 50), (95, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(image).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(image, -1))


def test_the_verb_asks_for_the_model_that_is_named(files, monkeypatch):
    monkeypatch.setenv("VOS_CACHE", str(files / "cache"))
    arguments = ["--reference", files / "a.png", "--mask", files / "a_mask.png", "-o", files / "out", files / "b.png"]
    result = CliRunner().invoke(command, [*map(str, arguments), "--model", "vit_l", "--device", "cpu"])
    assert isinstance(result.exception, WeightsError)
    assert "vit_l" in str(result.exception)
    assert not (files / "out").exists()


def test_images_of_16_bits_give_the_masks_of_8(files, shapes_checkpoint):
    """Read as the rest of the toolkit reads them; colours of 16 bits need OpenCV to be written."""
    deep = files / "deep"
    deep.mkdir()
    for name in ("a", "b"):
        image = cv2.imread(str(files / f"{name}.png"))
        cv2.imwrite(str(deep / f"{name}.png"), image.astype(np.uint16) * 257)
        np.testing.assert_array_equal(vos.plugin.read_image(deep / f"{name}.png"), image[..., ::-1])
    cv2.imwrite(str(deep / "grey.png"), cv2.imread(str(files / "b.png"), cv2.IMREAD_GRAYSCALE).astype(np.uint16) * 257)
    cv2.imwrite(str(files / "grey.png"), cv2.imread(str(files / "b.png"), cv2.IMREAD_GRAYSCALE))
    maps, settings = [], PersonalizeSettings(checkpoint=shapes_checkpoint)
    for folder in (files, deep):
        images = [folder / "b.png", folder / "grey.png"]
        run = personalize(folder / "a.png", files / "a_mask.png", images, folder / "out", settings)
        maps.append([vos.read_label_map(path, allow_empty=True) for path in run])
    np.testing.assert_array_equal(maps[0], maps[1])


def test_a_strip_of_one_row_does_not_end_the_images_after_it(files, shapes_checkpoint):
    Image.fromarray(np.full((1, 500, 3), 90, np.uint8)).save(files / "row.png")
    settings = PersonalizeSettings(checkpoint=shapes_checkpoint)
    images = [files / "row.png", files / "b.png"]
    written = list(personalize(files / "a.png", files / "a_mask.png", images, files / "out", settings))
    assert vos.read_label_map(written[0], allow_empty=True).shape == (1, 500)
    assert min(iou(written[1], files / "b_mask.png")) > 0.6


def test_two_images_of_one_name(files, shapes_checkpoint):
    (files / "sub").mkdir()
    images = [files / "a.png", files / "sub" / "a.png"]
    settings = PersonalizeSettings(checkpoint=shapes_checkpoint)
    with pytest.raises(vos.InputError, match='two images are named "a"'):
        list(personalize(files / "a.png", files / "a_mask.png", images, files / "out", settings))


@pytest.mark.parametrize("output", ["", "sub", "link"])
def test_no_label_map_replaces_an_input(files, refused, output):
    (files / "sub").mkdir()
    for name in ("a_mask.png", "model.png"):
        (files / "sub" / name).write_bytes((files / "a_mask.png").read_bytes())
    (files / "link").symlink_to(files, target_is_directory=True)
    images = {"": ["b.png"], "sub": ["model.png", "a.png"], "link": ["c.png"]}[output]
    mask, model = (files / "sub" / "a_mask.png" if output else files / "a_mask.png"), files / "sub" / "model.png"
    before = {path: path.read_bytes() for path in files.rglob("*.png")}
    arguments = ["--reference", files / "a.png", "--mask", mask, "--checkpoint", model, "-o", files / output]
    said = refused(*arguments, *(files / name for name in images))
    assert said.startswith(f"vos: {files / output / images[0]}: is an input")
    assert {path: path.read_bytes() for path in files.rglob("*.png")} == before


def test_a_mask_in_the_output_folder_stays(files, refused):
    (files / "a").mkdir()
    (files / "a" / "b.png").write_bytes((files / "a_mask.png").read_bytes())
    said = refused("--reference", files / "a.png", "--mask", files / "a" / "b.png", "-o", files / "a", files / "b.png")
    assert said.startswith(f"vos: {files / 'a' / 'b.png'}: is an input")


def test_a_file_that_is_no_image(files, shapes_checkpoint):
    (files / "notes.txt").write_text("no image")
    settings = PersonalizeSettings(checkpoint=shapes_checkpoint)
    run = personalize(files / "a.png", files / "a_mask.png", [files / "notes.txt"], files / "out", settings)
    with pytest.raises(vos.InputError, match=r"notes\.txt: not an image that can be read"):
        list(run)
    with pytest.raises(vos.InputError, match=r"missing\.png: cannot be read \(No such file"):
        list(personalize(files / "missing.png", files / "a_mask.png", [files / "b.png"], files / "out"))


def test_an_image_that_is_not_there_is_refused_before_any_is_segmented(files, refused, shapes_checkpoint):
    words = ["--reference", files / "a.png", "--mask", files / "a_mask.png", "--checkpoint", shapes_checkpoint]
    message = refused(*words, files / "b.png", files / "none.png", "-o", files / "out")
    assert f"{files}/none.png: is no file, expected an image." in message
    assert not (files / "out").exists()


def test_a_mask_of_another_size(files):
    with pytest.raises(AnnotationError, match="mask is 120x160, the frame is 160x120"):
        list(personalize(files / "a.png", files / "c_mask.png", [files / "b.png"], files / "out"))


def test_an_object_without_a_cell_in_the_releases_way(shapes):
    image, label_map = draw((45, 50), (95, 60))
    label_map[:] = 0
    label_map[10, 10] = 3
    assert PersonalSegmenter(shapes, image, label_map).object_ids == (3,)
    with pytest.raises(EmptyMaskError, match="object 3 of the reference holds no cell .* Leave out --compat"):
        PersonalSegmenter(shapes, image, label_map, PersonalOptions(reference_mask_value=128))
