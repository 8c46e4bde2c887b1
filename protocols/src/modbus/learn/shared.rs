//! What was learned about one device, written by its poller, and read, kept and forgotten by others.

use std::sync::{Arc, Mutex, PoisonError};

use super::Learned;

/// A handle; all clones mean the same device.
#[derive(Clone, Debug, Default)]
pub struct SharedLearned(Arc<Mutex<(Learned, u64)>>);

impl SharedLearned {
    /// With what is known from an earlier run.
    #[must_use]
    pub fn new(learned: Learned) -> Self {
        SharedLearned(Arc::new(Mutex::new((learned, 0))))
    }

    /// As it is now, and its version, which every change raises.
    #[must_use]
    pub fn snapshot(&self) -> (Learned, u64) {
        self.with(|(learned, version)| (learned.clone(), *version))
    }

    /// The version alone.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.with(|(_, version)| *version)
    }

    /// Changes it, and gives the new version.
    pub fn update(&self, change: impl FnOnce(&mut Learned)) -> u64 {
        self.with(|(learned, version)| {
            change(learned);
            *version = version.wrapping_add(1);
            *version
        })
    }

    /// Facts stay meaningful whatever a panicking writer left behind, so poisoning is passed over.
    fn with<T>(&self, act: impl FnOnce(&mut (Learned, u64)) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
