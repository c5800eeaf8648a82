"""The clauses of the contract between the host and each kind of plugin, a sentence or two each.

``docs/contract.md`` and ``vos plugin contract`` are made from these tables; a failed check quotes its clause.
"""

from __future__ import annotations

TRACKER: dict[str, str] = {
    "methods": (
        "A tracker has `start(frame, label_map)` and `step(frame)`; if it also has `encode(frames)`, both take the "
        "frame's encoding as one more argument. `annotate(frame, label_map)`, `forget(object_id)`, `save(path)` with "
        "`load(path)`, and `close()` are optional, and the host finds them by name."
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
    "saving": (
        "`save(path)` writes the whole state to the file, in a format that is read without running code, and its size "
        "does not grow with the number of frames. `load(path)` in a new tracker takes the place of `start`: later "
        "masks are the same, pixel for pixel. A damaged file raises, and the tracker can be started afterwards."
    ),
    "stream": (
        "In the host's frame loop the tracker gives a label map for every frame, of the frame's size, with known ids."
    ),
    "accuracy": "On the tiny sequences the masks overlap the objects at least as much as the author asks for.",
}

INITIALIZER: dict[str, str] = {
    "initializer-methods": "An initializer has `initialize(frame)`.",
    "initializer-label-map": (
        "`initialize` returns a label map of the frame's size: uint8, 0 for background and ids from 1 to 254, at least "
        "one of them. Where it finds nothing it raises `EmptyMaskError`, with a message that says what to try."
    ),
    "initializer-repeatable": "The same frame, options and seed give the same label map, in every new initializer.",
    "initializer-own-array": "A label map belongs to the host: later calls do not change it.",
    "initializer-read-only": "The frame's image is read-only and shared with other plugins: copy it to change it.",
    "initializer-sizes": (
        "Frames may have any height and width. A prompt that does not fit the frame, and a frame of one colour, are "
        "answered with a label map or a `VosError` whose message is for the user, never with another exception."
    ),
    "initializer-clip": (
        "An initializer may also look at other frames of a video: `neighbours` are their distances, such as (1, -1), "
        "and `initialize_in_clip(frame, others)` is asked in place of `initialize`. `others` holds those that the "
        "video has, by their distance; maybe none. The clauses above hold for its label maps and images too."
    ),
}

SOURCE: dict[str, str] = {
    "source-methods": (
        "A source has `info` (a `vos.plugin.SourceInfo`, known before any frame is read), `frames(indices=None)` and "
        "`close()`."
    ),
    "source-frames": (
        "`frames()` gives every frame once, with the indices 0, 1, 2 and so on, and a name that no other frame has."
    ),
    "source-info": (
        "`info` does not change, and what it states holds: `frame_count` frames of `size`, with the names of "
        "`frame_names`. What is not known is None."
    ),
    "source-indices": (
        "`frames(range)` gives the frames of these indices in this order, with the pixels and names that `frames()` "
        "gives; a source whose `info.seekable` is True takes falling ranges too."
    ),
    "source-restart": (
        "Each call of `frames` of a seekable source reads anew, also after an earlier iterator was left in the middle."
    ),
    "source-own-pixels": "A frame's pixels are its own: reading on does not change them.",
    "source-memory": "Frames are read one by one: memory does not grow with the number of frames that were read.",
    "source-close": (
        "`close` is called once, at any time: before any frame is read, and while an iterator is in the middle."
    ),
    "source-foreign": (
        "`vos_open_source` returns None for a location that is not for the plugin, without opening anything; other "
        "plugins are asked then."
    ),
    "source-unreadable": (
        "A location that is for the plugin and cannot be read is a `SourceError`, when it is opened or at the frame "
        "that is missing. Its message names the location."
    ),
}

WRITER: dict[str, str] = {
    "writer-methods": (
        "A writer has `open(run)`, `write(frame, label_map, prediction)`, `close()` and `abort(error)`; "
        "`outputs(folder)` is optional."
    ),
    "writer-run": (
        "`open` is called first, then `write` for each frame, then `close`; a run that went well leaves a file."
    ),
    "writer-outputs": (
        "A writer creates files in `run.output` alone, or in its option `path`, or where `outputs(folder)` says; "
        "something of what `outputs` lists is there after a run that went well."
    ),
    "writer-complete": (
        "A file at its final path is complete: it appears there when nothing more is added to it "
        "(`vos.plugin.atomic_write`, `vos.plugin.replacing`)."
    ),
    "writer-abort": (
        "`abort` takes the place of `close`, also before the first frame, and leaves complete files or none: no "
        "temporary file, and no file that a run of the same frames would not leave."
    ),
    "writer-repeatable": (
        "The same frames and label maps give the same files, byte for byte: they hold no time of writing and no random "
        "number."
    ),
    "writer-read-only": (
        "Images, label maps and predictions are read-only and shared with other plugins: copy what is to be changed."
    ),
    "writer-frames": (
        "Frames come in ascending order, also where objects are tracked backward; a writer whose `per_frame` is True "
        "gets them in the order of tracking, in which indices may fall. Indices may begin anywhere and be apart. "
        "Objects may appear later, be absent from a frame, and have any id from 1 to 254."
    ),
    "writer-sizes": "Frames may have any height and width, odd ones and a few pixels included.",
}

FORMAT: dict[str, str] = {
    "format-parts": "A format has an exporter, which makes a writer, or an importer, or both.",
    "format-round-trip": (
        "The importer reads what the exporter wrote: the same frames in order, by name or index, and the same label "
        "maps; a format that loses something states the overlap that it keeps."
    ),
    "format-restart": "`ImportedMasks.frames()` begins anew at each call, and gives the same frames.",
    "format-foreign": (
        "The importer returns None for a file or folder of another format. It looks at as little as it can, and raises "
        "nothing."
    ),
    "format-damaged": (
        "A file of the format that ends too early is a `VosError` whose message names it, or None; never another "
        "exception."
    ),
}

EXECUTOR: dict[str, str] = {
    "executor-methods": "An executor has `run(plan, jobs)`, which yields `vos.plugin.JobEvent`s as they happen.",
    "executor-ends": (
        "Each job ends with one event `done` or `failed`, which is its last; `done` carries what the worker returned."
    ),
    "executor-once": "A job whose worker lives is run once; the jobs of a call are all run.",
    "executor-worker": "A process makes its worker once, with `plan.make()`, and keeps it for its other jobs.",
    "executor-progress": (
        "`started` comes first. The frames of a job's events `frame` rise, and do not exceed `frame_count`; some may "
        "be left out."
    ),
    "executor-failures": (
        "An exception of a job becomes its event `failed` with the message, and `bad_input` True for an `InputError` "
        "alone. The other jobs go on."
    ),
    "executor-lost-worker": (
        "A job whose worker process dies is run again on a new one, with an event `retried`; a job that ends every "
        "worker fails after a limited number of attempts. The other jobs go on."
    ),
    "executor-close": "Closing the iterator stops the workers; no process is left.",
    "executor-no-jobs": "Without jobs there are no events, and the iterator ends.",
    "executor-no-worker": "A worker that cannot be made raises a `VosError`, or fails the jobs; it is no endless loop.",
}

PLUGIN: dict[str, str] = {
    "hooks": (
        "A plugin is a module whose hook implementations have names and arguments of `vos.registry.hookspecs`, and "
        "whose registration hooks return specs."
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

CLAUSES_BY_KIND: dict[str, dict[str, str]] = {
    "tracker": TRACKER,
    "initializer": INITIALIZER,
    "source": SOURCE,
    "writer": WRITER,
    "format": FORMAT,
    "executor": EXECUTOR,
    "plugin": PLUGIN,
}
"""What each clause says, by the kind of plugin that it is about and by its name."""

CLAUSES: dict[str, str] = {name: text for clauses in CLAUSES_BY_KIND.values() for name, text in clauses.items()}
"""What each clause says, by name; the name is the anchor in ``docs/contract.md``."""
