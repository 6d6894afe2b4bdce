"""The way of a report to the national record (*Fascicolo sanitario elettronico* 2.0): the gateway's
client, the queue, and who still owes it a report.

The files of a gateway are :mod:`server.report.gateways`, the near end of the queue is
:mod:`server.report.queue`.
"""

from server.fse.before import prepare
from server.fse.pages import ROUTES

__all__ = ["ROUTES", "prepare"]
