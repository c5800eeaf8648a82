"""The contract between the host and a tracker, a sentence or two for each clause.

``docs/contract.md`` is made from this table; a failed check quotes its clause.
"""

from __future__ import annotations

import traceback

from vos.errors import VosError

CONTRACT_PAGE = "docs/contract.md"

CLAUSES: dict[str, str] = {
    "methods": (
        "A tracker has `start(frame, label_map)` and `step(frame)`; if it also has `encode(frames)`, both take the "
        "frame's encoding as one more argument. `annotate(frame, label_map)`, `forget(object_id)` and `close()` are "
        "optional, and the host finds them by name."
    ),
    "prediction": (
        "`step` returns a `vos.Prediction`: finite logits, and scores, where there are any, from 0 to 1. "
        "A tracker without logits uses `Prediction.from_label_map`."
    ),
    "ids": (
        "Every `step` answers with one row for each object that the tracker knows: the ids of `start`, those added by "
        "`annotate`, less those dropped by `forget`. Ids are never renumbered, and their order changes only when an "
        "object is added or dropped."
    ),
    "vanishing": (
        "An object that leaves the frame keeps its id and its row, with negative logits or `present` False, "
        "and the other objects keep theirs."
    ),
    "later-objects": (
        "`annotate` adds the ids that are new. Objects that its label map leaves out go on as they were."
    ),
    "corrections": (
        "`annotate` with a known id corrects that object from the next frame on; it adds no row and drops none."
    ),
    "forgetting": (
        "`forget` drops one object and no other; the same id may be added again by `annotate`. "
        "When all are forgotten, `step` answers with no row."
    ),
    "repeatable": "The same frames, options and seed give the same masks, pixel for pixel, in every new tracker.",
    "fresh-start": (
        "`start` begins a new sequence and forgets the one before: its objects, its size and its masks have no "
        "effect, also when that one was left in the middle."
    ),
    "kept-predictions": (
        "A prediction belongs to the host, which may keep it while tracking goes on: later calls do not change it."
    ),
    "read-only": (
        "Images and label maps are read-only and shared with other plugins: a tracker copies what it wants to change."
    ),
    "memory": (
        "Memory does not grow with the number of frames: what is kept per frame is dropped again after a fixed number "
        "of frames."
    ),
    "encoding": (
        "`encode` returns one encoding for each frame, in order; it depends on the image alone, so frames may be "
        "encoded ahead, one by one or in batches of any size, with the same masks. `encode_ahead`, if there is one, "
        "gives the same in two threads at once while another tracks."
    ),
    "frame-index": (
        "`frame.index` names a frame: it need not begin at 0, rise by one, or rise at all (runs may go backward)."
    ),
    "sizes": "Frames may have any height and width, odd ones and a few pixels included.",
    "small-objects": "An object may be a single pixel, lie at the border, or fill the whole frame.",
    "errors": (
        "What cannot be answered raises: `step` before `start` is an error, not an empty prediction; the tracker can "
        "be started afterwards."
    ),
    "stream": (
        "In the host's frame loop the tracker gives a label map for every frame, of the frame's size, with known ids."
    ),
    "accuracy": "On the tiny sequences the masks overlap the objects at least as much as the author asks for.",
    "hooks": (
        "A plugin is a module whose hook implementations have names and arguments of `vos.hookspecs`, and whose "
        "registration hooks return specs."
    ),
    "specs": (
        "A spec's name is of lower case letters, digits and hyphens; its summary is one line; its options are a "
        "dataclass whose fields all have a default that fits their type, a type that text can be read as, and a help "
        "text (`vos.plugin.option`)."
    ),
    "light-import": (
        "Importing a plugin's module imports nothing heavy (torch, transformers, ...): that is the factory's "
        "work, so that listing plugins is instant."
    ),
}
"""What each clause says, by name; the name is the page's anchor."""


class ContractError(VosError, AssertionError):
    """A tracker or plugin broke the contract; the message says what happened, and quotes the clause.

    Attributes:
        clause: name of the clause, a key of ``CLAUSES``.
    """

    def __init__(self, clause: str, found: str) -> None:
        """Make the message.

        Args:
            clause: a key of ``CLAUSES``.
            found: what the tracker did, and what was expected.
        """
        super().__init__(f"{found}\nThe contract: {CLAUSES[clause]}\nWritten in {CONTRACT_PAGE}#{clause}")
        self.clause = clause

    def report(self) -> str:
        """The message for a test's output, and the tracker's own traceback where it raised."""
        cause = self.__cause__
        if cause is None or cause.__traceback__ is None:
            return str(self)
        own = traceback.format_exception(type(cause), cause, cause.__traceback__.tb_next)
        return f"{self}\n\n{''.join(own)}"
