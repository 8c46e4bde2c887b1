//! The one task that empties the buffer into the cloud.
//!
//! ```text
//!   connecting ──▶ connected ◀───────────── accepted ─────────────────────┐
//!                      │                                                  │
//!                      ├── 5xx, 429, timeout, no connection ──▶ waiting ──┤  back-off, or the probe gets through
//!                      ├── 401, 403, 3xx, TLS, … ─────────────▶ held ─────┤  alarm; back-off to retry_max
//!                      ├── no interface has the address ──▶ source-address-missing ──┤  looked for each second
//!                      └── certificate, key or CA refused ──▶ identity-refused ──────┘  another client in use
//! ```
//!
//! Events go before readings, the oldest first. Nothing leaves the buffer but on the cloud's explicit accept, as a
//! quarantine row, or as a recorded drop: this task reports verdicts, the buffer books them. What an answer means is
//! `protocols::wire::verdict`; how a request is made is [`batch`]; how long to wait is [`pause`]; which
//! client it is made with is [`identity`].

pub mod batch;
mod identity;
pub mod pause;
mod report;

use std::collections::HashSet;
use std::time::Duration;

use lineside_buffer::{Append, Buffer, Lane, Peek, Quarantine, Settlement};
use lineside_https::{Client, Frames, new_traceparent};
use lineside_protocols::ranges::Range;
use lineside_protocols::uplink::Settings;
use lineside_protocols::wire::contract::Limits;
use lineside_protocols::wire::frame::{Compressor, encoding_of};
use lineside_protocols::wire::verdict::{CatalogueVerdict, Sent, Verdict, catalogue_verdict, verdict};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::batch::{AssembleError, Assembler, Batch};
pub use self::identity::{Clients, Keeper};
use self::pause::{Pacing, Pause};
pub use self::report::{Report, Topic};

/// Frames of one request in bytes, where the cloud asks for no less: about 100 000 readings.
const BODY: usize = 256 << 10;
/// Least that a 413, or the cloud's own limit, may bring this to.
const LEAST_BODY: usize = 1 << 10;
/// Catalogues that the cloud may ask for in a row without accepting anything.
const MAX_CATALOGUES_IN_A_ROW: u32 = 8;

/// Longest that one request makes the next one wait, however low a rate the cloud asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What comes after a step.
#[derive(Debug)]
enum Next {
    /// There may be more: go on at once.
    Again,
    /// Nothing is owed: wait for a commit.
    Idle,
    /// Something is owed and cannot be delivered now.
    Pause(Pause),
}

/// What alone is sent next of one lane's epoch, after the cloud refused more at once.
#[derive(Debug)]
struct Window {
    lane: Lane,
    epoch: String,
    range: Range,
}

impl Window {
    fn is_of(&self, peek: &Peek) -> bool {
        self.lane == peek.lane() && self.epoch == peek.epoch()
    }
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
    buffer: Buffer,
    catalogue: StoredCatalogue,
    assembler: Assembler,
    clients: Clients,
    report: Report,
    pacing: Pacing,
    /// Catalogues that the cloud has acknowledged to this run.
    known: HashSet<String>,
    catalogues_in_a_row: u32,
    /// Frames of the next request, in bytes.
    body: usize,
    /// From when on the cloud wants to hear more, where it limits the rate.
    not_before: Option<Instant>,
    window: Option<Window>,
}

impl Forwarder {
    /// Nothing is sent before [`Self::run`]. `catalogue` is this run's, `compressor` of the configured encoding.
    #[must_use]
    pub fn new(
        settings: Settings,
        clients: Clients,
        buffer: Buffer,
        catalogue: StoredCatalogue,
        compressor: Compressor,
        report: Report,
    ) -> Self {
        Forwarder {
            assembler: Assembler::new(compressor),
            pacing: Pacing::new(settings.retry_min, settings.retry_max),
            settings,
            buffer,
            catalogue,
            clients,
            report,
            known: HashSet::new(),
            catalogues_in_a_row: 0,
            body: BODY,
            not_before: None,
            window: None,
        }
    }

    /// Forwards until `finish`; from then on only as long as something is owed and the cloud takes it.
    pub async fn run(mut self, finish: CancellationToken) {
        let mut commits = self.buffer.stats();
        loop {
            // Asked before the step: what is committed while it runs is found by one more.
            let finishing = finish.is_cancelled();
            commits.mark_unchanged();
            match self.step().await {
                Next::Again => {}
                Next::Idle | Next::Pause(_) if finishing => return,
                Next::Idle => tokio::select! {
                    changed = commits.changed() => if changed.is_err() { return },
                    // Once more round: what was committed last is still to be sent.
                    () = finish.cancelled() => {}
                },
                Next::Pause(pause) => {
                    self.report.failed(pause.state, &pause.why);
                    let client = self.clients.latest();
                    if pause.doubts_identity && client.is_some() {
                        self.clients.doubt();
                    }
                    tokio::select! {
                        () = self.pacing.sit_out(&pause, client.as_deref()) => {}
                        () = self.clients.changed(), if pause.doubts_identity => {}
                        () = finish.cancelled() => {}
                    }
                }
            }
        }
    }

    /// One batch at most.
    async fn step(&mut self) -> Next {
        let Some(peek) = self.peek().await else { return Next::Idle };
        let window = self.window.as_ref().filter(|window| window.is_of(&peek)).map(|window| window.range);
        let batch = match self.assembler.assemble(&peek, window) {
            Ok(Some(batch)) => batch,
            // The window lay in what has been settled or evicted since.
            Ok(None) => {
                self.window = None;
                return Next::Again;
            }
            Err(AssembleError::Unreadable { range, detail }) => {
                return self.set_aside(&peek, vec![quarantine(range, "unreadable".into(), detail)]).await;
            }
            Err(AssembleError::Compress(error)) => return Next::Pause(Pause::local(error.to_string())),
        };
        match self.clients.current() {
            Ok(client) => self.send(&client, &peek, batch).await,
            Err(why) => Next::Pause(Pause::identity(why)),
        }
    }

    async fn peek(&self) -> Option<Peek> {
        for lane in Lane::ALL {
            if let Some(peek) = self.buffer.peek(lane, self.body, None).await {
                return Some(peek);
            }
        }
        None
    }

    async fn send(&mut self, client: &Client, peek: &Peek, mut batch: Batch) -> Next {
        for id in &batch.catalogues {
            if let Some(next) = self.put_catalogue(client, id, peek, batch.range).await {
                return next;
            }
        }
        if let Some(time) = self.not_before.take() {
            sleep_until(time).await;
        }
        let (first, last) = batch.range;
        let (agent, epoch) = (batch.identity.agent.clone(), batch.identity.epoch);
        let sent = Sent { agent, epoch, lane: batch.lane, first, last };
        let frames = Frames { encoding: batch.encoding, bytes: std::mem::take(&mut batch.body) };
        let bytes = frames.bytes.len();
        let outcome = client.post_batch(&sent, frames, &trace()).await;
        let verdict = verdict(&outcome, &sent);
        tracing::debug!(key = %sent.key(), bytes, ?verdict, "sent");
        match verdict {
            Verdict::Settled { accepted, rejected, limits, .. } => {
                self.keep(limits.unwrap_or_default(), bytes);
                let rejected = rejected.into_iter().map(|part| quarantine(part.range, part.problem, part.detail));
                self.settle(peek, accepted, rejected.collect()).await
            }
            Verdict::Conflict { ranges, detail } => {
                let parts = ranges.into_iter().map(|range| quarantine(range, "conflict".into(), detail.clone()));
                self.set_aside(peek, parts.collect()).await
            }
            Verdict::Halve => {
                self.body = (bytes / 2).clamp(LEAST_BODY, BODY);
                self.narrow(peek, &batch, "too-large", "a single record is larger than the cloud takes").await
            }
            Verdict::Bisect { problem, detail } => self.narrow(peek, &batch, &problem.to_string(), &detail).await,
            Verdict::PutCatalogue { id } => {
                self.known.remove(&id);
                self.catalogues_in_a_row += 1;
                if self.catalogues_in_a_row <= MAX_CATALOGUES_IN_A_ROW && batch.catalogues.contains(&id) {
                    return Next::Again;
                }
                Next::Pause(Pause::held(format!("the cloud keeps asking for catalogue {id}")))
            }
            Verdict::StateMismatch { highest } => Next::Pause(Pause::held(format!(
                "the cloud has lost what it had accepted: it accounts for this lane up to {highest} only. Nothing that is \
                 still here is lost; compare its backup with `lineside status`"
            ))),
            Verdict::Wait { after, why } => Next::Pause(Pause::waiting(why, after, &outcome)),
            Verdict::Hold { why } => Next::Pause(Pause::held_by(why, &outcome)),
        }
    }

    /// Keeps to what the cloud asks of later requests, after one of so many bytes.
    fn keep(&mut self, limits: Limits, sent: usize) {
        self.body = match limits.max_bytes {
            Some(most) => usize::try_from(most).unwrap_or(BODY).clamp(LEAST_BODY, BODY),
            // Halved at once, grown slowly: a cloud that names no limit is not asked for too much for long.
            None => (self.body + LEAST_BODY).min(BODY),
        };
        #[expect(clippy::cast_precision_loss, reason = "a pause")]
        let pause = limits.bytes_per_s.map(|rate| sent as f64 / rate.max(1) as f64);
        self.not_before = pause.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds).min(LONGEST_PAUSE));
    }

    /// Puts a catalogue that this run has not put yet. Says what comes next where that did not work.
    async fn put_catalogue(&mut self, client: &Client, id: &str, peek: &Peek, range: Range) -> Option<Next> {
        if self.known.contains(id) {
            return None;
        }
        let Some(frame) = self.buffer.catalogue(id).await else {
            return Some(self.catalogue_is_missing(id, peek, range).await);
        };
        let encoding = encoding_of(&frame).unwrap_or(self.settings.encoding);
        let outcome = client.put_catalogue(id, Frames { encoding, bytes: frame }, &trace()).await;
        match catalogue_verdict(&outcome) {
            CatalogueVerdict::Stored => {
                self.known.insert(id.to_owned());
                None
            }
            CatalogueVerdict::Wait { after, why } => Some(Next::Pause(Pause::waiting(why, after, &outcome))),
            CatalogueVerdict::Hold { why } => Some(Next::Pause(Pause::held_by(why, &outcome))),
        }
    }

    /// This run's own is stored again; without an earlier one its blocks say nothing any more.
    async fn catalogue_is_missing(&mut self, id: &str, peek: &Peek, range: Range) -> Next {
        if id != self.catalogue.id {
            let detail = format!("its catalogue {id} is damaged or gone, so nobody can tell what the values are");
            return self.set_aside(peek, vec![quarantine(range, "catalogue".into(), detail)]).await;
        }
        let StoredCatalogue { id, frame } = self.catalogue.clone();
        match self.buffer.append_durable(vec![Append::Catalogue { id, frame }]).await {
            Ok(()) => Next::Again,
            Err(error) => Next::Pause(Pause::local(error.to_string())),
        }
    }

    /// The cloud refuses the batch as a whole: try its first half, or set the culprit aside once it is alone. A gap or
    /// quarantine line that is refused is settled by that: its numbers are counted already.
    async fn narrow(&mut self, peek: &Peek, batch: &Batch, problem: &str, detail: &str) -> Next {
        if let Some(range) = batch.first_half() {
            self.window = Some(Window { lane: peek.lane(), epoch: peek.epoch().to_owned(), range });
            return Next::Again;
        }
        self.set_aside(peek, vec![quarantine(batch.range, problem.to_owned(), detail.to_owned())]).await
    }

    async fn set_aside(&mut self, peek: &Peek, parts: Vec<Quarantine>) -> Next {
        self.settle(peek, Vec::new(), parts).await
    }

    /// Books what the cloud said, and nothing else: without a booking there is no progress.
    async fn settle(&mut self, peek: &Peek, accepted: Vec<Range>, quarantine: Vec<Quarantine>) -> Next {
        if self.window.as_ref().is_some_and(|window| window.is_of(peek)) {
            self.window = None;
        }
        for part in &quarantine {
            let Quarantine { first, last, reason, detail } = part;
            self.report.set_aside(format!("{} {first}-{last}: {reason} {detail}", peek.lane().name()));
        }
        let is_accepted = !accepted.is_empty();
        match self.buffer.settle(peek, Settlement { accepted, quarantine, ..Settlement::default() }).await {
            Ok(settled) if settled.delivered + settled.quarantined + settled.told > 0 => {
                self.catalogues_in_a_row = 0;
                self.pacing.reset();
                if is_accepted {
                    self.report.acknowledged();
                }
                Next::Again
            }
            Ok(_) => Next::Pause(Pause::held("the cloud's answer settles nothing of what was sent".into())),
            // What was accepted is sent again, and recognised.
            Err(error) => Next::Pause(Pause::local(error.to_string())),
        }
    }
}

fn quarantine((first, last): Range, reason: String, detail: String) -> Quarantine {
    Quarantine { first, last, reason, detail }
}

/// Where the kernel has no random numbers, a request without a trace of its own is better than none.
fn trace() -> String {
    new_traceparent().unwrap_or_else(|_| lineside_https::traceparent(1, 1))
}
