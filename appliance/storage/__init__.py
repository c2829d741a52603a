"""The mailbox disk: what may be done with a disk, how it is done, and how it fares."""
