"""The report as CDA2 *Referto di Televisita* (template 2.16.840.1.113883.2.9.10.1.16.1.1, v1.0).

Pure. ``rules`` holds every OID, code and national convention; ``xml`` makes elements; ``header``
and ``body`` put the document together. The output passes the national XSD, Schematron and
dictionaries for every content that :mod:`server.report.compose` gives.
"""

from server.report.cda.document import render_cda

__all__ = ["render_cda"]
