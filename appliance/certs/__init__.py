"""Certificates: the box's own root, and the store of the pair that is live."""
