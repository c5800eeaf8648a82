"""Model weights: known checkpoints, fetching and verifying them, and strict loading; public API."""

from vos.weights.checkpoints import CHECKPOINTS, Checkpoint, checkpoint, fetch, local_path, sha256_of, verify

__all__ = ["CHECKPOINTS", "Checkpoint", "checkpoint", "fetch", "local_path", "sha256_of", "verify"]
