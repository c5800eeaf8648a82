"""Results to the formats of other tools, and masks of other tools to folders of masks."""

from vos.conversion.exporting import export
from vos.conversion.importing import import_masks

__all__ = ["export", "import_masks"]
