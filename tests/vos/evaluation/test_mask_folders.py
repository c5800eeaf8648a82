"""Folders of masks: protocols, every fault at once, processes."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import vos
from vos.errors import InputError, OptionError
from vos.evaluation import DavisTree, FaultsError, Scores, score_sequence
from vos.evaluation.datasets.sequence_folders import png_files
from vos.io.masks.mask_file import read_stored_label_map
from vos.plugin import PALETTE

SEQUENCES = ("bear", "dog")
FRAMES = 20


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, blobs: Callable[..., np.ndarray]) -> Path:
    """A DAVIS tree of two sequences, and predictions beside it that are the truth moved."""
    root = tmp_path_factory.mktemp("tree")
    for seed, name in enumerate(SEQUENCES):
        maps = blobs(seed, objects=seed + 2, frames=FRAMES)
        for folder, shift in (("Annotations", 0), ("predictions", 2)):
            at = root / folder / ("480p" if shift == 0 else "") / name
            at.mkdir(parents=True)
            for n, label_map in enumerate(maps):
                vos.write_label_map(at / f"{n:05d}.png", np.roll(label_map, shift, axis=1))
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("bear\ndog\n")
    (root / "ImageSets" / "2017" / "one.txt").write_text("dog\n")
    return root


@pytest.fixture
def predictions(tree: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(tree / "predictions", tmp_path / "mine"))


def maps_in(folder: Path) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def values(scores: Scores) -> list[list[float]]:
    return [[*one.j.tolist(), *one.f.tolist()] for _, one in scores.objects]


def test_equal_to_the_plain_procedure(tree: Path, plain: ModuleType) -> None:
    scores = vos.evaluate(tree, tree / "predictions", sequences="2017/val")
    expected = plain.score_folders(tree / "Annotations" / "480p", tree / "predictions", list(SEQUENCES))
    assert [s.name for s in scores.sequences] == list(SEQUENCES)
    for sequence in scores.sequences:
        j, f = expected[sequence.name]
        assert [one.j.tolist() for one in sequence.objects] == j.tolist()
        assert [one.f.tolist() for one in sequence.objects] == f.tolist()
        for row, one in enumerate(sequence.objects):
            found = one.j_statistics
            assert (found.mean, found.recall, found.decay) == pytest.approx(plain.plain_statistics(j[row]), abs=1e-12)
            assert one.frames == tuple(f"{n:05d}" for n in range(1, FRAMES - 1))


def test_merged_protocol(tree: Path, plain: ModuleType) -> None:
    scores = vos.evaluate(tree, tree / "predictions", protocol="davis-2016")
    expected = plain.score_folders(tree / "Annotations/480p", tree / "predictions", list(SEQUENCES), merge=True)
    assert values(scores) == [[*expected[name][0][0], *expected[name][1][0]] for name in SEQUENCES]


@pytest.mark.parametrize("protocol", ["davis-2017", "davis-2017-unsupervised", "youtube-vos"])
def test_processes_change_nothing(tree: Path, protocol: str) -> None:
    told: list[tuple[int, int]] = []
    one = vos.evaluate(tree, tree / "predictions", protocol=protocol)
    two = vos.evaluate(tree, tree / "predictions", protocol=protocol, workers=2, progress=lambda *n: told.append(n))
    assert values(one) == values(two)
    assert one.summary() == two.summary()
    assert told[-1][0] == told[-1][1] > 0


def test_a_script_without_a_guard_is_told_what_it_needs(tree: Path, tmp_path: Path) -> None:
    """Processes that are spawned, as where a thread runs, import the script, and run it again; they die of that."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, threading, vos\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "try:\n    vos.evaluate(*sys.argv[1:], workers=2)\n"
        "except vos.VosError as error:\n    sys.exit(str(error))\n"
    )
    command = [sys.executable, script, tree, tree / "predictions"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    # Python 3.13 may add a warning of its own behind the message.
    said = [line for line in result.stderr.splitlines() if line.startswith("a scoring process died")]
    assert ['__name__ == "__main__"' in line for line in said] == [True], result.stderr


def test_where_the_truth_may_be(tree: Path, tmp_path: Path) -> None:
    whole = vos.evaluate(tree, tree / "predictions")
    folders = vos.evaluate(tree / "Annotations" / "480p", tree / "predictions")
    assert values(whole) == values(folders)
    dog = vos.evaluate(tree, tree / "predictions", sequences="2017/one")
    alone = vos.evaluate(tree / "Annotations/480p/dog", tree / "predictions/dog")
    listed = tmp_path / "names.txt"
    listed.write_text("dog\n")
    by_file = vos.evaluate(tree / "Annotations/480p", tree / "predictions", sequences=str(listed))
    assert values(dog) == values(alone) == values(by_file) == values(whole)[2:]


def test_all_frames_and_sparse(tree: Path) -> None:
    plain, everything, sparse = (
        vos.evaluate(tree, tree / "predictions", **more)  # type: ignore[arg-type]
        for more in ({}, {"all_frames": True}, {"protocol": "sparse"})
    )
    for (_, inner), (_, outer), (_, rest) in zip(plain.objects, everything.objects, sparse.objects, strict=True):
        assert outer.j[1:-1].tolist() == inner.j.tolist()
        assert outer.f[1:].tolist() == rest.f.tolist()
        assert outer.frames[0] == "00000"


def test_only_annotated_frames_count(tree: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth" / "bear"
    truth.mkdir(parents=True)
    for n in (0, 5, 11, 19):
        shutil.copy(tree / f"Annotations/480p/bear/{n:05d}.png", truth)
    scores = vos.evaluate(tmp_path / "truth", tree / "predictions", protocol="sparse")
    whole = vos.evaluate(tree, tree / "predictions", all_frames=True)
    assert "a tracker is given the first one's masks" in whole.notes[0]
    assert whole.to_json()["skip_first"] is False
    assert scores.objects[0][1].frames == ("00005", "00011", "00019")
    assert scores.objects[0][1].j.tolist() == whole.objects[0][1].j[[5, 11, 19]].tolist()


def late_object() -> tuple[np.ndarray, np.ndarray]:
    truth = np.zeros((6, 20, 30), dtype=np.uint8)
    truth[:, 2:8, 2:8] = 1
    truth[3:, 10:18, 15:25] = 2
    prediction = truth.copy()
    prediction[5, 10:14] = 0
    return truth, prediction


def test_objects_that_appear_later() -> None:
    truth, prediction = late_object()
    youtube = score_sequence(truth, prediction, "youtube-vos")
    assert [(one.object_id, len(one.j)) for one in youtube.objects] == [(1, 5), (2, 2)]
    assert youtube.objects[1].j.tolist() == [1.0, 0.5]
    davis = score_sequence(truth, prediction, "davis-2017")
    assert [one.object_id for one in davis.objects] == [1]
    assert davis.notes == ("objects 2 first appear after the first annotated frame; davis-2017 does not score them",)


def test_ids_with_gaps() -> None:
    truth = np.zeros((5, 20, 30), dtype=np.uint8)
    truth[:, 2:8, 2:8], truth[:, 10:18, 15:25] = 1, 3
    default = score_sequence(truth, truth, "davis-2017")
    official = score_sequence(truth, truth, vos.evaluation.protocol_named("davis-2017", official=True))
    assert [one.object_id for one in default.objects] == [1, 3]
    assert [one.object_id for one in official.objects] == [1, 2, 3]
    assert official.objects[1].j.tolist() == [1, 1, 1]  # the official tool counts the gap as an object, always right


def test_void_is_cut_out_only_where_the_protocol_says_so(plain: ModuleType) -> None:
    truth, prediction = late_object()
    truth[:, 4:12, 6:20] = 255
    unsupervised = score_sequence(truth, prediction, "davis-2017-unsupervised").objects[0]
    void = truth[2] == 255
    assert unsupervised.j[2] == plain.plain_j(truth[2] == 1, prediction[2] == 1, void)
    assert unsupervised.f[2] == plain.plain_f(truth[2] == 1, prediction[2] == 1, void)
    semi = score_sequence(truth, prediction, "davis-2017").objects[0]
    assert semi.j[1] == plain.plain_j(truth[2] == 1, prediction[2] == 1)


def test_proposals_may_have_any_ids_but_not_too_many() -> None:
    truth, _ = late_object()
    renamed = np.array([0, 77, 200], dtype=np.uint8)[truth]
    scores = score_sequence(truth, renamed, "davis-2017-unsupervised")
    assert [(one.object_id, one.proposal_id, one.j.mean()) for one in scores.objects] == [(1, 77, 1.0)]
    with pytest.raises(InputError, match="make more than 20 proposals"):
        score_sequence(truth, renamed, vos.evaluation.protocol_named("davis-2017-unsupervised", official=True))
    many = np.arange(600, dtype=np.uint8).reshape(20, 30) % 22 + np.zeros((6, 1, 1), dtype=np.uint8)
    with pytest.raises(InputError, match="frame 00000: .*make more than 20 proposals"):
        score_sequence(truth, many, "davis-2017-unsupervised")


@pytest.mark.parametrize("official", [False, True])
def test_twenty_proposals_are_not_too_many(official: bool) -> None:
    truth, _ = late_object()
    twenty = np.arange(600, dtype=np.uint8).reshape(20, 30) % 21 + np.zeros((6, 1, 1), dtype=np.uint8)
    rules = vos.evaluation.protocol_named("davis-2017-unsupervised", official=official)
    assert len(score_sequence(truth, twenty, rules).objects) == 1


def test_an_object_that_no_proposal_is_left_for_says_so() -> None:
    truth = np.zeros((4, 20, 30), dtype=np.uint8)
    truth[:, 2:8, 2:8], truth[:, 12:18, 20:28] = 1, 2
    only_second = np.where(truth == 2, 2, 0).astype(np.uint8)  # so that id 1 is a number, and no proposal
    scores = score_sequence(truth, only_second, "davis-2017-unsupervised")
    assert [(one.object_id, one.proposal_id, one.j.mean()) for one in scores.objects] == [(1, None, 0.0), (2, 2, 1.0)]


def test_the_official_tool_refuses_an_object_before_the_protocol_knows_it() -> None:
    truth, _ = late_object()
    score_sequence(truth, truth, "davis-2017")
    with pytest.raises(InputError, match=r"frame 0000\d: id 2 not in the truth \(its objects: 1\)"):
        score_sequence(truth, truth, vos.evaluation.protocol_named("davis-2017", official=True))


def test_an_object_without_a_scored_frame_leaves_the_categories_alone() -> None:
    truth = np.zeros((4, 20, 30), dtype=np.uint8)
    truth[:, 2:8, 2:8], truth[3, 12:18, 20:28] = 1, 2  # the second is there from the last frame on
    rules = vos.evaluation.protocol_named("youtube-vos")
    sequence = score_sequence(truth, truth, rules, name="late")
    assert [len(one.j) for one in sequence.objects] == [3, 0]
    for unseen in (frozenset(), frozenset({("late", 2)})):
        table = Scores("mine", rules, 0.008, (sequence,), unseen).by_category()
        assert table == {"g": 1.0, "j_seen": 1.0, "f_seen": 1.0}


def test_black_and_white_masks_are_one_object(tree: Path, predictions: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth" / "bear"
    truth.mkdir(parents=True)
    for path in (tree / "Annotations/480p/bear").glob("*.png"):
        Image.fromarray((np.array(Image.open(path)) > 0).astype(np.uint8) * 255).save(truth / path.name)
    for path in (predictions / "bear").glob("*.png"):
        Image.fromarray(np.array(Image.open(path)) > 0).save(path)
    found = vos.evaluate(tmp_path / "truth", predictions)
    merged = vos.evaluate(tree, tree / "predictions", protocol="davis-2016", sequences=["bear"])
    assert values(found) == values(merged)


@pytest.mark.parametrize("protocol", ["sa-v", "lvos", "mose", "youtube-vos"])
def test_black_and_white_masks_are_one_object_that_may_appear_later(tmp_path: Path, protocol: str) -> None:
    inside = "v/000" if protocol == "sa-v" else "v"
    for value in (1, 255):
        (tmp_path / f"{value}" / inside).mkdir(parents=True)
        for n in range(6):
            mask = np.zeros((20, 30), dtype=np.uint8)
            mask[4:12, 4 + n : 14 + n] = value if n > 1 else 0
            Image.fromarray(mask).save(tmp_path / f"{value}" / inside / f"{n:05d}.png")
    expected = vos.evaluate(tmp_path / "1", tmp_path / "1", protocol=protocol)
    for predicted in ("1", "255"):
        found = vos.evaluate(tmp_path / "255", tmp_path / predicted, protocol=protocol)
        assert values(found) == values(expected)
        assert found.j.mean == 1


def test_black_and_white_label_maps_in_memory_are_scored_as_files() -> None:
    truth, prediction = late_object()
    truth, prediction = truth * (truth == 1), prediction * (prediction == 1)
    prediction[:, :4] = 0
    expected = score_sequence(truth, prediction, "davis-2016").objects[0].j.tolist()
    assert expected == [2 / 3] * 4
    for known, found in ((truth * 255, prediction * 255), (truth * 255, prediction), (truth, prediction * 255)):
        for protocol in ("davis-2016", "davis-2017"):
            assert score_sequence(known, found, protocol).objects[0].j.tolist() == expected
    truth[:2] = 0
    later = score_sequence(truth * 255, truth * 255, "youtube-vos")
    assert [(one.object_id, one.j.tolist()) for one in later.objects] == [(1, [1, 1, 1])]
    mixed = truth * 255
    mixed[4, 0] = 3
    with pytest.raises(InputError, match="frame 00004: values besides 0 and 255, though the first annotation that"):
        score_sequence(mixed, truth, "youtube-vos")
    two = np.stack([late_object()[0][5]] * 3)
    with pytest.raises(InputError, match="frame 00001: only 0 and 255, where the objects are 1, 2. Write ids"):
        score_sequence(two, np.where(two > 1, 255, 0).astype(np.uint8))


@pytest.mark.parametrize("protocol", ["lvos", "mose", "youtube-vos"])
def test_black_and_white_predictions_beside_objects_that_appear_later_are_refused(
    tmp_path: Path, protocol: str
) -> None:
    truth, _ = late_object()
    prediction = np.where(truth == 1, 255, 0).astype(np.uint8)
    for name, label_maps in (("truth", truth), ("mine", prediction)):
        (tmp_path / name / "v").mkdir(parents=True)
        for n, label_map in enumerate(label_maps):
            Image.fromarray(label_map).save(tmp_path / name / "v" / f"{n:05d}.png")
    with pytest.raises(FaultsError, match="00001.png: only 0 and 255, where the objects are 1, 2. Write ids"):
        vos.evaluate(tmp_path / "truth", tmp_path / "mine", protocol=protocol)
    with pytest.raises(InputError, match="frame 00001: only 0 and 255, where the objects are 1, 2. Write ids"):
        score_sequence(truth, prediction, protocol)


@pytest.mark.parametrize("palette", [False, True])
def test_grey_steps_in_the_truth_are_refused(tree: Path, predictions: Path, tmp_path: Path, palette: bool) -> None:
    (tmp_path / "truth" / "bear").mkdir(parents=True)
    for n, path in enumerate(png_files(tree / "Annotations/480p/bear")):
        grey = Image.fromarray(np.array([0, 127, 255 if n else 0], np.uint8)[np.array(Image.open(path))])
        if palette:
            grey.putpalette([value for value in range(256) for _ in range(3)])
        grey.save(tmp_path / "truth" / "bear" / path.name)
    with pytest.raises(
        FaultsError, match="1 fault.*\n.*00000.png: the .* hold the grey values 127, 255: 255 may be void"
    ):
        vos.evaluate(tmp_path / "truth", predictions, protocol="davis-2016")


@pytest.mark.parametrize("protocol", ["davis-2017", "davis-2016", "vost"])
def test_a_first_truth_without_objects_is_refused_in_memory_too(protocol: str) -> None:
    truth, prediction = late_object()
    truth[0] = 0
    with pytest.raises(InputError, match=r'"dog": frame 00000: no object in the first .*such as youtube-vos'):
        score_sequence(truth, prediction, protocol, name="dog")


@pytest.mark.parametrize("count", [1, 5, 7])
def test_each_frame_has_a_name(count: int) -> None:
    truth, prediction = late_object()
    with pytest.raises(InputError, match=f"{count} names of frames for 6 frames"):
        score_sequence(truth, prediction, "youtube-vos", frames=["x"] * count)


def meta(seen: set[str]) -> str:
    """A meta.json whose objects say whether they are seen, if any are."""
    videos = {"bear": {"1": "bear", "2": "person"}, "dog": {"1": "dog", "2": "dog", "3": "kite"}}
    content = {
        video: {"objects": {i: {"category": c} | ({"seen": c in seen} if seen else {}) for i, c in objects.items()}}
        for video, objects in videos.items()
    }
    return json.dumps({"videos": content})


def test_seen_and_unseen(tree: Path, tmp_path: Path) -> None:
    marked, bare, training = (tmp_path / name for name in ("marked.json", "bare.json", "training.json"))
    marked.write_text(meta({"bear", "dog"}))
    bare.write_text(meta(set()))
    training.write_text(
        json.dumps({"videos": {"x": {"objects": {"1": {"category": "bear"}, "2": {"category": "dog"}}}}})
    )
    scores = vos.evaluate(tree, tree / "predictions", protocol="youtube-vos", meta=marked)
    other = vos.evaluate(tree, tree / "predictions", protocol="youtube-vos", meta=bare, seen_meta=training)
    table = scores.by_category()
    assert table == other.by_category()
    assert table is not None
    unseen = [one for name, one in scores.objects if (name, one.object_id) in {("bear", 2), ("dog", 3)}]
    assert table["j_unseen"] == pytest.approx(np.mean([one.j.mean() for one in unseen]))
    assert table["g"] == pytest.approx(np.mean([table[f"{m}_{g}"] for m in "jf" for g in ("seen", "unseen")]))
    with pytest.raises(InputError, match='do not say "seen"'):
        vos.evaluate(tree, tree / "predictions", protocol="youtube-vos", meta=bare)
    content = json.loads(meta({"bear", "dog"}))
    del content["videos"]["bear"], content["videos"]["dog"]["objects"]["2"]
    marked.write_text(json.dumps(content))
    missing = r"marked.json: lacks 3 of 5 scored objects, first object 1 of bear, object 2 of bear, object 2 of dog\."
    with pytest.raises(InputError, match=missing):
        vos.evaluate(tree, tree / "predictions", protocol="youtube-vos", meta=marked)
    bare.write_text("[]")
    with pytest.raises(InputError, match=r"bare.json: not a YouTube-VOS meta.json"):
        vos.evaluate(tree, tree / "predictions", protocol="youtube-vos", meta=bare)


def test_categories_without_effect_are_refused(tree: Path) -> None:
    with pytest.raises(InputError, match=r"davis-2017 scores other objects and frames. Add --protocol youtube-vos"):
        vos.evaluate(tree, tree / "predictions", meta="meta.json")
    with pytest.raises(InputError, match=r"--seen-meta train.json names the seen categories, and no --meta"):
        vos.evaluate(tree, tree / "predictions", protocol="youtube-vos", seen_meta="train.json")


def faults(tree: Path, predictions: Path, **more: object) -> list[str]:
    with pytest.raises(FaultsError) as caught:
        vos.evaluate(tree, predictions, **more)  # type: ignore[arg-type]
    return [fault.removeprefix(f"{predictions}/") for fault in caught.value.faults]


def test_every_fault_at_once(tree: Path, predictions: Path) -> None:
    dog, bear = predictions / "dog", predictions / "bear"
    (dog / "00003.png").unlink()
    Image.open(dog / "00004.png").resize((45, 30)).save(dog / "00004.png")
    stray = np.array(Image.open(dog / "00005.png"))
    stray[:3], stray[5:8] = 9, 12
    vos.write_label_map(dog / "00005.png", stray)
    Image.open(dog / "00006.png").convert("RGB").save(dog / "00006.png")
    ramp = np.tile(np.arange(90, dtype=np.uint8), (60, 1))
    Image.fromarray(ramp).save(dog / "00007.png")
    whole = (dog / "00008.png").read_bytes()
    (dog / "00008.png").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    damaged[damaged.index(b"IDAT") + 20] ^= 255
    (dog / "00009.png").write_bytes(damaged)
    (dog / "00010.png").write_bytes(b"")
    (dog / "00011.png").write_text("no picture")
    Image.fromarray(np.zeros((60, 90), dtype=np.uint16)).save(dog / "00012.png")
    Image.fromarray((stray > 0).astype(np.uint8) * 255).save(dog / "00013.png")
    soft = stray.copy()
    soft[0, :5] = 255
    vos.write_label_map(dog / "00014.png", soft)
    for n in (0, FRAMES - 1):  # not scored, so nobody minds
        (dog / f"{n:05d}.png").unlink()
    expected = [
        "dog/00003.png: no such file",
        "dog/00004.png: prediction is 30x45, annotation is 60x90. Predict at the annotation's size.",
        "dog/00006.png: an RGB picture, expected a palette or greyscale PNG with ids",
        "dog/00007.png: 90 different values, as of an anti-aliased mask or a photo; expected ids",
        "dog/00008.png: a truncated PNG file",
        "dog/00009.png: a damaged PNG file: its data do not fit their checksum",
        "dog/00010.png: an empty file",
        "dog/00011.png: not a picture",
        "dog/00012.png: more than 8 bits a pixel, expected 8-bit ids",
        "dog/00013.png: only 0 and 255, where the objects are 1, 2, 3. Write ids",
        "dog/00014.png: 255 among other values, as of void or of a mask with soft edges; expected ids",
        "dog/00005.png: ids 9, 12 not in the truth (its objects: 1, 2, 3)",
    ]
    assert faults(tree, predictions) == faults(tree, predictions, workers=2) == expected
    shutil.rmtree(bear)
    with pytest.raises(FaultsError) as caught:
        vos.evaluate(tree, predictions)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{predictions}: 13 faults, nothing was scored."
    assert lines[1] == f"  {bear}: no such folder (18 frames to score)"
    assert lines[-2:] == ["  ... and 3 more.", "vos eval --missing zero scores missing frames and sequences as empty."]
    assert len(lines) == 13


def test_missing_zero(tree: Path, predictions: Path) -> None:
    whole = vos.evaluate(tree, predictions)
    for n in (3, 4):
        (predictions / "dog" / f"{n:05d}.png").unlink()
    shutil.rmtree(predictions / "bear")
    scores = vos.evaluate(tree, predictions, missing="zero")
    assert scores.notes == [
        'sequence "bear": 18 of 18 frames have no prediction and were scored as empty',
        'sequence "dog": 2 of 18 frames have no prediction and were scored as empty',
    ]
    expected = whole.sequences[1].objects[0].j.copy()
    expected[2:4] = 0
    assert scores.sequences[1].objects[0].j.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("truth", "mine", "more", "message"),
    [
        ("nowhere", "predictions", {}, "nowhere: no such folder of annotations"),
        (".", "nowhere", {}, "nowhere: no such folder of predictions"),
        (".", "ImageSets", {}, "none of the 2 sequences is in it, first bear. It holds: 2017"),
        (".", "predictions", {"sequences": ["cat"]}, "1 of 1 sequences asked for are not there, first cat"),
        (".", "predictions", {"sequences": "2017/one", "only": ["bear"]}, "2017/one has no sequence bear. It has: dog"),
        (".", "predictions", {"missing": "typo"}, 'missing is "typo", expected error or zero'),
        (".", "predictions", {"protocol": "mose", "official": True}, "mose has no official form"),
        (".", "predictions", {"protocol": "sparse", "official": True}, "Leave --official out."),
        (".", "predictions", {"sequences": "2017/vla"}, "no set 2017/vla. There are: 2017/one, 2017/val"),
        ("Annotations/480p", "predictions", {"sequences": "2017/val"}, "has no ImageSets"),
        (".", "predictions", {"protocol": "davis"}, 'no protocol named "davis". There are: davis-2016'),
        (".", "predictions", {"workers": 0}, "workers is 0"),
        (".", "predictions", {"tolerance": 2.5}, "boundary tolerance is 2.5"),
    ],
)
def test_wrong_arguments(tree: Path, truth: str, mine: str, more: dict[str, object], message: str) -> None:
    with pytest.raises((InputError, OptionError)) as caught:
        vos.evaluate(tree / truth, tree / mine, **more)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_faults_of_the_truth(tree: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    shutil.copytree(tree / "Annotations/480p", truth)
    Image.open(truth / "bear/00004.png").convert("RGB").save(truth / "bear/00004.png")
    vos.write_label_map(truth / "dog/00000.png", np.zeros((60, 90), dtype=np.uint8))
    found = faults(truth, tree / "predictions")
    assert found == [
        f"{truth}/dog/00000.png: no object in the first annotated frame, whose objects davis-2017 scores. Take a "
        "protocol that scores objects which appear later, such as youtube-vos, or leave the sequence out (--sequence "
        "or --set names the others)",
        f"{truth}/bear/00004.png: an RGB picture, expected a palette or greyscale PNG with ids",
    ]
    for path in sorted((truth / "dog").glob("*.png"))[2:]:
        path.unlink()
    with pytest.raises(FaultsError, match="vos eval --all-frames scores first and last frames too"):
        vos.evaluate(truth, tree / "predictions")
    advice = faults(truth, tree / "predictions")[0]
    assert "dog: 2 PNG files, and davis-2017 leaves none of them to score" in advice
    assert "--sequence or --set names the others" in advice, "vos davis has both, and no --set FILE"
    assert "--all-frames" not in advice, "that would score the given first frame of every sequence"


def test_any_lossless_way_to_store_ids_reads_the_same(tmp_path: Path) -> None:
    label_map = np.random.default_rng(0).integers(0, 5, (37, 61), dtype=np.uint8)
    vos.write_label_map(tmp_path / "palette.png", label_map)
    image = Image.fromarray(label_map)
    image.save(tmp_path / "grey.png")
    image.save(tmp_path / "grey-small.png", optimize=True, compress_level=9)
    few = image.copy()
    few.putpalette(PALETTE[:16].tobytes())
    few.save(tmp_path / "four-bits.png", bits=4)
    import cv2

    cv2.imwrite(str(tmp_path / "filtered.png"), label_map, [cv2.IMWRITE_PNG_STRATEGY, 1])
    for path in tmp_path.glob("*.png"):
        assert np.array_equal(read_stored_label_map(path).label_map, label_map), path.name


def test_interlaced_rows_are_put_in_order(tmp_path: Path) -> None:
    """A column of pixels: interlaced, its data are as long as in order, and come in another one."""
    column = np.arange(1, 10, dtype=np.uint8)
    passes = (column[::8], column[4::8], column[2::4], column[1::2])
    rows = b"".join(bytes([0, value]) for values in passes for value in values.tolist())
    header = struct.pack(">IIBBBBB", 1, len(column), 8, 0, 0, 0, 1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    framed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    assert read_stored_label_map(tmp_path / "a.png").label_map.tolist() == column[:, None].tolist()


def test_layouts_of_a_tree(tree: Path, tmp_path: Path) -> None:
    davis = DavisTree(tree)
    assert davis.sets() == ["2017/one", "2017/val"]
    assert davis.sequences() == davis.sequences("2017/val") == ["bear", "dog"]
    assert davis.annotations("dog")[3].name == "00003.png"
    with pytest.raises(InputError, match="no images in it"):
        davis.frames("dog")
    with pytest.raises(InputError, match=r"no resolution 1080p. There is: 480p"):
        DavisTree(tree, "1080p")
    with pytest.raises(InputError, match="no folder Annotations"):
        DavisTree(tmp_path)
    (tmp_path / "Annotations/video").mkdir(parents=True)
    assert DavisTree(tmp_path).annotation_folder == tmp_path / "Annotations"
    (tmp_path / "Annotations_unsupervised/480p").mkdir(parents=True)
    assert DavisTree(tmp_path, unsupervised=True).annotation_folder == tmp_path / "Annotations_unsupervised/480p"
    (tmp_path / "ImageSets").mkdir()
    old = "/JPEGImages/480p/video/00000.jpg /Annotations/480p/video/00000.png\n"
    (tmp_path / "ImageSets/old.txt").write_text(old + old.replace("00000", "00001"))
    assert DavisTree(tmp_path).sequences("old") == ["video"]
    (tmp_path / "ImageSets/lost.txt").write_text("gone\n")
    with pytest.raises(InputError, match="1 of its sequences have no annotations, first gone"):
        DavisTree(tmp_path).sequences("lost")


def test_the_resolution_of_the_benchmark_is_taken_first(tmp_path: Path) -> None:
    for name in ("1080p", "Full-Resolution", "480p"):
        (tmp_path / "Annotations" / name).mkdir(parents=True)
        assert DavisTree(tmp_path).resolution == name


def test_a_set_says_its_protocol(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "davis")
    shutil.copytree(tree / "ImageSets/2017", tmp_path / "davis/ImageSets/2016")
    found = [
        vos.evaluate(tmp_path / "davis", tree / "predictions", sequences=name) for name in ("2016/val", "2017/val")
    ]
    assert [scores.protocol.name for scores in found] == ["davis-2016", "davis-2017"]
    assert [len(scores.objects) for scores in found] == [2, 5]


def test_a_set_lists_names_with_spaces_or_frames(tmp_path: Path) -> None:
    for name in ("bear", "my dog"):
        (tmp_path / "Annotations/480p" / name).mkdir(parents=True)
    (tmp_path / "ImageSets/2017").mkdir(parents=True)
    frames = (f"/JPEGImages/480p/{{0}}/{n:05d}.jpg /Annotations/480p/{{0}}/{n:05d}.png\n" for n in range(3))
    listed = "".join(frames)
    for text in ("bear\nmy dog\n", listed.format("bear") + listed.format("my dog")):
        (tmp_path / "ImageSets/2017/val.txt").write_text(text)
        assert DavisTree(tmp_path).sequences("2017/val") == ["bear", "my dog"]


def test_frames_without_leading_zeros_keep_their_order(tree: Path, tmp_path: Path) -> None:
    for folder, at in (("truth", tree / "Annotations/480p"), ("mine", tree / "predictions")):
        (tmp_path / folder / "dog").mkdir(parents=True)
        for path in (at / "dog").iterdir():
            shutil.copy(path, tmp_path / folder / "dog" / f"{int(path.stem)}.png")
    scores = vos.evaluate(tmp_path / "truth", tmp_path / "mine")
    assert scores.objects[0][1].frames == tuple(str(n) for n in range(1, FRAMES - 1))
    assert values(scores) == values(vos.evaluate(tree, tree / "predictions"))[2:]


def test_an_object_that_appears_in_the_last_frame_has_no_score() -> None:
    truth, prediction = late_object()
    truth[:5] = np.where(truth[:5] == 2, 0, truth[:5])
    sequence = score_sequence(truth, prediction, "youtube-vos")
    assert [len(one.j) for one in sequence.objects] == [5, 0]
    scores = Scores("x", vos.evaluation.protocol_named("youtube-vos"), 0.008, (sequence,))
    assert scores.j.mean == sequence.j.mean == 1.0
    written = scores.to_json()["sequences"][0]["objects"][1]
    assert (written["j_mean"], written["j"]) == (None, [])


@pytest.mark.parametrize("seed", range(4))
def test_unsupervised_is_equal_to_the_plain_procedure(
    blobs: Callable[..., np.ndarray], plain: ModuleType, seed: int
) -> None:
    from scipy.optimize import linear_sum_assignment

    truth = blobs(seed, objects=3, frames=5)
    for object_id in (1, 2, 3):
        truth[0, object_id, :3] = object_id  # all are in the first frame
    order = np.array([0, 4, 1, 2, 0], dtype=np.uint8)  # proposal 3 is nothing but noise
    prediction = np.roll(order[truth], 2, axis=2)
    prediction[:, 40:45, 10:20] = 3
    truth[1:, 20:30, 30:60] = 255
    objects, proposals = 3, 4
    j, f = np.empty((2, proposals, objects, len(truth)))
    for t, (known, found) in enumerate(zip(truth, prediction, strict=True)):
        for p in range(proposals):
            for o in range(objects):
                pair = (known == o + 1, found == p + 1, known == 255)
                j[p, o, t], f[p, o, t] = plain.plain_j(*pair), plain.plain_f(*pair)
    rows, columns = linear_sum_assignment(-(j.mean(axis=2) + f.mean(axis=2)))
    scores = score_sequence(truth, prediction, "davis-2017-unsupervised")
    for row, column in zip(rows, columns, strict=True):
        one = scores.objects[column]
        assert one.object_id == column + 1
        assert one.proposal_id == row + 1
        assert one.j.tolist() == j[row, column].tolist()
        assert one.f.tolist() == f[row, column].tolist()


def test_the_order_of_files_whose_names_begin_with_digits_of_other_scripts(tmp_path: Path) -> None:
    for name in ["a10.png", "a9.png", "٣0.png", "²1.png", "7.png"]:
        (tmp_path / name).touch()
    assert [path.name for path in png_files(tmp_path)] == ["²1.png", "7.png", "٣0.png", "a9.png", "a10.png"]


def test_folders_without_masks_are_no_sequences(tree: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    shutil.copytree(tree / "Annotations/480p", truth)
    (truth / "@eaDir" / "00000.png").mkdir(parents=True)
    scores = vos.evaluate(truth, tree / "predictions")
    assert [sequence.name for sequence in scores.sequences] == ["bear", "dog"]
    assert scores.notes == [f"{truth}: left out as no sequences, since they hold no PNG file: @eaDir"]


def test_unpadded_and_upper_case_names_are_paired_by_number(tree: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    shutil.copytree(tree / "predictions", renamed)
    for path in sorted(renamed.glob("*/*.png")):
        path.rename(path.with_name(f"{int(path.stem)}.PNG"))
    scores = vos.evaluate(tree / "Annotations/480p", renamed)
    assert scores.j_and_f == vos.evaluate(tree / "Annotations/480p", tree / "predictions").j_and_f
    assert "paired with annotations by number" in scores.notes[0]
    Image.fromarray(np.full((50, 80), 9, np.uint8)).save(renamed / "bear" / "3.PNG")
    with pytest.raises(FaultsError, match=r"bear/3\.PNG: .*9"):
        vos.evaluate(tree / "Annotations/480p", renamed)


@pytest.mark.parametrize("missing", ["error", "zero"])
def test_masks_under_other_names_are_never_scored_as_missing(tree: Path, tmp_path: Path, missing: str) -> None:
    renamed = tmp_path / "renamed"
    shutil.copytree(tree / "predictions", renamed)
    for path in sorted((renamed / "bear").glob("*.png")):
        path.rename(path.with_name(f"mask_{path.name}"))
    with pytest.raises(FaultsError, match=r"but it holds mask_00000.png and .* more") as caught:
        vos.evaluate(tree / "Annotations/480p", renamed, missing=missing)
    assert "--missing zero" not in str(caught.value)
    assert "Rename the masks" in str(caught.value)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("missing", ["error", "zero"])
def test_masks_numbered_by_order_are_not_scored_against_other_frames(tmp_path: Path, missing: str, first: int) -> None:
    """Of annotations in every fifth frame, 00005.png has a namesake among eight masks that is of the sixth of them."""
    for number in range(8):
        for kind, name in (("truth", 5 * number), ("mine", number)):
            (tmp_path / kind / "v").mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / kind / "v" / f"{name:05d}.png")
    if first:
        (tmp_path / "mine" / "v" / "00000.png").unlink()  # a tracker was given it
    with pytest.raises(FaultsError, match=r"no 00010.png and 4 more, but it holds 00001.png and 5 more") as caught:
        vos.evaluate(tmp_path / "truth", tmp_path / "mine", missing=missing)
    assert "Rename the masks" in str(caught.value)
    assert "--missing zero" not in str(caught.value)


def test_a_stray_file_is_no_renamed_one_of_several_missing_masks(tree: Path, predictions: Path) -> None:
    first, second, *_ = sorted((predictions / "bear").glob("*.png"))[5:]
    second.unlink()
    first.rename(first.with_name("overview.png"))
    with pytest.raises(FaultsError, match="2 faults(.|\n)*--missing zero scores"):
        vos.evaluate(tree, predictions)
    assert vos.evaluate(tree, predictions, missing="zero").j_and_f < 1


@pytest.mark.parametrize("missing", ["error", "zero"])
def test_a_sequence_under_another_name_is_never_scored_as_missing(tree: Path, tmp_path: Path, missing: str) -> None:
    renamed = Path(shutil.copytree(tree / "predictions", tmp_path / "renamed"))
    (renamed / "dog").rename(renamed / "dog_pred")
    with pytest.raises(FaultsError, match="dog_pred") as caught:
        vos.evaluate(tree / "Annotations/480p", renamed, missing=missing)
    assert "--missing zero" not in str(caught.value)
    assert "Rename the folders" in str(caught.value)
    assert vos.evaluate(tree / "Annotations/480p", renamed, sequences=["bear"]).notes == []


@pytest.mark.parametrize("missing", ["error", "zero"])
@pytest.mark.parametrize(("folder", "name"), [("v/001", "v/1"), ("v", "V_1")])
def test_an_object_under_another_name_is_never_scored_as_missing(
    tmp_path: Path, missing: str, folder: str, name: str
) -> None:
    for number in ("v/000", "v/001", "w/000"):
        (tmp_path / "truth" / number).mkdir(parents=True)
        for n in range(4):
            Image.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / "truth" / number / f"{n:05d}.png")
    renamed = Path(shutil.copytree(tmp_path / "truth", tmp_path / "renamed"))
    (renamed / folder).rename(renamed / name)
    with pytest.raises(FaultsError, match=f"Rename the folders .*there is {name}"):
        vos.evaluate(tmp_path / "truth", renamed, protocol="sa-v", missing=missing)
    (renamed / name).rename(tmp_path / "gone")
    if missing == "zero":
        assert vos.evaluate(tmp_path / "truth", renamed, protocol="sa-v", missing=missing).j.mean < 1


@pytest.mark.parametrize("form", ["{:05d}.png", "{}.png"])
def test_masks_numbered_from_1_are_not_scored_against_the_next_frame_unnoticed(
    tree: Path, tmp_path: Path, form: str
) -> None:
    renamed = Path(shutil.copytree(tree / "predictions", tmp_path / "renamed"))
    for path in sorted(renamed.glob("bear/*.png"), reverse=True):
        path.rename(path.with_name(form.format(int(path.stem) + 1)))
    said = "numbered from 1 to 20, annotations from 0 to 19"
    if form == "{}.png":
        with pytest.raises(FaultsError, match=said):
            vos.evaluate(tree / "Annotations/480p", renamed, missing="zero")
    else:
        assert said in vos.evaluate(tree / "Annotations/480p", renamed).notes[0]


def test_a_sequence_has_one_name_for_tracking_and_scoring(tree: Path, tmp_path: Path) -> None:
    name = 'a,b"c'
    for kind, folder in (("Annotations/480p", name), ("predictions", vos.io.atomic_files.safe_name(name))):
        shutil.copytree(tree / kind / "bear", tmp_path / kind / folder)
    scores = vos.evaluate(tmp_path / "Annotations/480p", tmp_path / "predictions")
    assert [sequence.name for sequence in scores.sequences] == [name]


def test_the_report_shows_masks_that_were_paired_by_number(tree: Path, tmp_path: Path) -> None:
    from vos.evaluation.reports.html import html_report

    renamed = Path(shutil.copytree(tree / "predictions", tmp_path / "mine"))
    expected = html_report([vos.evaluate(tree, tree / "predictions", name="mine")])
    for path in sorted(renamed.glob("*/*.png")):
        path.rename(path.with_name(f"{int(path.stem)}.PNG"))
    found = html_report([vos.evaluate(tree, renamed, name="mine")])
    assert found.count("<img") == expected.count("<img") > 0
    assert found.split("<figure>")[1:] == expected.split("<figure>")[1:]


def test_predictions_whose_palette_was_reordered_score_as_before(tree: Path, predictions: Path) -> None:
    expected = vos.evaluate(tree, predictions)
    for path in (predictions / "dog").glob("*.png"):
        ids = np.array(Image.open(path))
        image = Image.fromarray(np.array([3, 1, 2, 0], dtype=np.uint8)[ids])
        image.putpalette(PALETTE[[3, 1, 2, 0]].tobytes())
        image.save(path)
    for workers in (1, 2):
        found = vos.evaluate(tree, predictions, workers=workers)
        assert values(found) == values(expected)
        assert len(found.notes) == 1
        assert "DAVIS colours in another order" in found.notes[0]
