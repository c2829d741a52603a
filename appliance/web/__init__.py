"""The pages: wizard, sign-in, home, settings, queue, DNS guide, manual, and a small API."""
