"""Gather the images that the shipped head was trained on from the Debian packages that carry them.

    apt-get download tuxpaint-stamps-default gcompris-qt-data gnome-backgrounds mate-backgrounds \\
        plasma-workspace-wallpapers lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 ukui-wallpapers
    python -m vos_propagation.training.gather_images --packages DIR --out DIR

``images.tsv`` names each image by the first 16 hexadecimal digits of its file's SHA-256; it was chosen
by eye: photographed things with an alpha channel (``cutout``), drawn things and jigsaw pieces
(``drawing``), and photographs for the background. Other versions of the packages may lack some.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image as PillowImage

CHOSEN = Path(__file__).parent / "images.tsv"
CUTOUT_SIDE, PHOTOGRAPH_SIDE = 420, 1000
ALPHA_SEEN = 20


def chosen() -> dict[str, str]:
    """Give each chosen image's kind by its digest."""
    rows = (line.split("\t") for line in CHOSEN.read_text().splitlines())
    return {digest: kind for kind, digest in rows}


def image_files(folder: Path) -> Iterator[bytes]:
    """Give every image file under a folder, those packed into Qt resource files included."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix in {".png", ".jpg", ".jpeg", ".webp"}:
            yield path.read_bytes()
        elif path.suffix == ".rcc":
            packed = path.read_bytes()
            for match in re.finditer(rb"RIFF(....)WEBP", packed, re.DOTALL):
                length = int.from_bytes(match.group(1), "little") + 8
                yield packed[match.start() : match.start() + length]
            for match in re.finditer(rb"\xff\xd8\xff[\xe0\xe1]", packed):
                yield packed[match.start() : packed.find(b"\xff\xd9", match.start()) + 2]
            for match in re.finditer(rb"\x89PNG\r\n", packed):
                yield packed[match.start() : packed.find(b"IEND", match.start()) + 8]


def prepare(data: bytes, kind: str) -> PillowImage.Image:
    """Cut an image to what is seen of it, and make it no larger than needed.

    Args:
        data: an image file.
        kind: ``photograph``, or one with an alpha channel.
    Returns:
        RGB with a short side of at most 1,000 px, or RGBA with a long side of at most 420.
    """
    image: PillowImage.Image = PillowImage.open(io.BytesIO(data))
    if kind == "photograph":
        image = image.convert("RGB")
        scale = PHOTOGRAPH_SIDE / min(image.size)
    else:
        image = image.convert("RGBA")
        image = image.crop(image.getchannel("A").point(lambda alpha: 255 * (alpha > ALPHA_SEEN)).getbbox())
        scale = CUTOUT_SIDE / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), PillowImage.Resampling.LANCZOS)


def main() -> None:
    """Unpack the packages and write the chosen images into ``cutouts``, ``drawings`` and ``photographs``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder of .deb files")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    PillowImage.MAX_IMAGE_PIXELS = None
    kinds = chosen()
    found = set()
    for package in sorted(arguments.packages.glob("*.deb")):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
            for data in image_files(Path(folder)):
                digest = hashlib.sha256(data).hexdigest()[:16]
                if digest not in kinds or digest in found:
                    continue
                found.add(digest)
                kind = kinds[digest]
                into = arguments.out / f"{kind}s"
                into.mkdir(parents=True, exist_ok=True)
                suffix = "jpg" if kind == "photograph" else "png"
                prepare(data, kind).save(into / f"{digest}.{suffix}", quality=93)
    print(f"{len(found)} of {len(kinds)} images found")


if __name__ == "__main__":
    main()
