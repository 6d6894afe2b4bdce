"""The outbox: events of visits on their way to CUP."""
