"""Find the files that the option ``backbone`` names, without loading them."""

from __future__ import annotations

from pathlib import Path

from vos.plugin import OptionError


def split_backbone(backbone: str) -> tuple[str, Path]:
    """Split the option.

    Args:
        backbone: a folder, or ``ARCHITECTURE:FILE``.
    Returns:
        An empty text and the folder, or the architecture and the file, which may not be there.
    Raises:
        OptionError: it names neither.
    """
    if not backbone:
        raise OptionError(
            "the tracker dino has no weights of its own. Name a Vision Transformer: -O backbone=FOLDER of transformers "
            "or timm, or -O backbone=ARCHITECTURE:FILE, a timm name and its checkpoint."
        )
    path = Path(backbone).expanduser()
    if path.is_dir():
        return "", path
    architecture, colon, file = backbone.partition(":")
    if colon and len(architecture) > 1 and not path.exists():
        return architecture, Path(file).expanduser()
    if path.is_file():
        raise OptionError(
            f'backbone "{path}": a checkpoint file needs the name of its timm architecture before it, '
            f"such as backbone=vit_small_patch8_224.dino:{path.name}"
        )
    raise OptionError(
        f'backbone "{backbone}": no such folder. Give the folder of a transformers or timm ViT, '
        "or ARCHITECTURE:FILE, a timm name and its checkpoint."
    )
