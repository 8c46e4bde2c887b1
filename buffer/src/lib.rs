//! The store-and-forward buffer: opaque frames in lanes, a ledger that adds up, and the only user of SQLite in the daemon.
