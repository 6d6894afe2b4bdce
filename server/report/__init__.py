"""The report (*referto di televisita*): what it says, and its three forms: PDF/A-3b, CDA2, FHIR R4.

``content`` is the one shape that the forms are made from; ``cda``, ``fhir`` and ``pdf`` each map it
by the rules of one standard and do no I/O; ``compose`` fills it from the rows of a visit.
"""
