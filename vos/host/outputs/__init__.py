"""What a run writes: planned and protected before it begins, written whole or not at all, recorded in run.json."""
