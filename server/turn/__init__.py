"""The TURN server (coturn): its configuration, the secrets of its seats, and the test of both.

coturn itself is a package of the distribution and is run by it; nothing here relays media.
"""
