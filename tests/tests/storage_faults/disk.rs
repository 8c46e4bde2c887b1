//! A disk of its own for the gateway's buffer: an image, mounted where the buffer lies. Needs root.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// File systems that gateways have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }
}

/// A mounted image; unmounted and gone when it is dropped.
pub(crate) struct Disk {
    image: PathBuf,
    pub(crate) mount: PathBuf,
}

impl Disk {
    /// A fresh file system of so many MiB (xfs wants 300) in `image`, mounted at `mount`.
    pub(crate) fn new(system: FileSystem, mebibytes: u64, image: &Path, mount: &Path) -> Self {
        std::fs::File::create(image).unwrap().set_len(mebibytes << 20).unwrap();
        let force = if matches!(system, FileSystem::Ext4) { "-F" } else { "-f" };
        run(Command::new(format!("mkfs.{}", system.name())).args(["-q", force]).arg(image));
        std::fs::create_dir_all(mount).unwrap();
        let disk = Disk { image: image.to_owned(), mount: mount.to_owned() };
        disk.mount_again();
        disk
    }

    /// The power goes, and with it the process `pid`: what the kernel has not yet written to the medium never gets there.
    /// The log is not flushed (`EXT4_IOC_SHUTDOWN` and `XFS_IOC_GOINGDOWN`, flag 2).
    ///
    /// The process is stopped in the same breath. A commit that is under way while the file system goes down may be told
    /// that it is durable; without power nobody would be left to pass that on.
    pub(crate) fn cut_power(&self, pid: u32) {
        let going_down = "import fcntl, os, signal, struct, sys\n\
            disk = os.open(sys.argv[1], os.O_RDONLY)\n\
            os.kill(int(sys.argv[2]), signal.SIGSTOP)\n\
            fcntl.ioctl(disk, 0x8004587d, struct.pack('I', 2))";
        run(Command::new("python3").args(["-c", going_down]).arg(&self.mount).arg(pid.to_string()));
    }

    /// Writes a file until not a byte is left.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.mount.join("somebody-elses.log");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 20, 1 << 16, 1 << 12, 1] {
            while file.write(&vec![0xa5; size]).is_ok() {}
        }
        path
    }

    /// What an error of the medium does: the file system takes no more writes.
    pub(crate) fn abort(&self) {
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.mount));
    }

    pub(crate) fn unmount(&self) {
        run(Command::new("umount").arg(&self.mount));
    }

    pub(crate) fn mount_again(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _maybe_unmounted = Command::new("umount").arg("--lazy").arg(&self.mount).output();
    }
}

/// It must work.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
