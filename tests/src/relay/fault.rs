//! What can be done to a piece: what one read of a socket brought.

use std::collections::VecDeque;
use std::time::Duration;

/// Which way a piece goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the gateway to the receiver.
    Requests,
    /// From the receiver to the gateway.
    Answers,
}

/// One way to spoil a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It goes on this much later, and so does what is behind it.
    Late(Duration),
    /// Byte by byte, with this pause before each.
    Drip(Duration),
    /// It goes nowhere; the line stays open.
    Swallow,
    /// It goes on twice.
    Twice,
    /// It goes on with one bit of its middle changed.
    Flip,
    /// So much of it goes on, then the line is closed in the ordinary way.
    Close(usize),
    /// So much of it goes on, then the line is reset.
    Reset(usize),
}

/// What is to be done to the next pieces.
#[derive(Debug, Default)]
pub(super) struct Faults {
    requests: Plan,
    answers: Plan,
}

#[derive(Debug, Default)]
struct Plan {
    next: VecDeque<Fault>,
    standing: Option<Fault>,
}

impl Faults {
    pub(super) fn stand(&mut self, direction: Direction, fault: Option<Fault>) {
        self.plan(direction).standing = fault;
    }

    pub(super) fn queue(&mut self, direction: Direction, faults: impl IntoIterator<Item = Fault>) {
        self.plan(direction).next.extend(faults);
    }

    /// For one piece.
    pub(super) fn take(&mut self, direction: Direction) -> Option<Fault> {
        let plan = self.plan(direction);
        plan.next.pop_front().or(plan.standing)
    }

    pub(super) fn is_standing(&mut self, direction: Direction, fault: Fault) -> bool {
        self.plan(direction).standing == Some(fault)
    }

    fn plan(&mut self, direction: Direction) -> &mut Plan {
        match direction {
            Direction::Requests => &mut self.requests,
            Direction::Answers => &mut self.answers,
        }
    }
}
