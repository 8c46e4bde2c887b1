//! The file as it is written: every key of every section once, with its form, its range, its default and what it
//! means. The reading of the file, its JSON Schema and the reference (README.md) all come from these structs, so they
//! cannot disagree. What must fit together between keys is in [`crate::check`].

pub(crate) mod field;
pub(crate) mod line;
pub(crate) mod network;
pub(crate) mod number;
pub(crate) mod pin;
pub(crate) mod quantity;
pub(crate) mod register;
pub(crate) mod schema;
pub(crate) mod text;

use lineside_protocols::modbus::settings::{AfterException, MAX_BITS, MAX_REGISTERS, Overrun, Parity};
use lineside_protocols::uplink::Encoding;
use schemars::JsonSchema;
use serde::Deserialize;

use field::Field;
use line::{Baud, FrameGap, MaxRate, Protocol, RegisterOffset, SerialPath, Template, Variables};
use network::{HostPort, HttpsUrl, SourceAddress};
use number::{Bounds, Integer, Number, Switch};
use pin::Pins;
use quantity::{GIB, H, Interval, IntervalOrOff, KIB, MIB, MIN, Rate, S, Size, TIB};
use register::{NoValues, Order, Reference, Register, Type};
use text::{FilePath, Identifier, KeyFile, OneOf, Place, Unit};

/// The version of the file format that is read.
pub(crate) const SCHEMA: u16 = 1;

type RequestTimeout = Interval<S, { 10 * MIN }>;
type Retry = Interval<100, H>;
type Commit = Interval<10, MIN>;
type MaxSize = Size<{ 16 * MIB }, TIB>;
type MaxAge = IntervalOrOff<MIN, { 3650 * 24 * H }>;
type MinFree = Size<0, TIB>;
type Backfill = Rate<{ 16 * KIB }, GIB>;
type Poll = Interval<1, { 24 * H }>;
type Timeout = Interval<10, MIN>;
type Pause = Interval<0, MIN>;
type Reconnect = Interval<10, H>;
type Registers = Integer<1, MAX_REGISTERS>;
type Bits = Integer<1, MAX_BITS>;
type Gap = Integer<0, { MAX_REGISTERS - 1 }>;
type GapBits = Integer<0, { MAX_BITS - 1 }>;
type Rts = Interval<0, 100>;
type IdleClose = IntervalOrOff<S, { 24 * H }>;
type HoleRetry = Interval<S, { 7 * 24 * H }>;
type Probe = Interval<S, H>;
type BusyBackoff = Interval<100, H>;

/// Configuration of the lineside agent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "lineside.toml")]
pub(crate) struct File {
    /// The version of this file's format.
    #[schemars(required)]
    pub(crate) schema: Option<Field<Integer<SCHEMA, SCHEMA>>>,
    /// This gateway.
    #[schemars(required)]
    pub(crate) agent: Option<Agent>,
    /// The line to the ingest API.
    #[schemars(required)]
    pub(crate) uplink: Option<Uplink>,
    /// The buffer on disk.
    #[serde(default)]
    pub(crate) buffer: Buffer,
    /// The devices that are read.
    pub(crate) device: Option<Vec<Device>>,
}

/// `[agent]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agent {
    /// What this gateway is called; unique for its receiver.
    #[schemars(required)]
    pub(crate) id: Option<Field<Identifier>>,
    /// Where the equipment stands, as ISA-95 has it: `enterprise/site/area/line` or `…/line/cell`. The first part of
    /// every signal's identity.
    #[schemars(required)]
    pub(crate) location: Option<Field<Place>>,
}

/// `[uplink]`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Uplink {
    /// The base of the ingest API, `https://host[:port][/path]`.
    #[schemars(required)]
    pub(crate) url: Option<Field<HttpsUrl>>,
    /// The only address that anything is sent from: the one on the receiver's allow list.
    #[schemars(required)]
    pub(crate) source_address: Option<Field<SourceAddress>>,
    /// PEM file of the only authorities that may have signed the receiver's certificate.
    #[schemars(required)]
    pub(crate) ca: Option<Field<FilePath>>,
    /// PEM file of the client certificate, leaf first.
    #[schemars(required)]
    pub(crate) certificate: Option<Field<FilePath>>,
    /// PEM file of its key, readable by its owner only, or a systemd credential.
    #[schemars(required)]
    pub(crate) private_key: Option<Field<KeyFile>>,
    /// Longest wait for an answer of the receiver.
    #[serde(default = "RequestTimeout::seconds::<30>")]
    pub(crate) request_timeout: Field<RequestTimeout>,
    /// First wait after a failure, before jitter; at most `retry_max`.
    #[serde(default = "Retry::seconds::<1>")]
    pub(crate) retry_min: Field<Retry>,
    /// Longest wait after a failure.
    #[serde(default = "Retry::seconds::<300>")]
    pub(crate) retry_max: Field<Retry>,
    /// Most bytes a second that a backlog takes once the receiver is back: what is collected meanwhile goes before it.
    #[serde(default = "Backfill::mebibytes::<1>")]
    pub(crate) backfill_rate: Field<Backfill>,
    /// Compression of what is stored and sent; `gzip` where the receiver cannot take zstd.
    #[serde(default)]
    pub(crate) encoding: Field<OneOf<Encoding>>,
    /// Public keys of which the receiver's certificate, or one above it, must hold one, beside being signed by `ca`:
    /// SHA-256 of the SubjectPublicKeyInfo in base64. Empty: `ca` is enough.
    #[serde(default = "Pins::none")]
    pub(crate) pin_spki: Field<Pins>,
}

/// `[buffer]`.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Buffer {
    /// Where the buffer lies.
    pub(crate) directory: Field<FilePath>,
    /// Most disk space that the buffer takes. When it is full, the oldest blocks go, and the gap is recorded.
    pub(crate) max_size: Field<MaxSize>,
    /// What was committed longer ago goes, and the gap is recorded.
    pub(crate) max_age: Field<MaxAge>,
    /// Disk space that the buffer leaves to others: it takes `max_size`, or what the disk has beyond this.
    pub(crate) min_free_disk: Field<MinFree>,
    /// How often readings are committed: what a power cut may cost.
    pub(crate) commit_interval: Field<Commit>,
}

/// The section as a whole may be left out.
impl Default for Buffer {
    fn default() -> Self {
        Buffer {
            directory: Field::default_of("/var/lib/lineside".into()),
            max_size: MaxSize::mebibytes::<2048>(),
            max_age: MaxAge::off(),
            min_free_disk: MinFree::mebibytes::<64>(),
            commit_interval: Commit::seconds::<1>(),
        }
    }
}

/// `[[device]]`: a unit of a Modbus server or line.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Device {
    /// What the device is called; unique.
    #[schemars(required)]
    pub(crate) name: Option<Field<Identifier>>,
    /// How it is read. Required, here or in the template.
    pub(crate) protocol: Option<Field<OneOf<Protocol>>>,
    /// Host name or IP address, and port, of `modbus-tcp` and `modbus-rtu-tcp`; the port is 502 where none is written.
    pub(crate) address: Option<Field<HostPort>>,
    /// Unit identifier behind that address, or address on that serial line (1 – 247).
    #[serde(default = "Integer::<0, 255>::of::<1>")]
    pub(crate) unit: Field<Integer<0, 255>>,
    /// The machine that its signals belong to, a part of their identity. Without it: the name of the device.
    pub(crate) asset: Option<Field<Identifier>>,
    /// `false`: checked, and then left out.
    #[serde(default = "Switch::on")]
    pub(crate) enabled: Field<Switch>,
    /// How often its signals are read.
    #[serde(default = "Poll::seconds::<1>")]
    pub(crate) poll: Field<Poll>,
    /// Longest wait for the answer to one request.
    #[serde(default = "Timeout::seconds::<1>")]
    pub(crate) timeout: Field<Timeout>,
    /// A poll whose time comes while the one before still runs: `skip` leaves it out and counts it, `catch-up` reads at
    /// once until the schedule is met again.
    #[serde(default)]
    pub(crate) overrun: Field<OneOf<Overrun>>,
    /// Most registers in one request.
    #[serde(default = "Registers::of::<MAX_REGISTERS>")]
    pub(crate) max_registers: Field<Registers>,
    /// Most coils or discrete inputs in one request.
    #[serde(default = "Bits::of::<MAX_BITS>")]
    pub(crate) max_bits: Field<Bits>,
    /// Registers without a signal that may be read over to join two requests.
    #[serde(default = "Gap::of::<0>")]
    pub(crate) gap: Field<Gap>,
    /// The same for coils and discrete inputs.
    #[serde(default = "GapBits::of::<0>")]
    pub(crate) gap_bits: Field<GapBits>,
    /// Longest wait for a connection.
    #[serde(default = "Timeout::seconds::<3>")]
    pub(crate) connect_timeout: Field<Timeout>,
    /// Pause between connecting and the first request.
    #[serde(default = "Pause::millis::<0>")]
    pub(crate) connect_pause: Field<Pause>,
    /// Pause between an answer and the next request.
    #[serde(default = "Pause::millis::<0>")]
    pub(crate) request_delay: Field<Pause>,
    /// First wait before connecting again; at most `reconnect_max`.
    #[serde(default = "Reconnect::millis::<500>")]
    pub(crate) reconnect_min: Field<Reconnect>,
    /// Longest wait before connecting again.
    #[serde(default = "Reconnect::seconds::<30>")]
    pub(crate) reconnect_max: Field<Reconnect>,
    /// What is read; at least one, here, in `signals` or in the template.
    #[schemars(length(min = 1))]
    pub(crate) signal: Option<Vec<Signal>>,

    /// The `[[template]]` that gives what is not written here.
    pub(crate) template: Option<Field<Template>>,
    /// Values for the template's `${…}`.
    pub(crate) variables: Option<Field<Variables>>,
    /// A CSV file with signals, beside or instead of `[[device.signal]]`.
    pub(crate) signals: Option<Field<FilePath>>,
    /// Added to the address of each signal: where the same registers lie elsewhere.
    #[serde(default = "RegisterOffset::none")]
    pub(crate) register_offset: Field<RegisterOffset>,

    /// The device file of the serial line, of `modbus-rtu` and `modbus-ascii`.
    pub(crate) serial: Option<Field<SerialPath>>,
    /// Bits a second on the serial line.
    #[serde(default = "Baud::usual")]
    pub(crate) baud: Field<Baud>,
    /// Data bits of a character; 7 only with `modbus-ascii`.
    #[serde(default = "Integer::<7, 8>::of::<8>")]
    pub(crate) data_bits: Field<Integer<7, 8>>,
    /// The parity bit of a character.
    #[serde(default)]
    pub(crate) parity: Field<OneOf<Parity>>,
    /// Stop bits of a character. Without parity the specification asks for 2.
    #[serde(default = "Integer::<1, 2>::of::<1>")]
    pub(crate) stop_bits: Field<Integer<1, 2>>,
    /// How long RTS is on before a request. Where this and `rts_after` are 0, RTS is not switched.
    #[serde(default = "Rts::millis::<0>")]
    pub(crate) rts_before: Field<Rts>,
    /// How long RTS stays on after a request.
    #[serde(default = "Rts::millis::<0>")]
    pub(crate) rts_after: Field<Rts>,
    /// Silence between two frames of `modbus-rtu`. `auto`: 3.5 characters, above 19200 baud 1.75 ms.
    #[serde(default = "FrameGap::auto")]
    pub(crate) frame_gap: Field<FrameGap>,

    /// The connection is closed when nothing was asked for so long, and opened again with the next request.
    #[serde(default = "IdleClose::off")]
    pub(crate) idle_close: Field<IdleClose>,
    /// How often a register that was refused, or a size that was too large, is tried again.
    #[serde(default = "HoleRetry::seconds::<600>")]
    pub(crate) hole_retry: Field<HoleRetry>,
    /// What follows an exception: `discard` reads once more, for devices that answer garbage then.
    #[serde(default)]
    pub(crate) after_exception: Field<OneOf<AfterException>>,
    /// Requests in a row without an answer after which the device is only probed.
    #[serde(default = "Integer::<1, 1000>::of::<3>")]
    pub(crate) demote_after: Field<Integer<1, 1000>>,
    /// How often it is probed then.
    #[serde(default = "Probe::seconds::<30>")]
    pub(crate) probe: Field<Probe>,
    /// How long a probe waits for its answer, at most `timeout`; each fifth waits that long.
    #[serde(default = "Timeout::millis::<200>")]
    pub(crate) probe_timeout: Field<Timeout>,
    /// Longest pause after the device said that it is busy.
    #[serde(default = "BusyBackoff::seconds::<30>")]
    pub(crate) busy_backoff_max: Field<BusyBackoff>,
    /// Requests in flight at once, with `modbus-tcp`. Many devices answer only one.
    #[serde(default = "Integer::<1, 8>::of::<1>")]
    pub(crate) pipeline: Field<Integer<1, 8>>,
    /// Most requests a second that the device is asked. Signals that need more are refused.
    #[serde(default = "MaxRate::off")]
    pub(crate) max_rate: Field<MaxRate>,
    /// Whether an answer must bear the unit that was asked; `false`, with `modbus-tcp`, for gateways that always answer
    /// as 0 or 255.
    #[serde(default = "Switch::on")]
    pub(crate) check_unit: Field<Switch>,
}

/// `[[device.signal]]`: one value of a Modbus device.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signal {
    /// What the signal is called; unique on its asset. The last part of its identity.
    #[schemars(required)]
    pub(crate) name: Option<Field<Identifier>>,
    /// The table and the address as on the wire, from 0: `holding:0`. Tables: `coil`, `discrete`, `input`, `holding`.
    pub(crate) register: Option<Field<Register>>,
    /// Instead of `register`: the number as manuals write it, from 1; in quotes where it begins with 0.
    pub(crate) reference: Option<Field<Reference>>,
    /// The type of the raw value. Without it: `u16`, of a coil or discrete input `bool`.
    #[serde(rename = "type")]
    pub(crate) kind: Option<Field<OneOf<Type>>>,
    /// The order of the bytes, `A` the most significant. Needed above 16 bits, where devices differ; else `AB`.
    pub(crate) order: Option<Field<OneOf<Order>>>,
    /// The bit of a register that is the value, 0 the least significant; with type `bool`.
    pub(crate) bit: Option<Field<Integer<0, 15>>>,
    /// The value is the raw value × `scale` + `offset`, of type `f64`; 1 and 0 change nothing, not even the type.
    #[serde(default = "Number::<false>::of::<1>")]
    pub(crate) scale: Field<Number<false>>,
    /// See `scale`.
    #[serde(default = "Number::<true>::of::<0>")]
    pub(crate) offset: Field<Number<true>>,
    /// Bounds of the value; one outside becomes the bound and is marked uncertain.
    pub(crate) clamp: Option<Field<Bounds>>,
    /// Raw values that mean "no value". NaN never is one, listed or not.
    pub(crate) no_value: Option<Field<NoValues>>,
    /// UCUM unit of the value: `bar`, `Cel`, `m3/h`.
    pub(crate) unit: Option<Field<Unit>>,
    /// How often it is read. Without it: as the device.
    pub(crate) poll: Option<Field<Poll>>,
}
