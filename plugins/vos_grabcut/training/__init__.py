"""Training of the click decoder's weights; not used at run time."""
