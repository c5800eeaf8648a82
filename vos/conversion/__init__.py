"""Results to the formats of other tools, and masks of other tools to folders of masks."""
