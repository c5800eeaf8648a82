"""Where data sets keep frames and masks, and folders of masks to score."""
