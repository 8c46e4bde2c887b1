//! One device: its units, what a test has set on them, its faults, and what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Clock;
use super::faults::{Fault, Faults};
use super::frame::{NO_ANSWER_FROM_TARGET, Request};
use super::machine::{Machine, Table};
use super::server::Server;
use crate::lock;
use crate::port::Port;

/// How many of the last requests are remembered.
const LOG: usize = 4096;

/// How a device is made.
pub struct DeviceOptions {
    name: String,
    listen: SocketAddr,
    units: BTreeMap<u8, Arc<dyn Machine>>,
    limits: (u16, u16),
}

impl DeviceOptions {
    /// A device that is one machine, unit 1 on a free port of 127.0.0.1, with the limits of the specification.
    #[must_use]
    pub fn new(name: impl Into<String>, machine: impl Machine + 'static) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        DeviceOptions { name: name.into(), listen, units: BTreeMap::new(), limits: (125, 2000) }.unit(1, machine)
    }

    /// Listens here instead.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
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
    clock: Clock,
    set: Mutex<BTreeMap<(u8, Table, u16), u16>>,
    faults: Mutex<Faults>,
    log: Mutex<VecDeque<Request>>,
    requests: AtomicU64,
    pub(super) connections: AtomicU64,
}

impl State {
    /// Counts the request and gives its reply, and how that is to be spoilt.
    pub(super) fn answer(&self, request: &Request) -> (Vec<u8>, Option<Fault>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut log = lock(&self.log);
        if log.len() == LOG {
            log.pop_front();
        }
        log.push_back(*request);
        drop(log);
        let fault = lock(&self.faults).take(request.unit);
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

/// A device that listens, or is switched off for a while. All of it may be used from any thread.
pub struct Device {
    name: String,
    port: Port,
    state: Arc<State>,
    server: Mutex<Option<Server>>,
}

impl Device {
    pub(super) fn start(options: DeviceOptions, clock: Clock) -> io::Result<Self> {
        let DeviceOptions { name, listen, units, limits } = options;
        let state = State {
            units,
            limits,
            clock,
            set: Mutex::default(),
            faults: Mutex::default(),
            log: Mutex::default(),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        };
        let device = Device { name, port: Port::reserve(listen)?, state: Arc::new(state), server: Mutex::default() };
        device.switch_on()?;
        Ok(device)
    }

    /// As it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens; the same over every [`Device::switch_off`].
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Listens again.
    ///
    /// # Errors
    /// Where the port is taken, which its reservation excludes.
    pub fn switch_on(&self) -> io::Result<()> {
        let mut server = lock(&self.server);
        if server.is_none() {
            *server = Some(Server::start(self.port.listen()?, Arc::clone(&self.state)));
        }
        Ok(())
    }

    /// Cuts all connections and closes the port: who connects is refused.
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
