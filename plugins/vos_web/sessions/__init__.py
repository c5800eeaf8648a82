"""Sessions on disk: objects, annotations, masks, and exporting them."""
