"""The image encoders' forward passes, equal to the official ones and cheaper."""
