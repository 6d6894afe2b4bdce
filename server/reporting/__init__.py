"""The report as the clinician makes it: prepared, reviewed, signed, corrected."""
