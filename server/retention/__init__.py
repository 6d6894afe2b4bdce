"""How long records are kept, what may not be deleted, and the job that shreds."""
