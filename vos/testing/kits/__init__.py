"""One module for each kind of plugin: the checks of its part of the contract."""
