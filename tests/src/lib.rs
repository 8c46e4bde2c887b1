//! The counterparts that the demo and the suite run against: a simulated plant, a reference ingest and a throw-away CA.
