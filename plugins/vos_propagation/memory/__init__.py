"""Memory frames, label votes between frames, and the target model."""
