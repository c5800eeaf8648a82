"""Model weights: known checkpoints, fetching and verifying them, and strict loading; public API."""

from vos.types.checkpoint import Checkpoint
from vos.weights.checkpoints import checkpoint, known_checkpoints, local_path, sha256_of, verify
from vos.weights.fetching import fetch

__all__ = ["Checkpoint", "checkpoint", "fetch", "known_checkpoints", "local_path", "sha256_of", "verify"]
