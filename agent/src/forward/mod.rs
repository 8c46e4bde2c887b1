//! The one task that empties the buffer into the cloud.
//!
//! ```text
//!   connecting ──▶ connected ◀───────────── accepted ─────────────────────┐
//!                      │                                                  │
//!                      ├── 5xx, 429, timeout, no connection ──▶ waiting ──┤  back-off, or the probe gets through
//!                      ├── 401, 403, 3xx, TLS, … ─────────────▶ held ─────┤  alarm; back-off to retry_max
//!                      ├── no interface has the address ──▶ source-address-missing ──┤  looked for each second
//!                      └── certificate, key or CA refused ──▶ identity-refused ──────┘  loaded again each ten
//! ```
//!
//! Events go before readings, the oldest first. Nothing leaves the buffer but on the cloud's explicit accept, as a
//! quarantine row, or as a recorded drop: this task reports verdicts, the buffer books them. What an answer means is
//! `protocols::wire::verdict`; how a request is made is [`batch`]; how long to wait is [`pause`].

pub mod batch;
pub mod pause;
mod report;

use std::collections::HashSet;

use lineside_buffer::{Buffer, Lane, Peek, Quarantine, Settlement};
use lineside_https::{Client, Frames, new_traceparent};
use lineside_protocols::name::Name;
use lineside_protocols::ranges::Range;
use lineside_protocols::uplink::Settings;
use lineside_protocols::wire::frame::Compressor;
use lineside_protocols::wire::verdict::{CatalogueVerdict, Sent, Verdict, catalogue_verdict, verdict};
use tokio_util::sync::CancellationToken;

use self::batch::{Assembler, Batch};
use self::pause::{Pacing, Pause};
pub use self::report::Report;

/// Frames of one request in bytes, where the cloud asks for no less: about 100 000 readings.
const BODY: usize = 256 << 10;
/// Least that a 413, or the cloud's own limit, may bring this to.
const LEAST_BODY: usize = 1 << 10;
/// Catalogues that the cloud may ask for in a row without accepting anything.
const MAX_CATALOGUES_IN_A_ROW: u32 = 8;

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

/// The task.
#[derive(Debug)]
pub struct Forwarder {
    settings: Settings,
    agent: Name,
    buffer: Buffer,
    assembler: Assembler,
    client: Option<Client>,
    report: Report,
    pacing: Pacing,
    /// Catalogues that the cloud has acknowledged to this run.
    known: HashSet<String>,
    catalogues_in_a_row: u32,
    /// Frames of the next request, in bytes.
    body: usize,
    /// What alone is sent next, after the cloud refused more at once.
    window: Option<Range>,
}

impl Forwarder {
    /// Nothing is sent before [`Self::run`].
    #[must_use]
    pub fn new(settings: Settings, agent: Name, buffer: Buffer, compressor: Compressor, report: Report) -> Self {
        Forwarder {
            assembler: Assembler::new(agent.clone(), compressor),
            pacing: Pacing::new(settings.retry_min, settings.retry_max),
            settings,
            agent,
            buffer,
            client: None,
            report,
            known: HashSet::new(),
            catalogues_in_a_row: 0,
            body: BODY,
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
                    tokio::select! {
                        () = self.pacing.sit_out(&pause, self.client.as_ref()) => {}
                        () = finish.cancelled() => {}
                    }
                }
            }
        }
    }

    /// One batch at most.
    async fn step(&mut self) -> Next {
        let Some(peek) = self.peek().await else {
            self.window = None;
            return Next::Idle;
        };
        let batch = match self.assembler.assemble(&peek, self.window) {
            Ok(Some(batch)) => batch,
            // The window lay in what has been settled or evicted since.
            Ok(None) => {
                self.window = None;
                return Next::Again;
            }
            Err(unreadable) => {
                tracing::error!(range = ?unreadable.range, %unreadable, "a stored block cannot be read: it is set aside");
                return self.set_aside(&peek, [(unreadable.range, "unreadable".into(), unreadable.detail)]).await;
            }
        };
        let client = match self.client.take().map_or_else(|| Client::new(&self.settings, &self.agent), Ok) {
            Ok(client) => client,
            Err(error) => return Next::Pause(Pause::identity(error.to_string())),
        };
        self.report.certificate(client.identity().not_after());
        let next = self.send(&client, &peek, batch).await;
        self.client = Some(client);
        next
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
            if let Some(pause) = self.put_catalogue(client, id).await {
                return Next::Pause(pause);
            }
        }
        let (first, last) = batch.range;
        let sent = Sent { agent: self.agent.clone(), epoch: batch.epoch, lane: batch.lane, first, last };
        let body = std::mem::take(&mut batch.body);
        let bytes = body.len();
        let outcome = client.post_batch(&sent, self.frames(body), &trace()).await;
        let verdict = verdict(&outcome, &sent);
        tracing::debug!(key = %sent.key(), bytes, ?verdict, "sent");
        match verdict {
            Verdict::Settled { accepted, rejected, limits, .. } => {
                self.body = match limits.and_then(|limits| limits.max_bytes) {
                    Some(most) => usize::try_from(most).unwrap_or(BODY).clamp(LEAST_BODY, BODY),
                    // Halved at once, grown slowly: a cloud that names no limit is not asked for too much for long.
                    None => (self.body + LEAST_BODY).min(BODY),
                };
                let quarantine = rejected.into_iter().map(|part| quarantine(part.range, part.problem, part.detail));
                let quarantine = quarantine.collect();
                self.progress();
                self.settle(peek, Settlement { accepted, quarantine, ..Settlement::default() }).await
            }
            Verdict::Conflict { ranges, detail } => {
                tracing::error!(?ranges, %detail, "the cloud holds other data under these numbers: ours is set aside");
                self.progress();
                self.set_aside(peek, ranges.into_iter().map(|range| (range, "conflict".into(), detail.clone()))).await
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

    /// Puts a catalogue that this run has not put yet.
    async fn put_catalogue(&mut self, client: &Client, id: &str) -> Option<Pause> {
        if self.known.contains(id) {
            return None;
        }
        let Some(frame) = self.buffer.catalogue(id).await else {
            return Some(Pause::held(format!("catalogue {id} is not in the buffer, so its blocks cannot be sent")));
        };
        let outcome = client.put_catalogue(id, self.frames(frame), &trace()).await;
        match catalogue_verdict(&outcome) {
            CatalogueVerdict::Stored => {
                self.known.insert(id.to_owned());
                None
            }
            CatalogueVerdict::Wait { after, why } => Some(Pause::waiting(why, after, &outcome)),
            CatalogueVerdict::Hold { why } => Some(Pause::held_by(why, &outcome)),
        }
    }

    /// The cloud refuses the batch as a whole: try its first half, or set the culprit aside once it is alone.
    async fn narrow(&mut self, peek: &Peek, batch: &Batch, problem: &str, detail: &str) -> Next {
        if let Some(half) = batch.first_half() {
            self.window = Some(half);
            return Next::Again;
        }
        if !batch.is_one_record() {
            return Next::Pause(Pause::held(format!("the cloud refuses a gap or quarantine line: {problem} {detail}")));
        }
        tracing::error!(number = batch.range.0, problem, detail, "the cloud refuses this record: it is set aside");
        self.set_aside(peek, [(batch.range, problem.to_owned(), detail.to_owned())]).await
    }

    async fn set_aside(&mut self, peek: &Peek, parts: impl IntoIterator<Item = (Range, String, String)>) -> Next {
        let parts = parts.into_iter().map(|(range, reason, detail)| quarantine(range, reason, detail));
        self.settle(peek, Settlement { quarantine: parts.collect(), ..Settlement::default() }).await
    }

    async fn settle(&mut self, peek: &Peek, settlement: Settlement) -> Next {
        self.window = None;
        match self.buffer.settle(peek, settlement).await {
            Ok(_) => Next::Again,
            // Nothing is settled; what was accepted is sent again, and recognised.
            Err(error) => Next::Pause(Pause::disk(error.to_string())),
        }
    }

    fn progress(&mut self) {
        self.catalogues_in_a_row = 0;
        self.pacing.reset();
        self.report.acknowledged();
    }

    fn frames(&self, bytes: Vec<u8>) -> Frames {
        Frames { encoding: self.settings.encoding, bytes }
    }
}

fn quarantine((first, last): Range, reason: String, detail: String) -> Quarantine {
    Quarantine { first, last, reason, detail }
}

/// Where the kernel has no random numbers, a request without a trace of its own is better than none.
fn trace() -> String {
    new_traceparent().unwrap_or_else(|_| lineside_https::traceparent(1, 1))
}
