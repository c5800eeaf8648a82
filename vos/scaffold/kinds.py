"""Kinds of plugins that ``vos plugin new`` can write, with the texts of their READMEs and messages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Texts for one kind of plugin; ``NAME`` stands for the plugin's name.

    Attributes:
        title: the plugin in a few words.
        does: a clause that describes the generated code.
        try_it: a command that uses the plugin.
        options: a sentence on its options for the README, or empty.
        dependencies: distributions that it imports beside the toolkit.
    """

    title: str
    does: str
    try_it: str
    options: str = ""
    dependencies: tuple[str, ...] = ("numpy",)


KINDS: dict[str, Kind] = {
    "tracker": Kind(
        "The tracker `NAME`",
        "it finds each object's annotated pixels again by\nnormalised cross-correlation, near where they were",
        "vos track VIDEO --mask FIRST.png --tracker NAME -o out",
        "`-O reach=24`: how far an object may move between two frames, in pixels.",
        ("numpy", "opencv-python"),
    ),
    "initializer": Kind(
        "The initializer `NAME`",
        "it finds the parts of a frame that differ in brightness\nfrom the rest",
        "vos init VIDEO --NAME -o first.png",
        "`-O bright=false` looks for dark parts, `-O min_area=20` leaves out smaller ones.",
        ("numpy", "opencv-python"),
    ),
    "source": Kind(
        "The source `NAME`",
        "it reads frames from NumPy files, uint8 (T, H, W, 3)",
        "vos track CLIP.npy --mask FIRST.png -o out",
    ),
    "writer": Kind(
        "The writer `NAME`",
        "it writes the centre of each object in each frame to a CSV file",
        "vos track VIDEO --mask FIRST.png --NAME centres.csv -o out",
        "`--writer NAME:digits=3` writes three digits after the decimal point.",
    ),
    "format": Kind(
        "The format `NAME`",
        "it writes label maps as run-lengths to a JSON file, and reads them",
        "vos export out/SEQUENCE --to NAME",
        "`-O path=masks.json` names the file.",
    ),
    "executor": Kind(
        "The executor `NAME`",
        "it runs one job after another, in the process of `vos batch`",
        "vos batch JOBS --executor NAME",
        "`-E stop_at_failure=true` runs no job after one that failed.",
        (),
    ),
    "command": Kind(
        "The command `vos NAME`",
        "it tracks a video and prints how much of each frame every object covers",
        "vos NAME VIDEO --mask FIRST.png",
        "It takes the toolkit's own `-O`, `--device`, `--seed`, `-p` and so on.",
        ("click",),
    ),
}
"""All kinds, by the value of ``--kind``."""
