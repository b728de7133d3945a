"""Crash tests: what is left of a folder when its writer dies, the power goes or the disk fails."""
