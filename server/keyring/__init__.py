"""Keys: root → organisation → visit, and the sealing of fields with them.

The root key is a file of the data folder (``keys/root.key``, 0600) or stays in the transit engine
of an OpenBao or Vault. Each organisation has its own wrapped secrets (``kek``, in versions,
``join``, ``index``), each visit or patient a data key wrapped by the ``kek``. A sealed field opens
only in its own place: the context binds application, organisation, object type, object id, field,
visit, version and data key (design §4, ``security.md`` §3.3). With the root key beside the data a
stolen disk is *not* covered; ``accanto check`` says so. Rotation, escrow and shredding are acts
over this, in ``server.keys``.
"""

from server.keyring.loading import (
    FORMER_ROOT_FILE,
    INSTALLATION_FILE,
    ROOT_KEY_FILE,
    load_keyring,
    load_roots,
    read_root_key,
    renew_installation,
    save_installation,
    sync_folder,
    write_new,
)
from server.keyring.place import Place, visit_owner
from server.keyring.ring import KEK, Keyring, Shredded
from server.keyring.roots import FileRoot, RootKey, RootKeyWrong, Roots
from server.keyring.wrapping import (
    Secret,
    Wrapper,
    check_value,
    data_key_aad,
    organisation_key_aad,
)

__all__ = [
    "FORMER_ROOT_FILE",
    "INSTALLATION_FILE",
    "KEK",
    "ROOT_KEY_FILE",
    "FileRoot",
    "Keyring",
    "Place",
    "RootKey",
    "RootKeyWrong",
    "Roots",
    "Secret",
    "Shredded",
    "Wrapper",
    "check_value",
    "data_key_aad",
    "load_keyring",
    "load_roots",
    "organisation_key_aad",
    "read_root_key",
    "renew_installation",
    "save_installation",
    "sync_folder",
    "visit_owner",
    "write_new",
]
