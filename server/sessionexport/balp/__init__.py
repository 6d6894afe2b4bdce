"""Entries of the session log as FHIR R4 AuditEvents, by IHE's Basic Audit Log Patterns (BALP 1.1).

Pure. :mod:`kinds` says which pattern an act follows, :mod:`event` writes the resource. What was
refused or failed follows no pattern, as BALP asks: it has the same shape and claims no profile.
"""

from server.sessionexport.balp.event import Moment, Place, Written, audit_event, parse_entry
from server.sessionexport.balp.kinds import KINDS, Kind

__all__ = ["KINDS", "Kind", "Moment", "Place", "Written", "audit_event", "parse_entry"]
