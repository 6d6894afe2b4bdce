"""The way of a report to the national record (*Fascicolo sanitario elettronico* 2.0)."""
