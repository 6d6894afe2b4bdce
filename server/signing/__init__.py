"""Signing documents: PAdES with the means that each clinician has."""
