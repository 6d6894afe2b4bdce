"""CUP: connectors that map a file to bookings, and the inbox that applies them.

A connector (:mod:`~server.cup.fhir`, :mod:`~server.cup.csvfile`) is a pure mapping from bytes to
texts by field; :mod:`~server.cup.values` turns the texts into a
:class:`~server.cup.booking.Booking`; :mod:`~server.cup.inbox` is the only one that writes rows.
"""
