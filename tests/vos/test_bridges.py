import numpy as np
import pandas
import supervision

import vos
from vos.conversion import export
from vos.testing import StubTracker, tiny_sequence


def test_detections_hold_masks_boxes_and_ids():
    label_map = np.zeros((20, 30), np.uint8)
    label_map[2:5, 3:9], label_map[10:, 20:] = 4, 9
    frame = vos.Frame(7, np.zeros((20, 30, 3), np.uint8), "00007", 0.28)
    detections = vos.to_supervision(frame, label_map, {4: 0.5, 9: 0.25})
    assert detections.metadata == {"frame_index": 7, "frame": "00007", "time": 0.28}
    assert isinstance(detections, supervision.Detections)
    assert detections.tracker_id.tolist() == [4, 9]
    assert detections.xyxy.tolist() == [[3, 2, 9, 5], [20, 10, 30, 20]]
    assert np.array_equal(detections.mask[1], label_map == 9)
    assert detections.confidence.tolist() == [0.5, 0.25]
    assert len(vos.to_supervision(frame, np.zeros((20, 30), np.uint8))) == 0


def test_supervision_reads_exported_coco_and_yolo(tmp_path):
    sequence = tiny_sequence("moving", object_ids=(1, 2), length=3)
    vos.track(sequence, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path)
    folder = tmp_path / sequence.name
    options = {"images": True}
    export(folder, "coco", tmp_path / "c" / "coco.json", options=options, source=sequence)
    read = supervision.DetectionDataset.from_coco(
        str(tmp_path / "c" / "images"), str(tmp_path / "c" / "coco.json"), force_masks=True
    )
    export(folder, "yolo", tmp_path / "y", options=options, source=sequence)
    yolo = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "y" / "images"),
        str(tmp_path / "y" / "labels"),
        str(tmp_path / "y" / "data.yaml"),
        force_masks=True,
    )
    for dataset, slack in ((read, 0), (yolo, 40)):
        assert len(dataset) == 3
        for path, _, detections in dataset:
            truth = vos.read_label_map(folder / f"{path[-9:-4]}.png")
            assert len(detections) == 2
            for number, mask in zip(detections.class_id, detections.mask, strict=True):
                object_id = int(dataset.classes[number].split()[-1])
                assert np.count_nonzero(mask != (truth == object_id)) <= slack


def test_the_table_has_a_row_an_object_and_frame(tmp_path):
    sequence = tiny_sequence("moving", object_ids=(5, 9), length=4)
    vos.track(sequence, sequence.label_maps[0], tracker=StubTracker(), output=tmp_path)
    table = vos.to_table(tmp_path)
    assert isinstance(table, pandas.DataFrame)
    assert len(table) == 8
    first = table.iloc[0]
    y, x = np.nonzero(sequence.label_maps[0] == 5)
    assert (first.sequence, first.frame, first.object_id, first.area) == (sequence.name, "00000", 5, len(x))
    assert (first.x0, first.y1, first.centre_x) == (x.min(), y.max(), round(x.mean(), 3))
