"""The measures on masks: region similarity J, boundary accuracy F, and their statistics over time."""
