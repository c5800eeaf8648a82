"""Image files: frames, single images and pages, reduced to 8 bits a channel."""
