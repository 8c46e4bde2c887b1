//! One request, and what its answer comes to: a booking, another form of the same numbers, or a pause.

use lineside_buffer::{Append, Peek, Quarantine, Settlement};
use lineside_https::{Client, Failure, Frames, Outcome, new_traceparent};
use lineside_protocols::ranges::Range;
use lineside_protocols::wire::contract::Limits;
use lineside_protocols::wire::frame::encoding_of;
use lineside_protocols::wire::verdict::{CatalogueVerdict, Sent, Verdict, catalogue_verdict, verdict};
use tokio::time::Instant;

use super::apart::Place;
use super::batch::{AssembleError, Batch};
use super::pause::{Pause, random};
use super::reconcile::Mismatch;
use super::schedule::Stream;
use super::{Forwarder, Next, StoredCatalogue};

/// Catalogues that the cloud may ask for in a row without accepting anything.
const MAX_CATALOGUES_IN_A_ROW: u32 = 8;
/// The status of a cloud that has too much (RFC 6585, 4).
const TOO_MANY_REQUESTS: u16 = 429;

/// A request in the making, and where it came from.
#[derive(Debug)]
struct Request<'a> {
    stream: Stream,
    peek: &'a Peek,
    max_bytes: usize,
    batch: Batch,
}

impl Request<'_> {
    fn place(&self) -> Place {
        Place { lane: self.stream.lane(), epoch: self.peek.epoch().to_owned(), range: self.batch.range }
    }
}

impl Forwarder {
    /// Sends `window` of a peek that was asked for so many bytes, and books what comes of it.
    pub(super) async fn deliver(&mut self, stream: Stream, peek: &Peek, window: Range, max_bytes: usize) -> Next {
        let batch = match self.assembler.assemble(peek, Some(window)) {
            Ok(Some(batch)) => batch,
            // A window of a peek always holds something of it.
            Ok(None) => return Next::Again,
            Err(AssembleError::Unreadable { range, detail }) => {
                let place = Place { lane: peek.lane(), epoch: peek.epoch().to_owned(), range };
                return self.set_aside(peek, &place, vec![quarantine(range, "unreadable".into(), detail)]).await;
            }
            Err(AssembleError::Compress(error)) => return Next::Pause(Pause::local(error.to_string())),
        };
        match self.clients.current() {
            Ok(client) => self.send(&client, Request { stream, peek, max_bytes, batch }).await,
            Err(why) => Next::Pause(Pause::identity(why)),
        }
    }

    async fn send(&mut self, client: &Client, mut request: Request<'_>) -> Next {
        for id in request.batch.catalogues.clone() {
            if let Some(next) = self.put_catalogue(client, &id, &request).await {
                return next;
            }
        }
        let batch = &mut request.batch;
        let (first, last) = batch.range;
        let (agent, epoch) = (batch.identity.agent.clone(), batch.identity.epoch);
        let sent = Sent { agent, epoch, lane: batch.lane, first, last };
        let frames = Frames { encoding: batch.encoding, bytes: std::mem::take(&mut batch.body) };
        let bytes = frames.bytes.len();
        let begun = Instant::now();
        let outcome = client.post_batch(&sent, frames, &trace()).await;
        let took = begun.elapsed();
        let verdict = verdict(&outcome, &sent);
        tracing::debug!(key = %sent.key(), stream = ?request.stream, bytes, ?took, ?verdict, "sent");
        if let Verdict::Settled { limits, .. } | Verdict::Later { limits, .. } = &verdict {
            let limits: Limits = limits.unwrap_or_default();
            self.schedule.answered(request.stream, bytes, took, limits, Instant::now());
        }
        let (peek, place) = (request.peek, request.place());
        match verdict {
            Verdict::Settled { accepted, held, rejected, retry, .. } => {
                let rejected = rejected.into_iter().map(|part| quarantine(part.range, part.problem, part.detail));
                let settlement = Settlement { accepted, held, quarantine: rejected.collect() };
                self.settle(peek, settlement, &place, &retry).await
            }
            Verdict::Later { retry, why, .. } => self.put_off(&place, &retry, &why),
            Verdict::Conflict { ranges, detail } => {
                let parts = ranges.into_iter().map(|range| quarantine(range, "conflict".into(), detail.clone()));
                self.set_aside(peek, &place, parts.collect()).await
            }
            Verdict::Halve => {
                self.schedule.too_large(bytes);
                self.narrow(&request, "too-large", "a single record is larger than the cloud takes").await
            }
            Verdict::Bisect { problem, detail } => self.narrow(&request, &problem.to_string(), &detail).await,
            Verdict::PutCatalogue { id } => {
                self.known.remove(&id);
                self.catalogues_in_a_row += 1;
                if self.catalogues_in_a_row <= MAX_CATALOGUES_IN_A_ROW && request.batch.catalogues.contains(&id) {
                    self.apart.again(place, request.max_bytes, false);
                    return Next::Again;
                }
                self.put_off(&place, &[place.range], &format!("the cloud keeps asking for catalogue {id}"))
            }
            Verdict::StateMismatch { highest } => {
                self.apart.again(place, request.max_bytes, false);
                self.mismatched(Mismatch::of(&sent, peek.lane(), highest))
            }
            Verdict::Wait { after, why } => {
                if matches!(&outcome, Outcome::Answered(answer) if answer.status == TOO_MANY_REQUESTS) {
                    self.schedule.too_much(Instant::now());
                }
                self.again(place, &request, &outcome);
                Next::Pause(Pause::waiting(why, after, &outcome))
            }
            Verdict::Hold { why } => {
                self.again(place, &request, &outcome);
                Next::Pause(Pause::held_by(why, &outcome))
            }
        }
    }

    /// The same request again, byte for byte: the cloud may have stored it. Where there was no connection it cannot have,
    /// and what has been committed since may come along.
    fn again(&mut self, place: Place, request: &Request<'_>, outcome: &Outcome) {
        match outcome {
            Outcome::Failed(Failure::Connect(_) | Failure::Tls(_)) => {}
            Outcome::Failed(Failure::Timeout(_)) => self.apart.again(place, request.max_bytes, true),
            _ => self.apart.again(place, request.max_bytes, false),
        }
    }

    /// This content waits, and nothing else.
    fn put_off(&mut self, place: &Place, later: &[Range], why: &str) -> Next {
        let is_news = self.apart.put_off(place, later, Instant::now(), random);
        self.report.put_off(&format!("{} {}: {why}", place.lane.name(), text(later)), is_news);
        Next::Again
    }

    /// Puts a catalogue that this run has not put yet. Says what comes next where that did not work.
    async fn put_catalogue(&mut self, client: &Client, id: &str, request: &Request<'_>) -> Option<Next> {
        if self.known.contains(id) {
            return None;
        }
        let frame = match self.buffer.catalogue(id).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Some(self.catalogue_is_missing(id, request).await),
            Err(error) => return Some(Next::Pause(Pause::local(error.to_string()))),
        };
        let encoding = encoding_of(&frame).unwrap_or(self.settings.encoding);
        let outcome = client.put_catalogue(id, Frames { encoding, bytes: frame }, &trace()).await;
        let place = request.place();
        match catalogue_verdict(&outcome) {
            CatalogueVerdict::Stored => {
                self.known.insert(id.to_owned());
                None
            }
            CatalogueVerdict::Refused { why } => {
                let why = format!("catalogue {id}: {why}; what refers to it is kept, see the log of the ingest API");
                Some(self.put_off(&place, &[place.range], &why))
            }
            CatalogueVerdict::Wait { after, why } => {
                self.again(place, request, &outcome);
                Some(Next::Pause(Pause::waiting(why, after, &outcome)))
            }
            CatalogueVerdict::Hold { why } => {
                self.again(place, request, &outcome);
                Some(Next::Pause(Pause::held_by(why, &outcome)))
            }
        }
    }

    /// This run's own is stored again; without an earlier one its blocks say nothing any more.
    async fn catalogue_is_missing(&mut self, id: &str, request: &Request<'_>) -> Next {
        if id != self.catalogue.id {
            let detail = format!("its catalogue {id} is damaged or gone, so nobody can tell what the values are");
            let part = quarantine(request.batch.range, "catalogue".into(), detail);
            return self.set_aside(request.peek, &request.place(), vec![part]).await;
        }
        let StoredCatalogue { id, frame } = self.catalogue.clone();
        match self.buffer.append_durable(vec![Append::Catalogue { id, frame }]).await {
            Ok(()) => Next::Again,
            Err(error) => Next::Pause(Pause::local(error.to_string())),
        }
    }

    /// The cloud refuses the batch as a whole: try its first half, or set the culprit aside once it is alone. A gap or
    /// quarantine line that is refused is settled by that: its numbers are counted already.
    async fn narrow(&mut self, request: &Request<'_>, problem: &str, detail: &str) -> Next {
        let place = request.place();
        if let Some(range) = request.batch.first_half() {
            self.apart.done(&place);
            self.apart.again(Place { range, ..place }, request.max_bytes, false);
            return Next::Again;
        }
        let culprit = quarantine(place.range, problem.to_owned(), detail.to_owned());
        self.set_aside(request.peek, &place, vec![culprit]).await
    }

    async fn set_aside(&mut self, peek: &Peek, sent: &Place, quarantine: Vec<Quarantine>) -> Next {
        self.settle(peek, Settlement { quarantine, ..Settlement::default() }, sent, &[]).await
    }

    /// Books what the cloud said, and nothing else: without a booking there is no progress. `later` of what was sent
    /// waits.
    async fn settle(&mut self, peek: &Peek, settlement: Settlement, sent: &Place, later: &[Range]) -> Next {
        let is_news = self.apart.put_off(sent, later, Instant::now(), random);
        if !later.is_empty() {
            let why = format!("{} {}: the cloud wants it later", sent.lane.name(), text(later));
            self.report.put_off(&why, is_news);
        }
        for part in &settlement.quarantine {
            let Quarantine { first, last, reason, detail } = part;
            self.report.set_aside(format!("{} {first}-{last}: {reason} {detail}", peek.lane().name()));
        }
        self.witnessed(peek, &settlement);
        let is_accepted = !(settlement.accepted.is_empty() && settlement.held.is_empty());
        match self.buffer.settle(peek, settlement).await {
            Ok(settled) if settled.delivered + settled.quarantined + settled.told > 0 => {
                self.catalogues_in_a_row = 0;
                self.pacing.reset();
                if is_accepted {
                    self.booked.retain(|(lane, _)| *lane != peek.lane());
                    self.report.acknowledged();
                    self.link_up().await;
                }
                Next::Again
            }
            Ok(_) => Next::Pause(Pause::held("the cloud's answer settles nothing of what was sent".into())),
            // What was accepted is sent again, and recognised.
            Err(error) => Next::Pause(Pause::local(error.to_string())),
        }
    }
}

/// `7-7`, and how many more there are.
fn text(ranges: &[Range]) -> String {
    let more = ranges.len().saturating_sub(1);
    match ranges.first() {
        Some((first, last)) if more > 0 => format!("{first}-{last} and {more} more"),
        Some((first, last)) => format!("{first}-{last}"),
        None => String::new(),
    }
}

fn quarantine((first, last): Range, reason: String, detail: String) -> Quarantine {
    Quarantine { first, last, reason, detail }
}

/// Where the kernel has no random numbers, a request without a trace of its own is better than none.
fn trace() -> String {
    new_traceparent().unwrap_or_else(|_| lineside_https::traceparent(1, 1))
}
