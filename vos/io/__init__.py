"""Image files, mask files, and files that are whole or absent."""
