//! Exit codes: what a script or systemd may rely on. Numbers are those of sysexits.h where one fits.

use std::process::ExitCode;

/// Why a command could not do what it was asked, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: done.
    Fine = 0,
    /// 1: done, and the answer is no: a demonstration that lost something, a device that did not answer.
    No = 1,
    /// 64: the command line is wrong (EX_USAGE).
    Usage = 64,
    /// 69: the daemon is not running (EX_UNAVAILABLE).
    Unavailable = 69,
    /// 70: a defect of ours (EX_SOFTWARE).
    Defect = 70,
    /// 74: the buffer cannot be opened (EX_IOERR).
    Buffer = 74,
    /// 78: the configuration is wrong (EX_CONFIG).
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
