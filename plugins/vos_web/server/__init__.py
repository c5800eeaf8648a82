"""The HTTP server: addresses, security, events, frames as JPEG."""
