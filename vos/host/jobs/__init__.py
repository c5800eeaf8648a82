"""Many jobs on an executor: what is done in the process that hands them out, and in the workers."""
