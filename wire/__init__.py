"""Formats that cross a trust boundary, as pure functions over bytes.

Invariant: a parser either returns a value whose re-encoding equals its input, or raises `wire.errors.WireError`.
Must not: read clocks, files, sockets or randomness; what a function needs is passed in.
"""
