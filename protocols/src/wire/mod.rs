//! The wire format: how signals, readings, events, gaps and quarantines are written down, on disk and on the wire alike.
//!
//! ```text
//! frame      = one zstd frame (content checksum, content size) or one gzip member, of one line
//! body       = frame *frame             ; laid end to end they are one valid stream of lines
//! line       = JSON object "\n"         ; no other line feed; its first member says what it is, and the version (1)
//!
//! catalogue  = {"catalogue":1,"id","agent","version","config","signals":[{"i","signal","asset","device","source","type","unit"?}]}
//! block      = {"block":1,"agent","epoch","lane":"readings","first","count","boot","t0","mono"?,"clock","catalogue",
//!              "tables":[table]}
//!            | {"block":1,"agent","epoch","lane":"events","first","count","events":[CloudEvent]}
//! table      = {"signals":[[first,last]],"t":[],"ts"?:[],"ta"?:[],"v":[],"q"?:[[column,column,row,row,quality,reason]]}   ; grid
//!            | {"s":[],"t":[],"ts"?:[],"ta"?:[],"v":[],"q"?:[[first,last,quality,reason]]}                              ; list
//! gap        = {"gap":1,"agent","epoch","lane","first","last","count","reason"}
//! quarantine = {"quarantined":1,"agent","epoch","lane","first","last","count","reason"}
//! ```
//!
//! - **Numbers.** Per (epoch, lane), from 1. A reading's number is `first` plus its position: table by table, `v` in
//!   order. A grid's `v` is flat, column after column, `columns × rows` long; a list's `s`, `t` and `v` are of equal
//!   length.
//! - **Times** are milliseconds after `t0` (Unix ms, the smallest time of the block; a slice keeps its block's): in a
//!   grid each row's own, in a list, which is in order of time, the difference to the reading before. `ts` (server) and
//!   `ta` (agent) have the form of `t`, may go backwards and before `t0`, and are left out where they equal `t`.
//! - **Clock.** `boot` is one start of the gateway's kernel, `mono` its boot clock (`CLOCK_BOOTTIME`, ms; it never jumps)
//!   at `t0`. So `t0 - mono` is what ties wall and boot clock, one offset for the whole block: a block is closed when
//!   the wall clock is set. `clock` says how far that offset may be believed ([`identity::ClockState`]). `mono` is
//!   negative where a source's time lies before the boot, and missing in blocks that were written before it was
//!   thought of.
//! - **Corrected times.** Stored blocks are never rewritten, so a wrong time is corrected by who reads it. The true
//!   offset of a boot is `t0 - mono` of its `synced` blocks, and `offset_ms` of its events
//!   `io.lineside.clock.synchronised`, which are sent before any backlog. A reading of an `unsynced` or `stepped` block
//!   of the same agent and boot happened at `t + (true offset - (t0 - mono))`. Where several true offsets are known
//!   (a leap second, a bad time source) it is the first that was told after the reading, by the boot clock; where none
//!   was, the last before it. A reader keeps the time as it came, and says that it corrected. Where there is a `ta`, `t`
//!   is the source's own time and stays: `ta` is corrected.
//! - **Quality.** `q` lists what is not plain good, in rectangles of positions (grid) or runs (list) that do not
//!   overlap. A bad reading has `v` null.
//! - **Values** are of the type that the catalogue gives the signal: [`value`] says how each is written.
//! - **Catalogue id**: the SHA-256 of the `signals` array as sent. Its line is named by its content, so it carries no
//!   epoch; every other line does, and keeps it when a later epoch sends it.
//!
//! # Limits
//! A block holds at most [`block::MAX_READINGS`] readings and is closed when its values reach
//! [`block::FULL_BYTES`]. A reader decides how long a line may be ([`frame::decompress`]); from there on every
//! allocation is a small multiple of the line: nothing that a line says about its own size is believed.
//!
//! # Invariants
//! A line is written once, and its frame is what is stored, sent, and sent again. A reader takes a line whole or not
//! at all. A [slice](mod@slice) is a new line inside the numbers of the old one, and decodes to the same readings.

pub mod block;
pub mod catalogue;
pub mod contract;
pub mod decode;
pub mod frame;
pub mod identity;
mod json;
pub mod notice;
mod quality;
mod raw;
pub mod readings;
pub mod slice;
mod table;
pub mod value;
pub mod verdict;

#[cfg(test)]
mod tests;
