"""Equal to the official tool, value by value."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vos.evaluation import (
    HungarianScorer,
    boundary_accuracy,
    boundary_of,
    mean_of,
    protocol_named,
    region_similarity,
    score_sequence,
    tolerance_in_pixels,
)
from vos.evaluation.metrics.statistics import statistics
from vos.evaluation.reports.tables import global_csv, per_sequence_csv
from vos.evaluation.video.scores import Scores

MODES = {"semi": ("davis-2016", "davis-2017"), "unsup": ("davis-2017-unsupervised",)}


def sets_in(folder: Path) -> list[tuple[str, str]]:
    """Tags of the recorded sets with the protocol that fits the tag and the recorded number of objects."""
    found = []
    for path in sorted(folder.glob("*_maps.npz")):
        tag = path.name.removesuffix("_maps.npz")
        protocols = MODES["unsup" if "unsup" in tag else "semi"]
        maps = np.load(path)
        single = all(int(maps[key][maps[key] < 255].max(initial=0)) <= 1 for key in maps)
        found += [(tag, protocol) for protocol in protocols if protocol != "davis-2016" or single]
    return found


def golden_folder() -> Path:
    """The folder that ``VOS_GOLDEN`` names, as the fixture ``golden`` does; needed for parameters."""
    default = Path(__file__).parents[2] / "data"
    other = Path(os.environ.get("VOS_GOLDEN", default)) / "davis_eval"
    return other if other.is_dir() else default / "davis_eval"


SETS = sets_in(golden_folder())


def test_pairs(golden: Path) -> None:
    cases = np.load(golden / "unit_cases.npz")
    pairs = [name[:-3] for name in cases if name.endswith("/gt")]
    assert pairs
    for pair in pairs:
        truth, mask = cases[f"{pair}/gt"], cases[f"{pair}/pred"]
        void = cases.get(f"{pair}/void")
        assert region_similarity(truth, mask, void) == pytest.approx(float(cases[f"{pair}/J"]), abs=1e-12)
        assert boundary_accuracy(truth, mask, void) == pytest.approx(float(cases[f"{pair}/F"]), abs=1e-12)
        assert tolerance_in_pixels(0.008, truth.shape) == cases[f"{pair}/radius"]
        if void is None:
            assert np.array_equal(boundary_of(truth), cases[f"{pair}/gt_boundary"] > 0)
            assert np.array_equal(boundary_of(mask), cases[f"{pair}/pred_boundary"] > 0)


def test_statistics(golden: Path) -> None:
    cases = np.load(golden / "unit_cases.npz")
    vectors = [name[:-3] for name in cases if name.endswith("/in")]
    assert vectors
    for vector in vectors:
        values, expected = cases[f"{vector}/in"], cases[f"{vector}/MOD"]
        found = statistics(values, official=True)
        assert [found.mean, found.recall, found.decay] == pytest.approx(expected.tolist(), abs=1e-12, nan_ok=True)
        if len(values) < 256:
            plain = statistics(values)
            assert [plain.mean, plain.recall, plain.decay] == pytest.approx(expected.tolist(), abs=1e-12, nan_ok=True)


def test_decay_of_long_sequences_is_right_by_default() -> None:
    values = np.linspace(1, 0, 400)
    assert statistics(values).decay == pytest.approx(values[:101].mean() - values[299:].mean(), abs=0.01)
    assert statistics(values).decay > 0.7
    assert statistics(values, official=True).decay != pytest.approx(statistics(values).decay, abs=0.1)


def scores_of(golden: Path, tag: str, protocol: str, *, official: bool) -> Scores:
    maps = np.load(golden / f"{tag}_maps.npz")
    rules = protocol_named(protocol, official=official)
    names = dict.fromkeys(name.split("/")[0] for name in maps)
    sequences = tuple(score_sequence(maps[f"{n}/gt"], maps[f"{n}/pred"], rules, name=n) for n in names)
    return Scores(tag, rules, 0.008, sequences)


@pytest.mark.parametrize(("tag", "protocol"), SETS)
def test_sequences(golden: Path, tag: str, protocol: str) -> None:
    raw = np.load(golden / f"{tag}_raw.npz")
    scores = scores_of(golden, tag, protocol, official=True)
    for sequence in scores.sequences:
        for row, one in enumerate(sequence.objects):
            assert one.j == pytest.approx(raw[f"{sequence.name}/J"][row], abs=1e-12)
            assert one.f == pytest.approx(raw[f"{sequence.name}/F"][row], abs=1e-12)
    objects = [one for _, one in scores.objects]
    for letter, of in (("J", lambda o: o.j_statistics), ("F", lambda o: o.f_statistics)):
        table = np.array([(s.mean, s.recall, s.decay) for s in map(of, objects)])
        expected = np.stack([raw[f"all/{letter}_{part}"] for part in "MRD"], axis=1)
        assert table == pytest.approx(expected, abs=1e-9)
    assert list(scores.summary().values()) == pytest.approx(raw["all/global"].tolist(), abs=1e-9)
    assert mean_of([o.j_statistics for o in objects]) == scores.j


@pytest.mark.parametrize(("tag", "protocol"), SETS)
def test_tables_are_the_official_ones(golden: Path, tag: str, protocol: str) -> None:
    scores = scores_of(golden, tag, protocol, official=True)
    assert global_csv(scores) == (golden / f"{tag}_global_results-val.csv").read_text()
    assert per_sequence_csv(scores) == (golden / f"{tag}_per-sequence_results-val.csv").read_text()


@pytest.mark.parametrize(("tag", "protocol"), SETS)
def test_the_default_gives_the_same_numbers_where_the_official_tool_is_right(
    golden: Path, tag: str, protocol: str
) -> None:
    official, default = (scores_of(golden, tag, protocol, official=flag) for flag in (True, False))
    assert default.summary() == pytest.approx(official.summary(), abs=1e-12)


@pytest.mark.parametrize("tag", [tag for tag, protocol in SETS if protocol.endswith("unsupervised")])
def test_matching_is_the_official_one_and_named_by_object(golden: Path, tag: str) -> None:
    raw = np.load(golden / f"{tag}_raw.npz")
    scores = scores_of(golden, tag, "davis-2017-unsupervised", official=False)
    for sequence in scores.sequences:
        rows, columns = raw[f"{sequence.name}/row_ind"] + 1, raw[f"{sequence.name}/col_ind"] + 1
        expected = dict(zip(columns.tolist(), rows.tolist(), strict=True))
        matrix = raw[f"{sequence.name}/proposal_score_matrix"]
        for one in sequence.objects:
            assert one.label == one.object_id
            assert one.proposal_id in (expected[one.object_id], None)
            assert one.j_and_f == pytest.approx(matrix[expected[one.object_id] - 1, one.object_id - 1], abs=1e-12)


def test_hungarian_counts(golden: Path) -> None:
    cases = np.load(golden / "hungarian_eval.npz")
    whole = HungarianScorer(len(cases["accumulated/tp"]))
    for case in [*cases["accumulated/order"], "accumulated"]:
        scorer = whole if case == "accumulated" else HungarianScorer(len(cases["accumulated/tp"]))
        if case != "accumulated":
            for prediction, labels in zip(cases[f"{case}/pred"], cases[f"{case}/label"], strict=True):
                scorer.add(prediction, labels)
                whole.add(prediction, labels)
        assert scorer.pixels == cases[f"{case}/all"]
        assert np.array_equal(scorer.true_positives, cases[f"{case}/tp"])
        assert np.array_equal(scorer.false_positives, cases[f"{case}/fp"])
        assert np.array_equal(scorer.false_negatives, cases[f"{case}/fn"])
        assert scorer.accuracy == pytest.approx(float(cases[f"{case}/acc"]), abs=1e-12)
        assert scorer.mean_iou == pytest.approx(float(cases[f"{case}/miou"]), abs=1e-12)


def test_merging_ignores_ids(golden: Path) -> None:
    tag = next(tag for tag, protocol in SETS if protocol == "davis-2017")
    maps = np.load(golden / f"{tag}_maps.npz")
    name = next(iter(maps)).split("/")[0]
    truth, prediction = maps[f"{name}/gt"], maps[f"{name}/pred"]
    merged = score_sequence(truth, prediction, "davis-2016")
    binary = score_sequence((truth > 0).astype(np.uint8), (prediction > 0).astype(np.uint8) * 7, "davis-2016")
    assert len(merged.objects) == 1
    assert np.array_equal(merged.objects[0].j, binary.objects[0].j)
    assert np.array_equal(merged.objects[0].f, binary.objects[0].f)
    everything = score_sequence(truth, prediction, replace(protocol_named("davis-2016"), skip_first=False))
    assert len(everything.objects[0].j) == len(merged.objects[0].j) + 1
