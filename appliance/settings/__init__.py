"""Every setting, described once; stored with its history."""
