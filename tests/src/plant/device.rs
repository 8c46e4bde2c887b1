//! One device: its units, what a test has set on them, its faults, and what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Clock;
use super::faults::{Fault, Faults, Storm};
use super::frame::{Framing, NO_ANSWER_FROM_TARGET, Reply, Request};
use super::machine::{Machine, Table};
use super::pty::Pty;
use super::server::Server;
use crate::lock;
use crate::port::Port;

/// How many of the last requests are remembered.
const LOG: usize = 4096;
/// Encapsulated Interface Transport: with it a device is asked what it is (43/14).
const IDENTIFY: u8 = 43;

/// How a device is made.
pub struct DeviceOptions {
    name: String,
    listen: Listen,
    framing: Framing,
    units: BTreeMap<u8, Arc<dyn Machine>>,
    limits: (u16, u16),
    most_connections: usize,
}

enum Listen {
    Tcp(SocketAddr),
    Serial(PathBuf),
}

impl DeviceOptions {
    /// A device that is one machine, unit 1 on a free port of 127.0.0.1, with the limits of the specification.
    #[must_use]
    pub fn new(name: impl Into<String>, machine: impl Machine + 'static) -> Self {
        let listen = Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let (units, limits, framing) = (BTreeMap::new(), (125, 2000), Framing::Tcp);
        DeviceOptions { name: name.into(), listen, framing, units, limits, most_connections: usize::MAX }
            .unit(1, machine)
    }

    /// Listens here instead.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Listen::Tcp(address);
        self
    }

    /// RTU frames through its TCP connections, as a serial server hands them on.
    #[must_use]
    pub fn rtu(mut self) -> Self {
        self.framing = Framing::Rtu;
        self
    }

    /// RTU on a serial line instead of a listener: a pseudo-terminal under this path.
    #[must_use]
    pub fn serial(mut self, path: impl Into<PathBuf>) -> Self {
        self.listen = Listen::Serial(path.into());
        self.rtu()
    }

    /// Connections at once; one more is closed as soon as it is there.
    #[must_use]
    pub fn most_connections(mut self, most: usize) -> Self {
        self.most_connections = most;
        self
    }

    /// One more unit, as behind a gateway; or another machine as that unit.
    #[must_use]
    pub fn unit(mut self, unit: u8, machine: impl Machine + 'static) -> Self {
        self.units.insert(unit, Arc::new(machine));
        self
    }

    /// Without this unit: a gateway need not have a unit 1.
    #[must_use]
    pub fn without_unit(mut self, unit: u8) -> Self {
        self.units.remove(&unit);
        self
    }

    /// Most registers and most bits in one request; more is exception 3.
    #[must_use]
    pub fn limits(mut self, registers: u16, bits: u16) -> Self {
        self.limits = (registers, bits);
        self
    }
}

/// What the listener and the test share.
pub(super) struct State {
    units: BTreeMap<u8, Arc<dyn Machine>>,
    limits: (u16, u16),
    pub(super) framing: Framing,
    pub(super) most_connections: usize,
    clock: Clock,
    set: Mutex<BTreeMap<(u8, Table, u16), u16>>,
    faults: Mutex<Faults>,
    log: Mutex<VecDeque<Request>>,
    requests: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) turned_away: AtomicU64,
    /// Requests that are no reads. None is ever forgotten, as the log forgets.
    not_reads: AtomicU64,
    spoilt: AtomicU64,
}

impl State {
    /// Counts the request and gives its reply, and how that is to be spoilt.
    pub(super) fn answer(&self, request: &Request) -> (Reply, Option<Fault>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if request.table().is_none() && request.function != IDENTIFY {
            self.not_reads.fetch_add(1, Ordering::Relaxed);
        }
        let mut log = lock(&self.log);
        if log.len() == LOG {
            log.pop_front();
        }
        log.push_back(*request);
        drop(log);
        let fault = lock(&self.faults).take(request.unit);
        if fault.is_some() {
            self.spoilt.fetch_add(1, Ordering::Relaxed);
        }
        let Some(machine) = self.units.get(&request.unit) else {
            return (request.exception(NO_ANSWER_FROM_TARGET), fault);
        };
        let time = (self.clock)();
        let set = lock(&self.set);
        let most = |table| match table {
            Table::Holding | Table::Input => self.limits.0,
            Table::Coil | Table::Discrete => self.limits.1,
        };
        let reply = request.reply(most, |table, address| {
            let known = if set.is_empty() { None } else { set.get(&(request.unit, table, address)).copied() };
            known.or_else(|| machine.read(table, address, time))
        });
        (reply, fault)
    }
}

enum Place {
    Port(Port),
    Serial(PathBuf),
}

/// A device that listens, or is switched off for a while. All of it may be used from any thread.
pub struct Device {
    name: String,
    place: Place,
    state: Arc<State>,
    server: Mutex<Option<Server>>,
}

impl Device {
    pub(super) fn start(options: DeviceOptions, clock: Clock) -> io::Result<Self> {
        let DeviceOptions { name, listen, framing, units, limits, most_connections } = options;
        let state = State {
            units,
            limits,
            framing,
            most_connections,
            clock,
            set: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            not_reads: AtomicU64::new(0),
            spoilt: AtomicU64::new(0),
        };
        let place = match listen {
            Listen::Tcp(address) => Place::Port(Port::reserve(address)?),
            Listen::Serial(path) => Place::Serial(path),
        };
        let device = Device { name, place, state: Arc::new(state), server: Mutex::default() };
        device.switch_on()?;
        Ok(device)
    }

    /// As it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens; the same over every [`Device::switch_off`]. `0.0.0.0:0` on a serial line.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match &self.place {
            Place::Port(port) => port.address(),
            Place::Serial(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }

    /// The path of its serial line, where it has one.
    #[must_use]
    pub fn serial(&self) -> Option<&Path> {
        match &self.place {
            Place::Port(_) => None,
            Place::Serial(path) => Some(path),
        }
    }

    /// `protocol` and `address`, or `serial`, as the agent's configuration writes them.
    #[must_use]
    pub fn keys(&self) -> String {
        match (&self.place, self.state.framing) {
            (Place::Port(port), Framing::Tcp) => {
                format!("protocol = \"modbus-tcp\"\naddress = \"{}\"\n", port.address())
            }
            (Place::Port(port), Framing::Rtu) => {
                format!("protocol = \"modbus-rtu-tcp\"\naddress = \"{}\"\n", port.address())
            }
            (Place::Serial(path), _) => format!("protocol = \"modbus-rtu\"\nserial = {path:?}\n"),
        }
    }

    /// Listens again; a serial line is plugged in again.
    ///
    /// # Errors
    /// Where the port is taken, which its reservation excludes, or no pseudo-terminal can be had.
    pub fn switch_on(&self) -> io::Result<()> {
        let mut server = lock(&self.server);
        if server.is_none() {
            let state = Arc::clone(&self.state);
            *server = Some(match &self.place {
                Place::Port(port) => Server::start(port.listen()?, state),
                Place::Serial(path) => Server::start_serial(Pty::plug_in(path)?, state),
            });
        }
        Ok(())
    }

    /// Cuts all connections and closes the port: who connects is refused. A serial line is unplugged.
    pub async fn switch_off(&self) {
        let server = lock(&self.server).take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    /// From now on these registers (or bits, 0 and 1) of this unit hold these values, whatever the machine says, and
    /// exist even where it has none.
    pub fn set(&self, unit: u8, table: Table, address: u16, values: &[u16]) {
        lock(&self.state.set).extend((address..).zip(values).map(|(address, value)| ((unit, table, address), *value)));
    }

    /// The machine decides again about every register.
    pub fn unset(&self) {
        lock(&self.state.set).clear();
    }

    /// Spoils every reply from now on; `None` heals.
    pub fn fault(&self, fault: Option<Fault>) {
        lock(&self.state.faults).always = fault;
    }

    /// Spoils every reply of this unit from now on, whatever the device as a whole does; `None` heals.
    pub fn fault_of(&self, unit: u8, fault: Option<Fault>) {
        let units = &mut lock(&self.state.faults).units;
        match fault {
            Some(fault) => units.insert(unit, fault),
            None => units.remove(&unit),
        };
    }

    /// Spoils the replies to the next requests, one each, after those that are queued already.
    pub fn fault_next(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.state.faults).next.extend(faults);
    }

    /// Spoils some of the replies from now on, where nothing else does; `None` heals.
    pub fn storm(&self, storm: Option<Storm>) {
        lock(&self.state.faults).storm = storm;
    }

    /// How many replies were spoilt since the start.
    #[must_use]
    pub fn spoilt(&self) -> u64 {
        self.state.spoilt.load(Ordering::Relaxed)
    }

    /// How many requests since the start asked for something else than a read or an identification.
    #[must_use]
    pub fn not_reads(&self) -> u64 {
        self.state.not_reads.load(Ordering::Relaxed)
    }

    /// How many connections were closed because there were enough.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.state.turned_away.load(Ordering::Relaxed)
    }

    /// How many requests came since the start.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// How many connections were accepted since the start.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Takes the log of requests: the last 4096 since it was taken before, oldest first.
    #[must_use]
    pub fn take_log(&self) -> Vec<Request> {
        lock(&self.state.log).drain(..).collect()
    }
}
