"""Training of the primary object network's weights; not used at run time."""
