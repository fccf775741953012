"""The store's tables, as numbered migrations.

Invariant: a migration, once released, is never edited; a schema newer than this program knows is refused.
Must not: hold queries; those are in edge/store.py.
"""

import sqlite3
from typing import Final

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    # 1: the journal is the outbox; replay marks; status lists in 4 KiB chunks; signed documents; small facts
    (
        "CREATE TABLE journal (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT",
        "CREATE TABLE replay_mark (key BLOB PRIMARY KEY, expires_wall_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE status_list (
            list INTEGER PRIMARY KEY, tenant TEXT NOT NULL, sequence INTEGER NOT NULL, issued_at_s INTEGER NOT NULL,
            expires_at_s INTEGER NOT NULL, ttl_s INTEGER NOT NULL, size_bytes INTEGER NOT NULL) STRICT""",
        """CREATE TABLE status_chunk (
            list INTEGER NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (list, number)) STRICT""",
        """CREATE TABLE document (
            kind TEXT NOT NULL, version INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (kind, version)) STRICT""",
        "CREATE TABLE fact_number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE TABLE fact_bytes (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
    ),
    # 2: the roster: a signed snapshot in parts, and the signed deltas after it
    (
        """CREATE TABLE roster_part (
            snapshot INTEGER NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL,
            PRIMARY KEY (snapshot, number)) STRICT""",
        """CREATE TABLE roster_delta (
            version INTEGER PRIMARY KEY, changed INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT""",
        # deltas that others have replaced, for decisions that are run again
        "CREATE TABLE roster_past (version INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT",
    ),
    # 3: recorded inputs, checkpoints, and what both name; the way back to older status lists
    (
        "CREATE TABLE recorded_run (number INTEGER PRIMARY KEY, count INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT",
        """CREATE TABLE checkpoint (
            number INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, inputs_before INTEGER NOT NULL,
            bytes_before INTEGER NOT NULL, state BLOB NOT NULL) STRICT""",
        """CREATE TABLE recording_names (
            kind TEXT NOT NULL, list INTEGER NOT NULL, version INTEGER NOT NULL, number INTEGER NOT NULL,
            PRIMARY KEY (kind, list, version, number)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE status_undo (
            list INTEGER NOT NULL, sequence INTEGER NOT NULL, size_bytes INTEGER NOT NULL, undo_bytes INTEGER NOT NULL,
            PRIMARY KEY (list, sequence)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE status_undo_chunk (
            list INTEGER NOT NULL, sequence INTEGER NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL,
            PRIMARY KEY (list, sequence, number)) STRICT""",
    ),
    # 4: what a door remembers beyond its journal (edge/core/memory.py); a value is big-endian 64-bit numbers
    (
        """CREATE TABLE memo (
            kind INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key))
            STRICT, WITHOUT ROWID""",
    ),
)


class SchemaTooNewError(Exception):
    """The database was written by a newer release; update this door before starting it."""


def migrate(connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Bring a database to the newest schema, each migration in its own transaction.

    Raises:
        SchemaTooNewError: when the database is ahead of this program.
        sqlite3.Error: when the database cannot be written.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise SchemaTooNewError
    for number, statements in enumerate(migrations[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number:d}")
        connection.execute("COMMIT")
