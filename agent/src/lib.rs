//! The lineside daemon and its command line.
