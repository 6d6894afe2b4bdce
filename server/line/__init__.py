"""The line of a visit: what was measured of it, what it was good for, and its history.

Shared by the page that takes the measures (``server.quality``), the outcome (``server.visit``) and
the session log (``server.sessionlog``). Only :mod:`server.line.measured` asks the database.
"""
