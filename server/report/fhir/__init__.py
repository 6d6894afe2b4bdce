"""The report as FHIR R4 bundles of HL7 Italia's guide *televisita*: document and transaction.

Pure. The same content gives the same bytes: ids follow from the document's own. The guide is a
draft: its systems, codes and profiles are in ``rules`` alone.
"""

from server.report.fhir.bundles import render_document, render_transaction

__all__ = ["render_document", "render_transaction"]
