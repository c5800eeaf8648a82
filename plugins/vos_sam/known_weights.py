"""The published checkpoints of Segment Anything and MobileSAM.

Source: facebookresearch/segment-anything, README.md ("Model Checkpoints") at dca509f; ChaoningZhang/MobileSAM,
weights/mobile_sam.pt.
"""

from __future__ import annotations

from pathlib import Path

from vos import weights
from vos.plugin import Checkpoint, WeightsError

_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"

CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            "vit_b",
            "sam_vit_b_01ec64.pth",
            f"{_SAM}sam_vit_b_01ec64.pth",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            "Apache-2.0",
            "Segment Anything, ViT-B",
            375_042_383,
        ),
        Checkpoint(
            "vit_l",
            "sam_vit_l_0b3195.pth",
            f"{_SAM}sam_vit_l_0b3195.pth",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            "Apache-2.0",
            "Segment Anything, ViT-L",
        ),
        Checkpoint(
            "vit_h",
            "sam_vit_h_4b8939.pth",
            f"{_SAM}sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            "Apache-2.0",
            "Segment Anything, ViT-H",
            2_564_550_879,
        ),
        Checkpoint(
            "vit_t",
            "mobile_sam.pt",
            "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            "Apache-2.0",
            "MobileSAM, TinyViT",
            40_728_226,
        ),
    )
}
"""Checkpoints by the name that the option ``model`` takes."""


def resolve_checkpoint(checkpoint: Path | None, model: str, cache: Path) -> Path:
    """Find the file that a plugin's options name.

    Args:
        checkpoint: the file given, or None.
        model: the known model to take from the cache if none is given (``vit_b``, ``vit_l``, ``vit_h``, ``vit_t``).
        cache: the cache folder.
    Raises:
        WeightsError: no such file; the message says how to get it.
    """
    if checkpoint is not None:
        if not checkpoint.is_file():
            raise WeightsError(f"{checkpoint}: no such checkpoint file. `vos weights list` shows the known ones.")
        return checkpoint
    return weights.local_path(CHECKPOINTS.get(model, model), cache)
