"""Merkle trees, signed checkpoints and their written format, with no database and no page.

``FORMAT.md`` says the same in prose, for whoever writes a verifier of their own.
"""
