"""Masks as people give them: one an object, folders of folders, arrays, tensors, Pillow images, other names."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

import vos
import vos.plugin
from vos.errors import AnnotationError, EmptyMaskError, OptionError
from vos.evaluation import FaultsError
from vos.host.annotations.annotation_loading import gather_annotations
from vos.host.annotations.mask_arguments import parse_mask_arguments
from vos.io.masks import sequence_masks
from vos.testing import StubTracker, tiny_sequence
from vos.types.mask_values import to_label_map
from vos.types.source_info import SourceInfo

SIZE = (20, 30)


def info(count: int | None = 50, names: tuple[str, ...] | None = None) -> SourceInfo:
    return SourceInfo("clip.mp4", "clip", "video", count, SIZE, frame_names=names)


def gather(given: object, about: SourceInfo | None = None, indices: range = range(50)) -> dict[int, list[list[int]]]:
    """Annotations as nested lists."""
    found = gather_annotations(given, about or info(), indices)  # type: ignore[arg-type]
    return {index: annotation.label_map.tolist() for index, annotation in found.items()}


def box(x: int, value: int = 1) -> np.ndarray:
    label_map = np.zeros(SIZE, dtype=np.uint8)
    label_map[5:12, x : x + 8] = value
    return label_map


def save(path: Path, pixels: np.ndarray | Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path)
    return path


TRUTH = box(2, 1) + box(15, 2)


@pytest.mark.parametrize(
    "values",
    [
        box(2) > 0,
        box(2, 255),
        box(2).astype(np.int64),
        box(2).astype(np.float32),
        box(2)[None],
        box(2)[..., None] > 0,
        torch.from_numpy(box(2)),
        torch.from_numpy(box(2) > 0)[None, None],
        torch.from_numpy(box(2)).to(torch.bfloat16),
        torch.from_numpy(box(2).astype(np.float32)).requires_grad_(),
        Image.fromarray(box(2)),
        Image.fromarray(box(2, 255)).convert("1"),
        Image.fromarray(vos.plugin.PALETTE[box(2)]),
        vos.plugin.PALETTE[box(2)],
    ],
    ids=lambda values: type(values).__name__,
)
def test_one_object_in_any_form(values: object) -> None:
    assert gather(values) == {0: box(2).tolist()}
    assert gather({7: values}) == {7: box(2).tolist()}
    sequence = tiny_sequence("still", size=SIZE, length=2)
    first = next(iter(vos.stream(sequence, values, tracker=StubTracker())))[1]  # type: ignore[arg-type]
    assert np.array_equal(first, box(2))


@pytest.mark.parametrize(
    "values", [TRUTH, TRUTH.astype(np.int32), np.stack([box(2), box(15)]) > 0, torch.from_numpy(TRUTH.astype(np.int64))]
)
def test_several_objects_in_any_form(values: object) -> None:
    assert gather(values) == {0: TRUTH.tolist()}
    assert vos.Annotation(values, 3).label_map.tolist() == TRUTH.tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.linspace(0, 1, 600).reshape(SIZE), r"with fractions \(0 to 1\), as probabilities are. Apply a threshold"),
        (box(2).astype(np.int32) * 300, "values 0 to 300, expected ids 1 to 254"),
        (-box(2).astype(np.int32), "values -1 to 0"),
        (np.zeros((2, 20, 30), np.uint8), r"label map is uint8 \(2, 20, 30\), expected a label map"),
        (np.zeros((2, 3, 20, 30), bool), r"bool \(2, 3, 20, 30\)"),
        (np.array(["a"]), "label map is <U1"),
        (np.zeros((0, 0), np.uint8), r"uint8 \(0, 0\)"),
        (np.zeros(SIZE, bool), "no object in it"),
        (Image.fromarray(np.arange(600, dtype=np.uint8).reshape(SIZE)), "different grey values"),
    ],
    ids=["fractions", "high", "negative", "three-axes", "four-axes", "text", "no-pixels", "empty", "grey"],
)
def test_what_holds_no_mask_is_refused(values: object, message: str) -> None:
    with pytest.raises(AnnotationError, match=f"annotation of frame 4: .*{message}"):
        gather({4: values})


def test_arrays_that_hold_a_label_map_are_not_copied() -> None:
    assert to_label_map(TRUTH) is TRUTH


def test_masks_of_one_object_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cup, ball = save(tmp_path / "cup.png", box(2, 255)), save(tmp_path / "ball.png", box(15, 255))
    expected = {0: TRUTH.tolist()}
    assert gather({"1": cup, "2": ball}) == gather({0: {1: cup, 2: ball}}) == expected
    assert gather({0: {np.uint8(1): cup, np.int64(2): ball}}) == expected
    with caplog.at_level(logging.INFO, logger="vos"):
        assert gather({"cup": cup, "ball": ball}) == expected
    assert "objects by name: cup is 1, ball is 2." in caplog.text
    assert "with id 1" not in caplog.text
    assert gather({0: {"cup": box(2) > 0, "9": ball}}) == {0: (box(2, 1) + box(15, 9)).tolist()}


def test_names_keep_their_id_over_frames_and_take_none_that_is_given(tmp_path: Path) -> None:
    found = gather({0: {None: box(2, 1), "cup": box(15)}, 9: {"ball": box(2), "cup": box(15)}})
    assert found == {0: (box(2, 1) + box(15, 2)).tolist(), 9: (box(2, 3) + box(15, 2)).tolist()}


def test_overlap_is_said_and_a_hidden_object_refused(caplog: pytest.LogCaptureFixture) -> None:
    label_map = gather({0: {1: box(2), 2: box(6)}})[0]
    assert (np.array(label_map) == 2).sum() == 56
    assert "overlap in 28 pixels; the object that was given later has them" in caplog.text
    with pytest.raises(AnnotationError, match='object "1": object 1 lies wholly under another object of frame 0'):
        gather({0: {1: box(2), 2: box(2)}})
    with pytest.raises(AnnotationError, match="given as the mask of one object, and it holds the ids 1, 2"):
        gather({0: {1: TRUTH}})
    with pytest.raises(AnnotationError, match="differ in size"):
        gather({0: {1: box(2), 2: box(2)[1:]}}, SourceInfo("clip.mp4", "clip", "video", 5))
    with pytest.raises(AnnotationError, match="object id is 300, expected 1 to 254, or a name such as cup"):
        gather({0: {300: box(2)}})
    with pytest.raises(AnnotationError, match="object id is 1.5, expected a whole number"):
        gather({0: {1.5: box(2)}})


def test_a_folder_for_each_object(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, x in (("cup", 2), ("ball", 15)):
        save(tmp_path / name / "00000.png", box(x, 255))
        save(tmp_path / name / "00005.png", box(x, 255) if name == "cup" else np.zeros(SIZE, np.uint8))
    with caplog.at_level(logging.INFO, logger="vos"):
        found = gather(tmp_path)
    assert found == {0: (box(15, 1) + box(2, 2)).tolist(), 5: box(2, 2).tolist()}
    assert "a folder for each object: ball, cup" in caplog.text
    assert gather({"7": tmp_path / "cup"}) == {0: box(2, 7).tolist(), 5: box(2, 7).tolist()}


def test_grey_steps_are_the_same_objects_in_all_masks_of_a_sequence(tmp_path: Path) -> None:
    last = np.maximum(box(21, 3), box(23, 3))  # larger than the others, as white is between smoothed edges
    ids = [box(2, 1) + box(12, 2) + last, box(2, 1) + box(12, 2), box(12, 2) + last, last]
    folder = tmp_path / "masks"
    for index, label_map in enumerate(ids):
        save(folder / f"{index:05d}.png", np.array([0, 85, 170, 255], np.uint8)[label_map])
    expected = {index: label_map.tolist() for index, label_map in enumerate(ids)}
    assert gather(folder) == expected
    assert gather(folder, indices=range(2, 50)) == {index: expected[index] for index in (2, 3)}
    assert gather({index: folder / f"{index:05d}.png" for index in expected}) == expected
    beside = replace(info(4), annotation_folder=folder)
    assert gather(None, beside, range(4)) == {0: expected[0]}
    save(folder / "00004.png", box(2, 7))
    with pytest.raises(
        AnnotationError, match="00000.png: grey values in equal steps, as of 3 objects, but .* 7, 85, 170"
    ):
        gather(folder)


@pytest.mark.parametrize("form", ["one colour", "a cut-out", "black and white"])
def test_a_mask_without_an_id_among_several_objects_is_refused(tmp_path: Path, form: str) -> None:
    save(tmp_path / "00000.png", TRUTH)
    white = box(15, 255)
    forms = {"one colour": [white, 0 * white, 0 * white], "a cut-out": [0 * white + 90] * 3 + [white]}
    later = save(tmp_path / "00003.png", np.dstack(forms[form]) if form in forms else white)
    with pytest.raises(
        AnnotationError, match="00003.png: one object without an id, where the objects of the folder are 1, 2. Write"
    ):
        gather(tmp_path)
    assert gather({0: box(2), 3: later})[3] == box(15).tolist()
    save(tmp_path / "00000.png", box(2))
    assert gather(tmp_path)[3] == box(15).tolist()


def test_masks_of_one_colour_each_have_the_same_in_a_folder(tmp_path: Path) -> None:
    red, blue = (np.array([[0, 0, 0], colour], np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    save(tmp_path / "00000.png", red[box(2)])
    save(tmp_path / "00003.png", red[box(4)])
    assert gather(tmp_path) == {0: box(2).tolist(), 3: box(4).tolist()}
    save(tmp_path / "00003.png", blue[box(15)])
    with pytest.raises(AnnotationError, match="00003.png: its one colour on black is another than that of .*00000.png"):
        gather(tmp_path)


def test_a_folder_in_which_an_index_has_several_colours_is_refused(tmp_path: Path) -> None:
    def save_palette(name: str, pixels: np.ndarray, *colours: tuple[int, int, int]) -> None:
        image = Image.fromarray(pixels)
        image.putpalette([value for colour in colours for value in colour])
        save(tmp_path / name, image)

    black, red, blue = (0, 0, 0), (255, 0, 0), (0, 0, 255)
    save_palette("00000.png", TRUTH, black, red, blue)
    save_palette("00003.png", box(2), (9, 9, 9), red)
    assert gather(tmp_path) == {0: TRUTH.tolist(), 3: box(2).tolist()}
    save_palette("00005.png", box(15), black, blue)  # an optimiser left out the colour that this frame lacks
    both = f"00005.png: index 1 of its palette is #0000ff, and #ff0000 in {tmp_path / '00000.png'}"
    with pytest.raises(AnnotationError, match=both):
        gather(tmp_path)
    with pytest.raises(AnnotationError, match=both):
        gather(None, replace(info(), annotation_folder=tmp_path))
    with pytest.raises(AnnotationError, match=both):
        vos.export(tmp_path, "npz", tmp_path / "m.npz")
    with pytest.raises(FaultsError, match=both):
        vos.evaluate(tmp_path, tmp_path)
    assert vos.evaluate(tmp_path, tmp_path, protocol="davis-2016").j_and_f == 1
    save_palette("00005.png", box(15), black, tuple(vos.plugin.PALETTE[2]))  # there the colour gives the id
    assert gather(tmp_path)[5] == box(15, 2).tolist()
    (tmp_path / "00005.png").unlink()
    save_palette("00000.png", box(2), black, (255, 255, 255), red)
    save_palette("00003.png", box(2, 2), black, blue, (255, 255, 255))
    assert gather(tmp_path)[3] == box(2).tolist()  # black and white in both
    for name, davis_id in (("00000.png", 2), ("00003.png", 3)):  # the third colour is in use in none
        save_palette(name, box(2), black, tuple(vos.plugin.PALETTE[davis_id]), red)
    assert gather(tmp_path) == {0: box(2, 2).tolist(), 3: box(2, 3).tolist()}
    for alone, *palette in ((2, black, red, (255, 255, 255)), (1, black, (0, 128, 0), red)):
        save_palette("00000.png", box(2, alone), *palette)  # black and white, and DAVIS's second colour
        save_palette("00003.png", TRUTH, *palette)
        with pytest.raises(AnnotationError, match="00000.png: the colours in use .* and in .*00003.png the indices"):
            gather(tmp_path)


def test_masks_of_one_palette_are_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids of thousands of masks in YouTube-VOS's palette are not read twice."""
    for index in range(3):
        image = Image.fromarray(box(2 + index))
        image.putpalette([0, 0, 0, 236, 95, 103])
        save(tmp_path / f"{index:05d}.png", image)
    counted = Mock(wraps=sequence_masks.palette_to_ids)
    monkeypatch.setattr(sequence_masks, "palette_to_ids", counted)
    assert len(gather(tmp_path)) == 3
    assert counted.call_count == 1


def test_a_folder_of_sequences_is_entered_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "clip" / "00003.png", TRUTH)
    save(tmp_path / "other" / "00003.png", box(2))
    with caplog.at_level(logging.INFO, logger="vos"):
        assert gather(tmp_path) == {3: TRUTH.tolist()}
    assert f"{tmp_path}: clip is the sequence's folder; left out: other." in caplog.text
    assert "annotations of 1 frame: " in caplog.text


def test_names_equal_as_numbers_are_matched_and_files_that_fit_no_frame_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    about = info(12, tuple(str(n) for n in range(1, 13)))
    save(tmp_path / "01.png", box(2))
    save(tmp_path / "10.png", box(15))
    with caplog.at_level(logging.INFO, logger="vos"):
        assert gather(tmp_path, about, range(12)) == {0: box(2).tolist(), 9: box(15).tolist()}
    assert "masks matched by number: 1, such as 01.png for frame 1" in caplog.text
    shutil.copy(tmp_path / "01.png", tmp_path / "1.png")
    with pytest.raises(AnnotationError, match=r"01.png fit no frame of clip.mp4 \(frames are named such as .1.png.\)"):
        gather(tmp_path, about, range(12))
    (tmp_path / "1.png").unlink()
    save(tmp_path / "13.png", box(2))
    save(tmp_path / "preview.png", box(2))
    with pytest.raises(AnnotationError, match="13.png, preview.png fit no frame of clip.mp4"):
        gather(tmp_path, about, range(12))
    with pytest.raises(AnnotationError, match="preview.png fit no frame"):
        gather(tmp_path, info(20))
    with pytest.raises(AnnotationError, match=r"no PNG in it is named after a frame.*It holds 01.png, 10.png, 13.png"):
        gather(tmp_path, info(2, ("a", "b")), range(2))


def test_seconds_as_names_are_no_padded_numbers(tmp_path: Path) -> None:
    about = info(3, ("0.05", "0.5", "0.50"))
    save(tmp_path / "0.05.png", box(2))
    assert list(gather(tmp_path, about, range(3))) == [0]


def test_an_empty_later_mask_says_what_it_does_not_do(tmp_path: Path) -> None:
    gone = save(tmp_path / "gone.png", np.zeros(SIZE, np.uint8))
    for empty in (gone, np.zeros(SIZE, np.uint8)):
        with pytest.raises(EmptyMaskError, match=r"no object in .*leaves out go on as tracked.*--end 1@9"):
            gather({0: box(2), 9: empty})
    with pytest.raises(EmptyMaskError) as caught:
        gather({0: gone})
    assert "--end" not in str(caught.value)


def test_values_of_the_mask_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "x=1.png", "7:c.png"):
        save(tmp_path / name, box(2))
    (tmp_path / "masks").mkdir()
    parse = parse_mask_arguments
    assert parse([], 0) is None
    assert parse(["masks"], 0) == "masks"
    assert parse(["a.png", "40:b.png"], 3) == {3: "a.png", 40: "b.png"}
    assert parse(["cup=a.png", "2=b.png"], 3) == {3: {"cup": "a.png", "2": "b.png"}}
    assert parse(["a.png", "5:cup=b.png", "cup=b.png"], 0) == {0: {"cup": "b.png", None: "a.png"}, 5: {"cup": "b.png"}}
    assert parse(["cup=masks", "a.png"], 0) == {0: "a.png", "cup": "masks"}
    assert parse(["x=1.png"], 0) == "x=1.png"
    assert parse(["7:c.png"], 0) == "7:c.png"
    assert parse(["5:x=1.png"], 0) == {5: "x=1.png"}
    assert parse(["dir/x=2.png"], 0) == "dir/x=2.png"
    assert parse(["0:a.png"], 0) == {0: "a.png"}
    for texts, message in (
        ([""], "--mask is empty"),
        (["a.png", "b.png"], "frame 0 has two masks: a.png and b.png. Say whose they are, --mask 1=a.png --mask 2=b"),
        (["cup=a.png", "cup=b.png"], "object cup has two masks of frame 0"),
        (["masks", "a.png"], "a folder is given alone, or for one object: --mask cup=masks"),
        (["cup=masks", "cup=masks"], "object cup has two folders"),
    ):
        with pytest.raises(OptionError, match=message):
            parse(texts, 0)
