"""Open exported files with the libraries of the tools that they are for, and compare every mask with the truth.

Usage: check.py FOLDER, with the Python of the environment that requirements.txt describes.
"""

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from datumaro import Dataset
from label_studio_sdk.converter.brush import decode_rle, encode_rle
from pycocotools import mask as coco_mask


def mask_of(annotation, size):
    """A mask of any of datumaro's shapes."""
    if hasattr(annotation, "image"):
        return np.asarray(annotation.image, dtype=bool)
    polygons = coco_mask.frPyObjects([list(annotation.points)], *size)
    return np.asarray(coco_mask.decode(polygons)[..., 0], dtype=bool)


def compare(dataset, truth, object_of, what):
    """Every object of every frame, exactly."""
    seen = 0
    for item in dataset:
        index = int(item.id[-5:]) if item.id[-5:].isdigit() else int(item.attributes["frame"])
        found = {}
        for annotation in item.annotations:
            if annotation.attributes.get("outside") or annotation.type.name == "bbox":
                continue
            mask = mask_of(annotation, truth.shape[1:])
            key = object_of(annotation)
            found[key] = found.get(key, False) | mask
        for object_id in (3, 9):
            expected = truth[index] == object_id
            assert np.array_equal(found.get(object_id, np.zeros_like(expected)), expected), (what, index, object_id)
            seen += 1
    assert seen == 8, (what, seen)
    print(f"{what}: {seen} masks exact")


def of_label(dataset):
    """The object id in a label such as ``object 3``."""
    names = dataset.categories()
    labels = next(iter(names.values()))
    return lambda annotation: int(labels[annotation.label].name.split()[-1])


def check_datumaro(folder, truth):
    """COCO with both kinds of masks, CVAT's polygon tracks and one-frame masks, MOTS."""
    for polygons in (False, True):
        dataset = Dataset.import_from(str(folder / f"coco-{polygons}"), "coco_instances")
        compare(dataset, truth, of_label(dataset), f"datumaro, coco, polygons={polygons}")
    dataset = Dataset.import_from(str(folder / "cvat-True.xml"), "cvat")
    compare(dataset, truth, of_label(dataset), "datumaro, cvat polygon tracks")
    images = as_images(folder / "cvat-False.xml", folder / "cvat-images", truth)
    dataset = Dataset.import_from(str(images), "cvat")
    compare(dataset, truth, of_label(dataset), "datumaro, cvat masks (as images: it reads no masks in tracks)")
    (folder / "mots" / "clip" / "instances" / "labels.txt").write_text("background\nobject\n")
    dataset = Dataset.import_from(str(folder / "mots" / "clip"), "mots")
    compare(dataset, truth, lambda annotation: annotation.attributes["track_id"], "datumaro, mots")


def as_images(tracks, path, truth):
    """The same masks under image elements, since datumaro looks for their frame's size there."""
    root = ElementTree.parse(tracks).getroot()
    for index in range(len(truth)):
        height, width = truth.shape[1:]
        about = {"id": str(index), "name": f"{index:05d}.jpg", "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", about)
        for track in root.iter("track"):
            for shape in track.iter("mask"):
                if shape.get("frame") == str(index):
                    ElementTree.SubElement(image, "mask", {**shape.attrib, "label": track.get("label")})
    for track in list(root.iter("track")):
        root.remove(track)
    root.find("meta/task/mode").text = "annotation"
    shutil.copytree(tracks.parent / "coco-True" / "images", path / "images")
    ElementTree.ElementTree(root).write(path / "annotations.xml")
    return path / "annotations.xml"


def check_label_studio(folder, truth):
    """Brush masks by Label Studio's decoder; and its encoder's, for the way back."""
    seen = 0
    for index, task in enumerate(json.loads((folder / "label-studio.json").read_text())):
        for result in task["annotations"][0]["result"]:
            object_id = int(result["value"]["brushlabels"][0].split()[-1])
            pixels = decode_rle(result["value"]["rle"]).reshape(*truth.shape[1:], 4)
            assert np.array_equal(pixels[..., 3] > 0, truth[index] == object_id), (index, object_id)
            seen += 1
    print(f"label-studio-sdk: {seen} masks exact")
    encoded = [
        {"frame": index, "object": i, "rle": encode_rle(np.repeat((label_map == i).ravel(), 4).astype(np.uint8) * 255)}
        for index, label_map in enumerate(truth)
        for i in (3, 9)
    ]
    (folder / "encoded.json").write_text(json.dumps(encoded))


if __name__ == "__main__":
    place = Path(sys.argv[1])
    exact = np.load(place / "truth.npy")
    check_label_studio(place, exact)
    check_datumaro(place, exact)
