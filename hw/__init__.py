"""The hardware the box touches: LEDs, buttons, disks."""
