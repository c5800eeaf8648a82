"""How the weights of the click decoder were learnt; nothing here is used at run time."""
