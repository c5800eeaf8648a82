"""Plugins: the hooks, finding and checking plugins, their specs and options."""
