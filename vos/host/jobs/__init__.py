"""Many jobs on an executor: the side of the submitting process, and the side of the workers."""
