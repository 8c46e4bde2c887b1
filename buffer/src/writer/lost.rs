//! The booking for a cloud that lost data: on the disk before anybody hears of it, for what it drops is told from now on.

use std::time::Instant;

use super::Writer;
use crate::buffer::Unavailable;
use crate::lane::Lane;
use crate::uplink::CloudLost;

impl Writer {
    pub(super) fn cloud_lost(
        &mut self,
        lane: Lane,
        epoch: &str,
        lost: &[(u64, u64)],
        now: Instant,
        now_ms: i64,
    ) -> Result<Option<CloudLost>, Unavailable> {
        if self.is_failing() {
            return Err(Unavailable::Disk(self.state.to_string()));
        }
        let booked = self.store.cloud_lost(lane, epoch, lost, now_ms);
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
