"""The proof of one visit: its entries with their places in the signed log, the verifiers, and a
page that says in plain words what happened. For the patient, for a court, for whoever doubts.
"""

from server.sessionexport.proof.views import send_own_proof, send_proof

__all__ = ["send_own_proof", "send_proof"]
