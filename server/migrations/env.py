"""What alembic runs for each command: the revisions, over the caller's connection."""

from __future__ import annotations

from alembic import context

import server.models  # noqa: F401  (fills the metadata)
from server.db import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
