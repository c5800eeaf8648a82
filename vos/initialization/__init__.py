"""A first label map from an initializer plugin."""
