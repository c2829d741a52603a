"""The image's own upkeep: slots, their state, the health check, the boot partition."""
