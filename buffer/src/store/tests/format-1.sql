-- Format 1, as its last version made it.
CREATE TABLE epochs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    started_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE ledger (
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    last INTEGER NOT NULL,
    collected INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    PRIMARY KEY (lane, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE blocks (
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    catalogue INTEGER,
    committed_ms INTEGER NOT NULL,
    owed TEXT,
    frame INTEGER NOT NULL,
    PRIMARY KEY (lane, epoch, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE frames (
    id INTEGER PRIMARY KEY,
    header TEXT NOT NULL,
    crc INTEGER NOT NULL,
    frame BLOB NOT NULL
) STRICT;
CREATE TABLE gaps (
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (lane, epoch, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    reported INTEGER NOT NULL,
    block INTEGER NOT NULL,
    catalogue INTEGER,
    frame INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX quarantine_range ON quarantine (lane, epoch, first);
CREATE INDEX quarantine_frame ON quarantine (frame);
CREATE TABLE catalogues (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    crc INTEGER NOT NULL,
    frame BLOB NOT NULL
) STRICT;
INSERT INTO ledger VALUES (0, 0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0, 0);
PRAGMA application_id = 1279872581;
PRAGMA user_version = 1;
