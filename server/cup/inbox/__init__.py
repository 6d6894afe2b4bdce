"""The inbox: keeps every message, applies it once and in its order."""
