//! The texts of the signal lists, which the values of the configuration borrow from. They are added one by one while
//! others are in use, and stay where they are.

use std::cell::{Cell, OnceCell};

/// Most texts.
pub(crate) struct Texts {
    slots: Box<[OnceCell<String>]>,
    used: Cell<usize>,
}

impl Texts {
    pub(crate) fn new(most: usize) -> Self {
        Texts { slots: (0..most).map(|_| OnceCell::new()).collect(), used: Cell::new(0) }
    }

    /// Keeps a text; none where there are too many.
    pub(crate) fn add(&self, text: String) -> Option<&str> {
        let slot = self.slots.get(self.used.get())?;
        self.used.set(self.used.get() + 1);
        Some(slot.get_or_init(|| text))
    }
}
