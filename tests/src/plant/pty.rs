//! A serial line without a wire: a pair of pseudo-terminals. The plant's end is here, the other one lies under a path
//! that stays the same over every unplugging.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::net::unix::pipe::{Receiver, Sender};

/// The plant's end of a line that is plugged in. Dropping it pulls the plug: whoever holds the other end gets an error.
pub(super) struct Pty {
    path: PathBuf,
    pub(super) reader: Receiver,
    pub(super) writer: Sender,
    /// Held open, so that the line outlives who comes and goes at the other end.
    _other_end: OwnedFd,
}

impl Pty {
    /// Plugs in a line under `path`.
    pub(super) fn plug_in(path: &Path) -> io::Result<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let other_end = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        // No echo and no line editing, whoever opens it first.
        let mut settings = tcgetattr(&other_end)?;
        settings.make_raw();
        tcsetattr(&other_end, OptionalActions::Now, &settings)?;
        fcntl_setfl(&ours, fcntl_getfl(&ours)? | OFlags::NONBLOCK)?;
        let _none_was_left = std::fs::remove_file(path);
        symlink(name.to_string_lossy().as_ref(), path)?;
        // Nothing of a pipe is asked of it: both are read and written as any descriptor is.
        let reader = Receiver::from_owned_fd_unchecked(ours.try_clone()?)?;
        let writer = Sender::from_owned_fd_unchecked(ours)?;
        Ok(Pty { path: path.to_owned(), reader, writer, _other_end: other_end })
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_file(&self.path);
    }
}
