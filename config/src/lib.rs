//! The one TOML file: read, checked, and turned into typed settings. The only user of TOML.
