"""The signer of the session log: a process with a memory of its own.

It keeps every leaf hash it was shown and every checkpoint it has signed in files that no database
user reaches, computes roots itself, and signs only what continues what it has signed before. So
whoever may write the whole database still gets no second history signed.
"""
