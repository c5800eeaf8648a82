"""The tracker ``dino``: DINO's published protocol on a Vision Transformer."""
