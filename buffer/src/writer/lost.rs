//! The booking for a cloud that lost data: on the disk before anybody hears of it, for what it drops is told from now on.

use std::time::Instant;

use super::Writer;
use crate::buffer::Unavailable;
use crate::uplink::{CloudLost, Loss};

impl Writer {
    /// All of them, or none.
    pub(super) fn cloud_lost(
        &mut self,
        losses: &[Loss],
        now: Instant,
        now_ms: i64,
    ) -> Result<Vec<Option<CloudLost>>, Unavailable> {
        if self.is_failing() {
            return Err(Unavailable::Disk(self.state.to_string()));
        }
        let booked = losses.iter().map(|loss| self.store.cloud_lost(loss, now_ms)).collect();
        match booked {
            Ok(booked) => {
                if self.commit(now, now_ms) {
                    Ok(booked)
                } else {
                    Err(self.not_durable())
                }
            }
            Err(error) => {
                self.fail(&error, now, now_ms);
                Err(super::unavailable(error))
            }
        }
    }
}
