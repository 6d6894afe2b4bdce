"""Acts over the keys: rotation and rewrapping, a new root key, escrow in shares, shredding.

Each leaves its line in the session log. The keys themselves are ``server.keyring``'s.
"""
