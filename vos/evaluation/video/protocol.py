"""Protocols: which frames and objects of a sequence are scored, and how predictions are matched to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from vos.errors import OptionError
from vos.evaluation.metrics.frame_scores import Measures

Objects = Literal["first-frame", "from-appearance", "from-sight", "all", "numbered"]


@dataclass(frozen=True)
class Protocol:
    """The rules of one benchmark.

    Attributes:
        name: what the user types.
        summary: one line for people.
        merge: score all objects as one (DAVIS-2016).
        objects: ``"first-frame"``: the objects of the first annotated frame, over all scored frames;
            ``"from-appearance"``: every object, from the annotated frame after its first (YouTube-VOS);
            ``"from-sight"``: every object, from the first scored frame that shows it in truth or prediction (SA-V);
            ``"numbered"``: 1 to the highest id of the first annotated frame, over all scored frames (VOST);
            ``"all"``: every object of the truth, over all scored frames (MOSE).
        skip_first: leave out the first annotated frame, which a tracker is given.
        skip_last: leave out the last annotated frame.
        use_void: pixels of 255 in the truth do not count; else they are background.
        max_proposals: predicted ids are proposals, at most so many, matched one to one to the objects
            over the whole sequence so that the sum of J&F is highest; None: ids name the objects.
        official: reproduce the official tool where it is at fault; docs/evaluation.md lists how.
        measures: ``"j-f"``; ``"j"`` alone (VOST); ``"j-f-adaptive"``: F also with a tolerance that follows the
            object's area (MOSEv2).
        object_folders: one folder of binary masks for each object of a sequence (SA-V).
        ignore_unknown_ids: predicted ids that the truth lacks are background and are named in a note; else
            they are a fault.
        boundary_iou: the boundary IoU is measured too.
    """

    name: str
    summary: str
    merge: bool = False
    objects: Objects = "first-frame"
    skip_first: bool = True
    skip_last: bool = True
    use_void: bool = False
    max_proposals: int | None = None
    official: bool = False
    measures: Measures = "j-f"
    object_folders: bool = False
    ignore_unknown_ids: bool = False
    boundary_iou: bool = False

    @property
    def of_first_frame(self) -> bool:
        """True if the first annotated frame determines which objects are scored."""
        return self.objects in ("first-frame", "numbered")

    def for_all_frames(self) -> Protocol:
        """The same rules, with no frame left out at either end."""
        return replace(self, skip_first=False, skip_last=False)


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("davis-2016", "Objects merged to one; first and last annotated frame left out.", merge=True),
        Protocol("davis-2017", "Each object of the first frame; first and last annotated frame left out."),
        Protocol(
            "davis-2017-unsupervised",
            "Up to 20 proposals matched to the objects; void ignored; all frames.",
            skip_first=False,
            skip_last=False,
            use_void=True,
            max_proposals=20,
        ),
        Protocol(
            "youtube-vos",
            "Each object from the annotated frame after its first; void is background.",
            objects="from-appearance",
            skip_last=False,
        ),
        Protocol(
            "sparse",
            "Each object of the first frame; every annotated frame but the first.",
            skip_last=False,
        ),
        Protocol(
            "sa-v",
            "A folder of binary masks for each object; its first and last annotated frame left out.",
            merge=True,
            objects="from-sight",
            object_folders=True,
        ),
        Protocol(
            "lvos",
            "As youtube-vos, but the last frame is left out; also V, the stability of an object's scores.",
            objects="from-appearance",
            ignore_unknown_ids=True,
        ),
        Protocol(
            "vost",
            "J of objects 1 to the highest of the first frame, and of the last quarter (J_tr).",
            objects="numbered",
            measures="j",
            ignore_unknown_ids=True,
        ),
        Protocol(
            "mose",
            "Each object over all frames but the first and last; F also with MOSEv2's adaptive tolerance.",
            objects="all",
            measures="j-f-adaptive",
            ignore_unknown_ids=True,
        ),
    )
}
"""The protocols by name. In all of them only annotated frames are scored."""


def protocol_of_set(set_name: str | None) -> str:
    """The protocol that a set of a DAVIS tree is scored by, if the user names none.

    Args:
        set_name: such as ``"2016/val"``; None for no set.
    Returns:
        ``"davis-2016"`` for the sets of that year, else ``"davis-2017"``.
    """
    return "davis-2016" if set_name is not None and set_name.startswith("2016/") else "davis-2017"


def protocol_named(
    name: str | Protocol, *, all_frames: bool = False, official: bool = False, boundary_iou: bool = False
) -> Protocol:
    """Find a protocol.

    Args:
        name: a key of ``PROTOCOLS``, or a protocol of your own, which is taken as it is.
        all_frames: leave out no frame at either end.
        official: reproduce the faults of davis2017-evaluation; for the protocols of DAVIS.
        boundary_iou: measure the boundary IoU too.
    Returns:
        The protocol.
    Raises:
        OptionError: no protocol has that name, it matches proposals, which have no boundary IoU, or it is none of
            DAVIS and so has no official faults here.
    """
    if isinstance(name, Protocol):
        protocol = name
    elif name in PROTOCOLS:
        protocol = PROTOCOLS[name]
    else:
        raise OptionError(f'no protocol named "{name}". There are: {", ".join(PROTOCOLS)}.')
    if all_frames:
        protocol = protocol.for_all_frames()
    if boundary_iou:
        if protocol.max_proposals is not None:
            raise OptionError(f"{protocol.name} matches proposals by J and F; their boundary IoU is not measured.")
        protocol = replace(protocol, boundary_iou=True)
    if official and not protocol.name.startswith("davis-"):
        raise OptionError(
            f"{protocol.name} has no official form: --official reproduces faults of davis2017-evaluation, which does "
            "not score it. Leave --official out."
        )
    return replace(protocol, official=True) if official else protocol
