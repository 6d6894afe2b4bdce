"""CUP: three languages behind one port, the inbox that applies them, the outbox that answers.

A language (:mod:`~server.cup.hl7v2`, :mod:`~server.cup.fhir`, :mod:`~server.cup.csvfile`) is a pure
mapping from bytes to a :class:`~server.cup.booking.Message`; :mod:`~server.cup.values` reads the
texts in it; :mod:`~server.cup.inbox` is the only one that writes bookings. ``LINK.md`` says what
goes over the wire.
"""
