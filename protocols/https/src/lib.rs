//! The uplink: HTTPS with a client certificate, from one pinned source address, speaking ingest contract 1.
