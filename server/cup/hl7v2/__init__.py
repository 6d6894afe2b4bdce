"""HL7 v2: the mapping of messages, the wording of answers and events, and MLLP."""
