"""FHIR R4: the mapping of documents, the REST entrance, the poller, and events outward."""
