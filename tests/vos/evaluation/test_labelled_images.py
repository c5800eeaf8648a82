"""Folders of images with labels: which files belong together, and what values mean."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vos import InputError
from vos.evaluation.images.initializer_scores import NOTHING, as_classes, as_proposals, crop_square, score_images
from vos.evaluation.images.labelled_images import COCO_STUFF_27, IGNORED, LAYOUTS, folders, labelled_images
from vos.plugin import EmptyMaskError, OptionError

SIZE = (6, 8)


def write(path: Path, value=0, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*SIZE, 3) if mode == "RGB" else SIZE
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(path)


@pytest.fixture
def trees(tmp_path):
    """A tree of each layout, two images each, the second left out by a list where the layout has one."""
    for name in ("a1", "a2"):
        write(tmp_path / "coco-stuff-27" / "val2017" / f"{name}.jpg", mode="RGB")
        write(tmp_path / "coco-stuff-27" / "annotation_val2017" / f"{name}.png", 16)
        write(tmp_path / "voc" / "JPEGImages" / f"{name}.jpg", mode="RGB")
        write(tmp_path / "voc" / "SegmentationClass" / f"{name}.png", 12)
        write(tmp_path / "context" / "JPEGImages" / f"{name}.jpg", mode="RGB")
        write(tmp_path / "context" / "SegmentationClassContext" / f"{name}.png", 23)
        write(tmp_path / "cityscapes" / "leftImg8bit" / "val" / "ulm" / f"ulm_{name}_leftImg8bit.png", mode="RGB")
        write(tmp_path / "cityscapes" / "gtFine" / "val" / "ulm" / f"ulm_{name}_gtFine_labelIds.png", 26)
    for list_file in (
        "coco-stuff-27/Coco164kFull_Stuff_Coarse_7.txt",
        "voc/ImageSets/Segmentation/val.txt",
        "context/ImageSets/SegmentationContext/val.txt",
    ):
        (tmp_path / list_file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / list_file).write_text("a1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("layout", "class_count", "image_count", "class_name"),
    [
        ("coco-stuff-27", 27, 1, "animal"),
        ("voc", 21, 1, "dog"),
        ("context", 59, 1, "dog"),
        ("cityscapes", 27, 2, "car"),
    ],
)
def test_each_layout_finds_its_files_and_classes(trees, layout, class_count, image_count, class_name):
    images = labelled_images(trees / layout, layout)
    assert len(images.classes) == class_count
    assert len(images.pairs) == image_count
    assert all(image.is_file() and label.is_file() for image, label in images.pairs)
    labels = images.read_labels(images.pairs[0][1])
    assert labels.shape == SIZE
    assert {images.classes[i] for i in np.unique(labels)} == {class_name}
    assert images.class_of[255] == IGNORED
    assert sorted(set(images.class_of.tolist()) - {IGNORED}) == list(range(class_count))
    assert images.has_background == (layout == "voc")


def test_every_fine_class_of_coco_stuff_has_one_coarse_class(trees):
    class_of = labelled_images(trees / "coco-stuff-27", "coco-stuff-27").class_of
    assert (class_of[:182] != IGNORED).all()
    assert (class_of[182:] == IGNORED).all()
    assert sum(np.count_nonzero(class_of == i) for i in range(27)) == 182
    named = {name: index for index, (name, _) in enumerate(COCO_STUFF_27)}
    fine = {"person": 0, "vehicle": 2, "animal": 17, "food": 58, "sky": 156, "window": 180, "water": 154}
    assert all(class_of[value] == named[name] for name, value in fine.items())


def test_plain_folders_pair_by_name(tmp_path):
    for name in ("b10", "b9"):
        write(tmp_path / "images" / f"{name}.png", mode="RGB")
        write(tmp_path / "labels" / f"{name}.png", 3)
    images = folders(tmp_path / "images", tmp_path / "labels", 3)
    assert [image.stem for image, _ in images.pairs] == ["b9", "b10"]
    assert (images.read_labels(images.pairs[0][1]) == IGNORED).all()


def test_what_is_missing_is_named(trees, tmp_path):
    with pytest.raises(InputError, match=r"no folder val2017 or images/val2017 in it"):
        labelled_images(trees / "voc", "coco-stuff-27")
    with pytest.raises(InputError, match='no layout named "ade". There are: coco-stuff-27, cityscapes'):
        labelled_images(trees, "ade")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        folders(trees / "nowhere", trees, 3)
    with pytest.raises(InputError, match="no images with labels in it"):
        folders(trees / "voc" / "JPEGImages", trees / "voc" / "JPEGImages", 3)
    (trees / "voc" / "SegmentationClass" / "a1.png").unlink()
    with pytest.raises(InputError, match=r"a1\.png: no such file; its partner is .*a1\.jpg"):
        labelled_images(trees / "voc", "voc")


def test_labels_that_are_not_8_bit_are_refused(tmp_path):
    write(tmp_path / "images" / "a.png", mode="RGB")
    write(tmp_path / "labels" / "a.png", mode="RGB")
    images = folders(tmp_path / "images", tmp_path / "labels", 3)
    with pytest.raises(InputError, match="labels have mode RGB"):
        images.read_labels(images.pairs[0][1])
    write(tmp_path / "labels" / "a.png")
    content = bytearray((tmp_path / "labels" / "a.png").read_bytes())
    content[content.index(b"IDAT") + 8] ^= 1
    (tmp_path / "labels" / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as labels .a damaged PNG file"):
        images.read_labels(images.pairs[0][1])
    (tmp_path / "labels" / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read as labels"):
        images.read_labels(images.pairs[0][1])


def test_ids_become_proposals_or_classes():
    label_map = np.array([[0, 3], [7, 3]], dtype=np.uint8)
    assert as_proposals(label_map).tolist() == [[0, 1], [2, 1]]
    assert as_classes(label_map, has_background=True).tolist() == [[0, 3], [7, 3]]
    assert as_classes(label_map, has_background=False).tolist() == [[NOTHING, 2], [6, 2]]


def test_the_central_square_keeps_image_and_labels_together():
    labels = np.repeat(np.arange(12, dtype=np.int16)[None], 6, axis=0)
    image = np.repeat((labels * 10).astype(np.uint8)[..., None], 3, axis=2)
    square, square_labels = crop_square(image, labels, 6)
    assert square_labels[0].tolist() == [3, 4, 5, 6, 7, 8]
    assert np.array_equal(square[..., 0], square_labels * 10)
    assert crop_square(image, labels, 12)[1][0].tolist() == [3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]


class Remembering:
    def __init__(self):
        self.added = []

    def add(self, prediction, labels):
        self.added.append((prediction, labels))


class Clusters:
    def __init__(self, count=1):
        self.count = count

    def with_clusters(self, clusters):
        return Clusters(clusters)

    def initialize(self, frame):
        if frame.index == 1:
            raise EmptyMaskError("nothing")
        return np.full(frame.size, self.count, dtype=np.uint8)


def test_each_image_is_run_and_scored(trees):
    scorer = Remembering()
    images = labelled_images(trees / "cityscapes", "cityscapes")
    assert list(score_images(Clusters(4), images, scorer, semantic=True)) == [
        "ulm_a1_leftImg8bit",
        "ulm_a2_leftImg8bit",
    ]
    (first, labels), (second, _) = scorer.added
    assert (first == 3).all()
    assert (labels == 19).all()
    assert (second == NOTHING).all()


def test_true_clusters_are_each_images_number_of_classes(trees):
    label = trees / "cityscapes" / "gtFine" / "val" / "ulm" / "ulm_a1_gtFine_labelIds.png"
    values = np.full(SIZE, 26, dtype=np.uint8)
    values[0], values[1], values[2] = 7, 8, 0
    Image.fromarray(values).save(label)
    images, scorer = labelled_images(trees / "cityscapes", "cityscapes"), Remembering()
    list(score_images(Clusters(), images, scorer, semantic=True, true_clusters=True, limit=1, square=6))
    assert [prediction.shape for prediction, _ in scorer.added] == [(6, 6)]
    assert (scorer.added[0][0] == 2).all()
    with pytest.raises(OptionError, match="object takes no number of clusters; diffseg does"):
        list(score_images(object(), images, scorer, true_clusters=True))


def test_labels_of_another_size_are_an_error(trees):
    path = trees / "voc" / "SegmentationClass" / "a1.png"
    Image.fromarray(np.zeros((3, 3), dtype=np.uint8)).save(path)
    with pytest.raises(InputError, match=r"a1\.png: labels are 3x3, the image is 8x6"):
        list(score_images(Clusters(), labelled_images(trees / "voc", "voc"), Remembering()))


def test_the_layouts_are_those_of_the_command_line():
    from vos.cli.init_eval import command

    option = next(parameter for parameter in command.params if parameter.name == "layout")
    assert list(option.type.choices) == list(LAYOUTS)
