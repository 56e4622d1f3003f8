"""Readers of a file, by library: a process that uses one has not imported the other."""
