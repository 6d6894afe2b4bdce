"""The report as the patient gets it: by her link and a one-time code."""
