"""The frame loop and a run around it: annotations in, outputs and a record out."""
