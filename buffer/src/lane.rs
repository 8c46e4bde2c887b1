//! The two lanes. Each numbers what it carries by itself, and events go before readings.

/// What a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Rare and precious: they outlive readings when space runs out.
    Events,
    /// The stream of measured values.
    Readings,
}

impl Lane {
    /// Both, in order of priority.
    pub const ALL: [Lane; 2] = [Lane::Events, Lane::Readings];

    /// As the ingest contract and `status` name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Events => "events",
            Lane::Readings => "readings",
        }
    }

    /// As the file names it, in the column `lane` of every table.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Lane::Events => 0,
            Lane::Readings => 1,
        }
    }

    /// The lane of a row. There are two codes, and every query but these few asks for one of them.
    pub(crate) const fn of_code(code: i64) -> Self {
        if code == Lane::Events.code() { Lane::Events } else { Lane::Readings }
    }
}

/// One `T` for each lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PerLane<T> {
    events: T,
    readings: T,
}

impl<T: Clone> PerLane<T> {
    pub(crate) fn both(value: T) -> Self {
        Self { events: value.clone(), readings: value }
    }
}

impl<T> PerLane<T> {
    pub(crate) const fn get(&self, lane: Lane) -> &T {
        match lane {
            Lane::Events => &self.events,
            Lane::Readings => &self.readings,
        }
    }

    pub(crate) const fn get_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Events => &mut self.events,
            Lane::Readings => &mut self.readings,
        }
    }
}
