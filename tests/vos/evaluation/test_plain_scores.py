"""Scores that a worker process sends are the scores that it made."""

import json
from dataclasses import replace

import numpy as np

import vos
from vos.evaluation import protocol_named
from vos.evaluation.benchmark.plain_scores import from_plain, to_plain


def test_plain_scores_lose_nothing(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("truth", "found"):
        (tmp_path / kind / "dog").mkdir(parents=True)
        for n in range(5):
            label_map = rng.integers(0, 3, (24, 32)).astype(np.uint8).repeat(2, 0).repeat(2, 1)
            vos.write_label_map(tmp_path / kind / "dog" / f"{n:05d}.png", label_map)
    rules = replace(protocol_named("mose"), boundary_iou=True)
    scores = vos.evaluate(tmp_path / "truth", tmp_path / "found", protocol=rules)
    again = from_plain(json.loads(json.dumps(to_plain(scores))), rules)
    assert again.to_json() == scores.to_json()
    assert again.files == scores.files
    for (_, one), (_, other) in zip(scores.objects, again.objects, strict=True):
        for name, value in vars(one).items():
            kept = getattr(other, name)
            assert np.array_equal(value, kept) if isinstance(value, np.ndarray) else value == kept, name
            assert not isinstance(value, np.ndarray) or value.dtype == kept.dtype
