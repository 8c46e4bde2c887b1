//! What the tests of this crate stand on: a Modbus TCP responder whose answers a test scripts byte by byte, a sink that
//! remembers, and settings that are quick.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lineside_protocols::clock::BootMillis;
use lineside_protocols::modbus::plan::plan;
use lineside_protocols::modbus::settings::{Address, Device, Layout, Line, Order16, Signal, Table};
use lineside_protocols::name::Name;
use lineside_protocols::sample::{Quality, Reason, Sample, Scan, SignalIndex, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{BoundDevice, LineTask, SharedHealth, Sink, Transition};

/// A request as it came off the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Which connection, from 0.
    pub(crate) connection: usize,
    pub(crate) transaction: u16,
    pub(crate) unit: u8,
    pub(crate) function: u8,
    pub(crate) first: u16,
    pub(crate) count: u16,
}

impl Ask {
    /// The right answer: each register holds its own address, each bit whether its address is odd.
    pub(crate) fn good(&self) -> Vec<u8> {
        let range = self.first..self.first + self.count;
        let data: Vec<u8> = if self.function <= 2 {
            let bits: Vec<bool> = range.map(|at| at % 2 == 1).collect();
            bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |packed, bit| packed << 1 | u8::from(*bit))).collect()
        } else {
            range.flat_map(u16::to_be_bytes).collect()
        };
        self.frame(&[&[self.function, u8::try_from(data.len()).unwrap()], &data[..]].concat())
    }

    /// What an identification asks for, which lies where a read has its address: MEI type and category, object.
    pub(crate) fn category(&self) -> u16 {
        assert_eq!((self.function, self.first >> 8), (0x2b, 14));
        self.first & 0xff
    }

    pub(crate) fn object(&self) -> u8 {
        u8::try_from(self.count).unwrap()
    }

    pub(crate) fn exception(&self, code: u8) -> Vec<u8> {
        self.frame(&[self.function | 0x80, code])
    }

    /// Any PDU under the right header.
    pub(crate) fn frame(&self, pdu: &[u8]) -> Vec<u8> {
        let length = u16::try_from(pdu.len() + 1).unwrap();
        [&self.transaction.to_be_bytes()[..], &[0, 0], &length.to_be_bytes(), &[self.unit], pdu].concat()
    }
}

/// What the responder does with one request.
pub(crate) enum Act {
    Send(Vec<u8>),
    SendAndClose(Vec<u8>),
    Ignore,
    Close,
}

type Script = Box<dyn FnMut(Ask) -> Act + Send>;

/// Answers as its script says, and remembers what it was asked. Ends with the test.
pub(crate) struct Responder {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Ask>>>,
    _tasks: JoinSet<()>,
}

impl Responder {
    pub(crate) fn start(script: impl FnMut(Ask) -> Act + Send + 'static) -> Self {
        Self::listen_on("127.0.0.1:0".parse().unwrap(), script)
    }

    pub(crate) fn listen_on(address: SocketAddr, script: impl FnMut(Ask) -> Act + Send + 'static) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::clone(&asked), Arc::new(Mutex::new(Box::new(script)))));
        Responder { address, asked, _tasks: tasks }
    }

    pub(crate) fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.asked().iter().map(|ask| ask.connection + 1).max().unwrap_or(0)
    }
}

async fn serve(listener: TcpListener, asked: Arc<Mutex<Vec<Ask>>>, script: Arc<Mutex<Script>>) {
    let mut connections = JoinSet::new();
    for connection in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(answer(stream, connection, Arc::clone(&asked), Arc::clone(&script)));
    }
}

async fn answer(mut stream: TcpStream, connection: usize, asked: Arc<Mutex<Vec<Ask>>>, script: Arc<Mutex<Script>>) {
    let mut request = [0; 12];
    while stream.read_exact(&mut request[..11]).await.is_ok() {
        if request[7] == 0x2b {
            // One byte less: the object stands where a count's low byte would.
            assert_eq!(request[5], 5);
            request[11] = std::mem::take(&mut request[10]);
        } else {
            assert_eq!(request[2..6], [0, 0, 0, 6], "every read request is 12 bytes");
            stream.read_exact(&mut request[11..]).await.unwrap();
        }
        let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
        let ask = Ask {
            connection,
            transaction: word(0),
            unit: request[6],
            function: request[7],
            first: word(8),
            count: word(10),
        };
        asked.lock().unwrap().push(ask);
        let act = (script.lock().unwrap())(ask);
        match act {
            // The other end may be gone already; that is its right.
            Act::Send(bytes) => drop(stream.write_all(&bytes).await),
            Act::SendAndClose(bytes) => return drop(stream.write_all(&bytes).await),
            Act::Ignore => {}
            Act::Close => return,
        }
    }
}

/// A port that nothing listens on.
pub(crate) async fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Waits for what others do, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.expect("this should have happened long ago")
}

/// Remembers all that came, and wakes whoever waits for it.
#[derive(Default)]
pub(crate) struct Memory {
    scans: Mutex<Vec<Scan>>,
    transitions: Mutex<Vec<(String, Transition)>>,
    changed: Notify,
}

impl Sink for Memory {
    fn scan(&self, scan: Scan) {
        self.scans.lock().unwrap().push(scan);
        self.changed.notify_one();
    }

    fn transition(&self, device: &Name, _: BootMillis, change: Transition) {
        self.transitions.lock().unwrap().push((device.to_string(), change));
        self.changed.notify_one();
    }
}

impl Memory {
    pub(crate) fn scans(&self) -> Vec<Scan> {
        self.scans.lock().unwrap().clone()
    }

    pub(crate) fn transitions(&self) -> Vec<(String, Transition)> {
        self.transitions.lock().unwrap().clone()
    }

    /// All samples of the signal with this catalogue index.
    pub(crate) fn samples(&self, signal: u32) -> Vec<Sample> {
        let of = |scan: Scan| {
            let (SignalIndex(first), SignalIndex(last)) = scan.columns.ranges[0];
            (first..=last).contains(&signal).then(|| scan.samples[(signal - first) as usize].clone())
        };
        self.scans().into_iter().filter_map(of).collect()
    }

    pub(crate) fn reasons(&self, signal: u32) -> Vec<Option<Reason>> {
        self.samples(signal).iter().map(reason).collect()
    }

    pub(crate) async fn wait_until(&self, done: impl Fn(&Self) -> bool) {
        soon(async {
            while !done(self) {
                self.changed.notified().await;
            }
        })
        .await;
    }
}

/// Why a sample is bad.
pub(crate) fn reason(sample: &Sample) -> Option<Reason> {
    match sample.quality() {
        Quality::Bad(reason) => Some(reason),
        Quality::Good(_) | Quality::Uncertain(_) => None,
    }
}

pub(crate) fn register(at: u16) -> Sample {
    Sample::good(Value::U16(at))
}

/// A line with a task that runs until the end of the test.
pub(crate) struct Running {
    pub(crate) memory: Arc<Memory>,
    pub(crate) health: Vec<SharedHealth>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: JoinSet<()>,
}

/// Runs `devices` on the line of the first; signals are numbered in the order of the devices' plans.
pub(crate) fn run(devices: Vec<Device>) -> Running {
    let mut next = 0;
    let mut columns = 0;
    let line = devices[0].line.clone();
    let devices = devices.into_iter().map(|device| {
        let bound = plan(&device).bind(SignalIndex(next), columns);
        next += u32::try_from(device.signals.len()).unwrap();
        columns += bound.requests();
        BoundDevice::new(device, bound)
    });
    let devices: Vec<BoundDevice> = devices.collect();
    let health = devices.iter().map(BoundDevice::health).collect();
    let memory = Arc::new(Memory::default());
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let sink: Arc<dyn Sink> = memory.clone();
    tasks.spawn(LineTask::new(line, devices, sink, || BootMillis(60_000)).run(shutdown.clone()));
    Running { memory, health, shutdown, tasks }
}

/// Unit 1 of the line at `address`, polled each 20 ms, quick to give up and to come back.
pub(crate) fn device(address: SocketAddr, signals: Vec<Signal>) -> Device {
    let name: Name = "press-7".parse().unwrap();
    let line = Line {
        reconnect_min: Duration::from_millis(10),
        reconnect_max: Duration::from_millis(40),
        ..Line::tcp(address.ip().to_string(), address.port())
    };
    Device { timeout: Duration::from_millis(200), ..Device::new(name, line, 1, signals) }
}

pub(crate) fn signal(table: Table, offset: u16) -> Signal {
    let layout = if table.is_bits() { Layout::Coil } else { Layout::U16(Order16::AB) };
    Signal::new("pressure".parse().unwrap(), Address { table, offset }, layout, Duration::from_millis(20))
}

pub(crate) fn holding(offset: u16) -> Signal {
    signal(Table::HoldingRegister, offset)
}
