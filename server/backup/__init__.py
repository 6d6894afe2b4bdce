"""Backup and restore of one installation, in two halves that are kept apart.

The *data* half holds the rows of the database and the files of the data folder; everything sealed
stays sealed. The *keys* half holds the root key, the settings with their secrets and the wrapped
keys. One half alone opens nothing. Both come from one transaction and carry the same id. A backup
is a folder: it has its name only when every byte of it is on the disk.
"""

from server.backup.manifest import Half, find_backups, load_manifest
from server.backup.restore import Restored, restore_backup
from server.backup.take import Taken, take_backup

__all__ = [
    "Half",
    "Restored",
    "Taken",
    "find_backups",
    "load_manifest",
    "restore_backup",
    "take_backup",
]
