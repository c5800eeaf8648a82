"""Layouts of data sets (DAVIS, YouTube-VOS), and folders of masks to score."""
