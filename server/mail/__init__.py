"""Messages to patients: queued with an act, rendered and sent later.

:mod:`~server.mail.queue` is what features call; the rest of the package renders and delivers.
"""
