"""Model weights: known checkpoints, fetching and verifying them, and strict loading; public API."""

from vos.types.checkpoint import Checkpoint
from vos.weights.checkpoints import checkpoint, known_checkpoints, local_path, sha256_of, verify
from vos.weights.fetching import fetch
from vos.weights.model_configs import architecture_arguments, read_config
from vos.weights.stored_tensors import refuse_expanding, refuse_unstored

__all__ = [
    "Checkpoint",
    "architecture_arguments",
    "checkpoint",
    "fetch",
    "known_checkpoints",
    "local_path",
    "read_config",
    "refuse_expanding",
    "refuse_unstored",
    "sha256_of",
    "verify",
]
