//! The one task that empties the buffer into the cloud.
//!
//! ```text
//!   connecting ──▶ connected ◀───────────── accepted ─────────────────────┐
//!                      │                                                  │
//!                      ├── 5xx, 429, timeout, no connection ──▶ waiting ──┤  back-off, or the probe gets through
//!                      ├── 401, 403, 3xx, TLS, … ─────────────▶ held ─────┤  alarm; back-off to retry_max
//!                      ├── no interface has the address ──▶ source-address-missing ──┤  looked for all the time
//!                      └── certificate, key or CA refused ──▶ identity-refused ──────┘  another client in use
//! ```
//!
//! Nothing leaves the buffer but on the cloud's explicit accept, as a quarantine row, or as a recorded drop: this task
//! reports verdicts, the buffer books them. What an answer means is `protocols::wire::verdict`.
//!
//! | file        | what lives there                                                           |
//! |-------------|----------------------------------------------------------------------------|
//! | `schedule`  | what goes next: events, live readings, the backlog; how large a request is |
//! | `rate`      | how much of the backlog may go in a second                                 |
//! | `apart`     | numbers that go alone: again, narrowed down, or later                      |
//! | `batch`     | what the buffer holds becomes one request                                  |
//! | `deliver`   | one request, and what its answer comes to                                  |
//! | `reconcile` | a cloud that lost what it had accepted                                     |
//! | `holdings`  | what its list of lanes says that it lacks                                  |
//! | `question`  | when it is asked for that list, unprompted                                 |
//! | `pause`     | how long to wait when the uplink fails as a whole                          |
//! | `identity`  | the client in use, and its certificate as it changes                       |
//! | `report`    | how it stands, for `status` and the log                                    |

pub mod apart;
pub mod batch;
mod deliver;
mod holdings;
mod identity;
pub mod pause;
mod question;
pub mod rate;
mod reconcile;
mod report;
pub mod schedule;

use std::collections::HashSet;
use std::time::Duration;

use lineside_buffer::{Buffer, Lane, Peek, Stats};
use lineside_protocols::name::Name;
use lineside_protocols::ranges::Range;
use lineside_protocols::uplink::Settings;
use lineside_protocols::wire::frame::Compressor;
use lineside_protocols::wire::identity::Epoch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::apart::{Apart, Cut, MAX_WAITING, Place};
use self::batch::Assembler;
pub use self::identity::{Clients, Keeper};
use self::pause::{Pacing, Pause};
use self::question::Question;
use self::reconcile::Mismatch;
pub use self::report::{Report, Topic};
use self::schedule::{Schedule, Stream};

/// Longest that one request makes the next one wait, however low a rate the cloud asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// What a last send is worth waiting for.
const LAST_SEND: Duration = Duration::from_secs(5);
/// What the disk gets to take what was collected last.
const LAST_COMMIT: Duration = Duration::from_secs(1);

/// What comes after a step.
#[derive(Debug)]
enum Next {
    /// There may be more: go on at once.
    Again,
    /// Nothing can be sent before a commit, or before this time.
    Idle(Option<Instant>),
    /// Something is owed and cannot be delivered now.
    Pause(Pause),
}

/// What a stream has to send.
#[derive(Debug)]
enum Found {
    /// These numbers, of a peek with so many bytes.
    Send(Peek, Range, usize),
    /// Nothing before this time.
    Wait(Instant),
    /// Nothing at the moment.
    Nothing,
    /// Nothing up to the mark, and that for certain.
    Drained,
}

/// The catalogue of this run, as it was stored.
#[derive(Clone, Debug)]
pub struct StoredCatalogue {
    /// Its content hash.
    pub id: String,
    /// Its line, compressed.
    pub frame: Vec<u8>,
}

/// The task.
#[derive(Debug)]
pub struct Forwarder {
    settings: Settings,
    agent: Name,
    buffer: Buffer,
    catalogue: StoredCatalogue,
    assembler: Assembler,
    clients: Clients,
    report: Report,
    pacing: Pacing,
    schedule: Schedule,
    apart: Apart,
    /// Catalogues that the cloud has acknowledged to this run.
    known: HashSet<String>,
    catalogues_in_a_row: u32,
    /// What the cloud says it has lost, until it was asked what it still has.
    mismatch: Option<Mismatch>,
    /// Losses that are booked, of lanes of which nothing has been accepted since: one epoch of a lane at most.
    booked: Vec<(Lane, Epoch)>,
    question: Question,
}

impl Forwarder {
    /// Nothing is sent before [`Self::run`]. `catalogue` is this run's, `compressor` of the configured encoding.
    #[must_use]
    pub fn new(
        settings: Settings,
        agent: Name,
        clients: Clients,
        buffer: Buffer,
        catalogue: StoredCatalogue,
        compressor: Compressor,
        report: Report,
    ) -> Self {
        Forwarder {
            assembler: Assembler::new(compressor),
            pacing: Pacing::new(settings.retry_min, settings.retry_max, settings.source_address),
            schedule: Schedule::new(settings.backfill_rate),
            apart: Apart::new(settings.retry_min, settings.retry_max),
            question: Question::new(settings.retry_min, settings.retry_max),
            settings,
            agent,
            buffer,
            catalogue,
            clients,
            report,
            known: HashSet::new(),
            catalogues_in_a_row: 0,
            mismatch: None,
            booked: Vec::new(),
        }
    }

    /// Forwards until `finish`; from then on only as long as something is owed and the cloud takes it, or may soon.
    pub async fn run(mut self, finish: CancellationToken) {
        let mut commits = self.buffer.stats();
        loop {
            // Asked before the step: what is committed while it runs is found by one more.
            if finish.is_cancelled() {
                return self.finish().await;
            }
            commits.mark_unchanged();
            match self.step().await {
                Next::Again => {}
                Next::Idle(until) => tokio::select! {
                    changed = commits.changed() => if changed.is_err() { return },
                    () = at(until) => {}
                    () = finish.cancelled() => {}
                },
                Next::Pause(pause) => {
                    self.fail(&pause);
                    let client = self.clients.latest();
                    let asked = pause.asked().map(|asked| Instant::now() + asked);
                    tokio::select! {
                        () = self.pacing.sit_out(&pause, client.as_deref()) => {}
                        () = self.clients.changed(), if pause.doubts_identity => {}
                        () = finish.cancelled() => match asked {
                            // What the cloud asked for holds for a last send too.
                            Some(asked) if asked > Instant::now() + LAST_SEND => return,
                            asked => at(asked.or_else(|| Some(Instant::now()))).await,
                        },
                    }
                }
            }
        }
    }

    /// The last send. Whoever called for it cuts it off when it takes too long: what is not booked by then is sent
    /// again by the next run, and recognised.
    async fn finish(mut self) {
        // What was collected last may still be on its way to the disk: this is committed behind it.
        self.question.close();
        let _as_far_as_the_disk_goes = timeout(LAST_COMMIT, self.buffer.append_durable(Vec::new())).await;
        loop {
            match self.step().await {
                Next::Again => {}
                Next::Idle(Some(until)) if until < Instant::now() + LAST_SEND => sleep_until(until).await,
                Next::Idle(_) => return,
                Next::Pause(pause) => {
                    self.fail(&pause);
                    match pause.last(LAST_SEND) {
                        Some(wait) => sleep(wait).await,
                        None => return,
                    }
                }
            }
        }
    }

    fn fail(&mut self, pause: &Pause) {
        self.schedule.down();
        self.report.failed(pause.state, &pause.why);
        if pause.doubts_identity && self.clients.latest().is_some() {
            self.clients.doubt();
        }
    }

    /// One request at most.
    async fn step(&mut self) -> Next {
        if let Some(mismatch) = self.mismatch.take() {
            return self.reconcile(mismatch).await;
        }
        let now = Instant::now();
        let up = !self.schedule.is_down();
        if let Some(witness) = self.question.ask(now).filter(|_| up) {
            self.ask_unprompted(witness).await;
            return Next::Again;
        }
        let mut until: Option<Instant> = self.question.due(now).filter(|_| up);
        for stream in self.schedule.streams() {
            let wait = match self.schedule.closed_until(stream, now) {
                Some(closed) => closed,
                None => match self.find(stream, now).await {
                    Found::Send(peek, range, max_bytes) => return self.deliver(stream, &peek, range, max_bytes).await,
                    Found::Wait(wait) => wait,
                    Found::Drained => {
                        self.schedule.drained();
                        return Next::Again;
                    }
                    Found::Nothing => continue,
                },
            };
            until = Some(until.map_or(wait, |until| until.min(wait)));
        }
        Next::Idle(until)
    }

    /// The first numbers of a stream that may be sent now.
    async fn find(&self, stream: Stream, now: Instant) -> Found {
        let lane = stream.lane();
        if let Some(blocked) = self.apart.blocked_until(lane, now) {
            return Found::Wait(blocked);
        }
        let max_bytes = self.schedule.max_bytes(stream).max(self.apart.max_bytes(lane));
        // Where something may have to be passed over, its frames need not be read.
        let mut bytes = if self.apart.is_clear(lane) { max_bytes } else { 0 };
        let mut after = self.schedule.begin(stream);
        let mut wait: Option<Instant> = None;
        let mut drained = false;
        for _ in 0..=2 * MAX_WAITING {
            let Some(peek) = self.buffer.peek(lane, bytes, after).await else {
                // A disk that fails gives nothing either, and has not lost what it owes.
                drained = stream == Stream::Backfill && owes_nothing(&self.buffer.stats().borrow(), lane);
                break;
            };
            let (first, last) = peek.range();
            if stream == Stream::Backfill && self.schedule.is_behind_the_mark(peek.cursor_behind(first)) {
                drained = true;
                break;
            }
            match self.apart.cut(&Place { lane, epoch: peek.epoch().to_owned(), range: (first, last) }, now) {
                Cut::Send(range) if bytes == max_bytes => return Found::Send(peek, range, max_bytes),
                Cut::Send(_) => bytes = max_bytes,
                Cut::Wait(number, due) => {
                    after = Some(peek.cursor_behind(number));
                    wait = Some(wait.map_or(due, |wait| wait.min(due)));
                    bytes = 0;
                }
            }
        }
        match wait {
            Some(wait) => Found::Wait(wait),
            None if drained => Found::Drained,
            None => Found::Nothing,
        }
    }

    /// The cloud accepts again: what was committed up to now and is more than one request is the backlog.
    async fn link_up(&mut self) {
        if !self.schedule.is_down() {
            return;
        }
        let newest = self.buffer.newest(Lane::Readings).await;
        let begin = self.schedule.begin(Stream::Live);
        let peek = self.buffer.peek(Lane::Readings, self.schedule.max_bytes(Stream::Live), begin).await;
        let fits = peek.is_none_or(|peek| newest.is_none_or(|newest| peek.cursor() >= newest));
        self.schedule.up(newest, fits);
    }
}

/// Whether a lane that gives nothing has nothing: the disk can be read, and nothing is left there to be sent or told.
fn owes_nothing(stats: &Stats, lane: Lane) -> bool {
    !stats.state.is_failing() && stats.lane(lane).is_some_and(|lane| lane.pending == 0 && lane.unreported == 0)
}

/// Never, where there is no time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use lineside_buffer::{LaneStats, State, Written};

    use super::*;

    #[test]
    fn a_backlog_that_cannot_be_read_is_not_drained() {
        let is_drained = |state, pending, unreported| {
            let lane = |lane, pending, unreported| LaneStats {
                lane,
                collected: pending,
                delivered: 0,
                pending,
                quarantined: 0,
                dropped: 0,
                unreported,
                oldest_ms: None,
            };
            let lanes = vec![lane(Lane::Events, 7, 7), lane(Lane::Readings, pending, unreported)];
            let written = Written::default();
            let stats = Stats { lanes, bytes: 0, free_bytes: 0, max_bytes: 0, cap_bytes: 0, state, written };
            owes_nothing(&stats, Lane::Readings)
        };
        assert!(is_drained(State::Ok, 0, 0), "control");
        assert!(is_drained(State::Full, 0, 0), "a full buffer can be read");
        assert!(!is_drained(State::Ok, 1, 0), "just read anew, or not yet published");
        assert!(!is_drained(State::Ok, 0, 1), "a notice that is not durable");
        for failing in [State::DiskError, State::DiskFull, State::ReadOnly] {
            assert!(!is_drained(failing("input/output error".into()), 0, 0));
        }
    }
}
