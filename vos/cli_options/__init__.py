"""What verbs share: the command line's settings, options that most verbs take, and the plugins' shorthands."""
