"""Options and settings shared by commands: plugins to load, device, progress, and the shorthands of specs."""
