"""Open exported files with the readers of other tools, listed in trainers.txt, and compare with the truth.

Usage: check_trainers.py FOLDER. These libraries share NumPy, OpenCV and torch with the toolkit, so this runs in its
environment, with their packages alone on PYTHONPATH.
"""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import supervision as sv
import trackeval
from cvat_sdk.masks import decode_mask, encode_mask
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from training.dataset.vos_segment_loader import MultiplePNGSegmentLoader
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import polygon2mask
from ultralytics.utils import YAML

OBJECTS = (3, 9)


def near(mask, expected):
    """Equal but for pixels at the edge, and for bridges between parts, which OpenCV fills as lines."""
    square = np.ones((3, 3), np.uint8)
    inner, outer = (change(expected.astype(np.uint8), square).astype(bool) for change in (cv2.erode, cv2.dilate))
    beyond = (mask & ~outer).astype(np.uint8)
    return bool((mask >= inner).all() and not cv2.erode(beyond, square).any())


def compare(what, found, truth, equal=np.array_equal):
    """Compare masks by frame and object; an object that a frame lacks has no mask."""
    expected = {(k, i): truth[k] == i for k in range(len(truth)) for i in OBJECTS if (truth[k] == i).any()}
    assert set(found) == set(expected), (what, sorted(found), sorted(expected))
    for key, mask in expected.items():
        assert equal(found[key], mask), (what, key)
    print(f"{what}: {len(expected)} masks {'exact' if equal is np.array_equal else 'to a pixel at the edge'}")


def check_coco(folder, truth):
    """COCO's own API, and supervision's reader."""
    path = folder / "coco-False" / "annotations" / "instances_clip.json"
    coco = COCO(str(path))
    frames = {
        image["id"]: k for k, image in enumerate(sorted(coco.dataset["images"], key=lambda one: one["file_name"]))
    }
    numbers = {c["id"]: int(c["name"].split()[-1]) for c in coco.dataset["categories"]}
    found = {
        (frames[one["image_id"]], numbers[one["category_id"]]): coco.annToMask(one).astype(bool)
        for one in coco.dataset["annotations"]
    }
    compare("pycocotools, coco", found, truth)
    dataset = sv.DetectionDataset.from_coco(str(folder / "coco-False" / "images"), str(path), force_masks=True)
    compare("supervision, coco", masks_of(dataset), truth)


def masks_of(dataset):
    """The masks of a dataset of supervision by frame and object."""
    found = {}
    for k, (_, _, detections) in enumerate(sorted(dataset, key=lambda one: one[0])):
        for mask, number in zip(detections.mask if len(detections) else (), detections.class_id, strict=True):
            found[k, int(dataset.classes[number].split()[-1])] = np.asarray(mask, dtype=bool)
    return found


def check_yolo(folder, truth):
    """Ultralytics' loader, and supervision's reader."""
    data = YAML.load(folder / "yolo" / "data.yaml") | {"channels": 3}
    dataset = YOLODataset(img_path=str(folder / "yolo" / "images"), data=data, task="segment", augment=False, imgsz=64)
    found = {}
    for k, label in enumerate(sorted(dataset.labels, key=lambda one: one["im_file"])):
        for number, segment in zip(label["cls"].ravel(), label["segments"], strict=True):
            points = (segment * label["shape"][::-1]).reshape(1, -1)
            mask = polygon2mask(tuple(label["shape"]), [points], color=1, downsample_ratio=1)
            found[k, int(data["names"][int(number)].split()[-1])] = np.asarray(mask, dtype=bool)
    compare("ultralytics, yolo", found, truth, near)
    dataset = sv.DetectionDataset.from_yolo(
        str(folder / "yolo" / "images"), str(folder / "yolo" / "labels"), str(folder / "yolo" / "data.yaml"),
        force_masks=True,
    )  # fmt: skip
    compare("supervision, yolo", masks_of(dataset), truth, near)


def check_cvat(folder, truth):
    """The masks of CVAT's XML by the coder of its SDK, both ways."""
    found = {}
    for track in ElementTree.parse(folder / "cvat-False.xml").getroot().iter("track"):
        for shape in track.iter("mask"):
            if shape.get("outside") == "1":
                continue
            left, top, width, height = (int(shape.get(name)) for name in ("left", "top", "width", "height"))
            runs = [int(run) for run in shape.get("rle").split(",")]
            points = [*runs, left, top, left + width - 1, top + height - 1]
            rows, columns = truth.shape[1:]
            mask = np.asarray(decode_mask(points, image_width=columns, image_height=rows), dtype=bool)
            assert list(encode_mask(mask)) == points, "CVAT would write the same numbers"
            found[int(shape.get("frame")), int(track.get("label").split()[-1])] = mask
    compare("cvat-sdk, cvat", found, truth)


def check_youtube_vis(folder, truth):
    """TrackEval's data set: the file is the truth, and with scores and compressed codes also a tracker's results."""
    content = json.loads((folder / "youtube-vis.json").read_text())
    results = [{**track, "score": 1.0, "segmentations": compressed(track)} for track in content["annotations"]]
    for place, data in (("truth/youtube_vis_val", content), ("trackers/youtube_vis_val/vos/data", results)):
        (folder / place).mkdir(parents=True)
        (folder / place / "clip.json").write_text(json.dumps(data))
    dataset = trackeval.datasets.YouTubeVIS({
        "GT_FOLDER": f"{folder}/truth/", "TRACKERS_FOLDER": f"{folder}/trackers/", "SPLIT_TO_EVAL": "val",
        "PRINT_CONFIG": False,
    })  # fmt: skip
    raw = dataset.get_raw_seq_data("vos", "clip")
    found = {
        (k, int(number)): coco_mask.decode(code).astype(bool)
        for k, (numbers, codes) in enumerate(zip(raw["gt_ids"], raw["gt_dets"], strict=True))
        for number, code in zip(numbers, codes, strict=True)
    }
    compare("trackeval, youtube-vis", found, truth)
    for category in dataset.class_list:
        scores = trackeval.metrics.HOTA({"PRINT_CONFIG": False}).eval_sequence(
            dataset.get_preprocessed_seq_data(raw, category)
        )
        assert scores["HOTA"].min() == 1, category


def compressed(track):
    """The codes of a track as results hold them."""
    codes = [code and coco_mask.frPyObjects(code, *code["size"]) for code in track["segmentations"]]
    return [code and {**code, "counts": code["counts"].decode()} for code in codes]


def check_sav(folder, truth):
    """SAM 2's own loader, which numbers objects from 1: the folder 003 is its object 4."""
    loader = MultiplePNGSegmentLoader(str(folder / "sa-v" / "clip"))
    found = {
        (k, number - 1): mask.numpy()
        for k in range(len(truth))
        for number, mask in loader.load(k).items()
        if mask.any()
    }
    compare("sam2, sa-v", found, truth)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    exact = np.load(place / "truth.npy")
    check_coco(place, exact)
    check_yolo(place, exact)
    check_cvat(place, exact)
    check_youtube_vis(place, exact)
    check_sav(place, exact)
