//! Against a Modbus server that was not written here: tokio-modbus on TCP, on RTU through TCP, and on a serial device.
//! What a server of its kind cannot do, being late, silent or wrong, is in the tests of `link`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

use std::future::{Ready, ready};
use std::path::PathBuf;
use std::time::Duration;

use lineside_modbus::{IdentityObject, NoIdentity, identify, read_once};
use lineside_protocols::modbus::plan::plan;
use lineside_protocols::modbus::settings::{
    Address, Device, Host, Layout, Line, Order16, Parity, Serial, Signal, Table, Transport,
};
use lineside_protocols::sample::{Sample, Value};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_modbus::prelude::*;
use tokio_modbus::server::{Service, rtu, rtu_over_tcp, tcp};
use tokio_serial::{SerialPort as _, SerialStream};

/// Registers hold their address and their table, bits are on where the address is odd. Address 999 does not exist.
#[derive(Clone)]
struct Press {
    names_itself: bool,
}

impl Service for Press {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, SlaveRequest { slave, request }: SlaveRequest<'static>) -> Self::Future {
        assert_eq!(slave, 17);
        let bits = |first: u16, count: u16| (first..first + count).map(|at| at % 2 == 1).collect();
        let words = |table: u16, first: u16, count: u16| (first..first + count).map(|at| at + table).collect();
        ready(match request {
            Request::ReadHoldingRegisters(999, _) => Err(ExceptionCode::IllegalDataAddress),
            Request::ReadCoils(first, count) => Ok(Response::ReadCoils(bits(first, count))),
            Request::ReadDiscreteInputs(first, count) => Ok(Response::ReadDiscreteInputs(bits(first, count))),
            Request::ReadHoldingRegisters(first, count) => {
                Ok(Response::ReadHoldingRegisters(words(3000, first, count)))
            }
            Request::ReadInputRegisters(first, count) => Ok(Response::ReadInputRegisters(words(4000, first, count))),
            Request::ReadDeviceIdentification(read_code, _) if self.names_itself => {
                let named = |id: u8, value: &'static str| DeviceIdObject { id, value: value.into() };
                Ok(Response::ReadDeviceIdentification(ReadDeviceIdentificationResponse {
                    read_code,
                    conformity_level: ConformityLevel::BasicIdentificationStreamOnly,
                    more_follows: false,
                    next_object_id: 0,
                    device_id_objects: vec![named(0, "Acme"), named(1, "P-100"), named(2, "V2.11")],
                }))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

/// A server on each transport that it has, and how it is reached.
async fn servers(press: Press, tasks: &mut JoinSet<()>) -> Vec<Transport> {
    let mut hosts = Vec::new();
    for rtu in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = Host { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let press = press.clone();
        hosts.push(if rtu { Transport::RtuOverTcp(at) } else { Transport::Tcp(at) });
        tasks.spawn(async move {
            let accept = |stream, _| ready(Ok(Some((press.clone(), stream))));
            let failed = |e| panic!("{e}");
            let _ended = if rtu {
                rtu_over_tcp::Server::new(listener).serve(&accept, failed).await
            } else {
                tcp::Server::new(listener).serve(&accept, failed).await
            };
        });
    }
    let (far, near) = SerialStream::pair().unwrap();
    let path = PathBuf::from(near.name().unwrap());
    tasks.spawn(async move {
        // While this end is open, the far end sees no unplugging.
        let _near = near;
        let _ended = rtu::Server::new(far).serve_forever(press).await;
    });
    hosts.push(Transport::Rtu(Serial {
        path,
        baud: 115_200,
        data_bits: 8,
        parity: Parity::None,
        stop_bits: 2,
        rts_before: Duration::ZERO,
        rts_after: Duration::ZERO,
        frame_gap: None,
    }));
    hosts
}

fn device(transport: Transport, signals: Vec<Signal>) -> Device {
    let line = Line::new(transport);
    Device { timeout: Duration::from_secs(10), ..Device::new("press-7".parse().unwrap(), line, 17, signals) }
}

fn signal(table: Table, offset: u16) -> Signal {
    let layout = if table.is_bits() { Layout::Coil } else { Layout::U16(Order16::AB) };
    let name = format!("{}_{offset}", table.name()).parse().unwrap();
    Signal::new(name, Address { table, offset }, layout, Duration::from_secs(1))
}

#[tokio::test]
async fn mb1_all_four_tables_are_read_from_a_server_of_others_on_every_transport() {
    let mut tasks = JoinSet::new();
    let tables = [Table::Coil, Table::DiscreteInput, Table::HoldingRegister, Table::InputRegister];
    for transport in servers(Press { names_itself: false }, &mut tasks).await {
        let protocol = transport.protocol();
        let mut signals: Vec<Signal> =
            tables.iter().flat_map(|table| (100..119).map(|offset| signal(*table, offset))).collect();
        // The longest requests that there are: 2000 bits and 125 registers.
        signals.extend((200..2200).map(|offset| signal(Table::Coil, offset)));
        signals.extend((200..325).map(|offset| signal(Table::HoldingRegister, offset)));
        signals.push(signal(Table::HoldingRegister, 999));
        let device = device(transport, signals);
        let mut good = 0;
        for attempt in read_once(&device, &plan(&device)).await {
            for (at, sample) in attempt.request.signals.iter().zip(&attempt.samples) {
                let Address { table, offset } = device.signals[*at].address;
                if (table, offset) == (Table::HoldingRegister, 999) {
                    let told = attempt.result.as_ref().unwrap_err().to_string();
                    assert!(told.contains("exception 2"), "{protocol}: {told}");
                    continue;
                }
                let right = match table {
                    Table::Coil | Table::DiscreteInput => Value::Bool(offset % 2 == 1),
                    Table::HoldingRegister => Value::U16(3000 + offset),
                    Table::InputRegister => Value::U16(4000 + offset),
                };
                assert_eq!(*sample, Sample::good(right), "{protocol} {table:?}:{offset}");
                good += 1;
            }
        }
        assert_eq!(good, 4 * 19 + 2000 + 125, "{protocol}");
    }
}

#[tokio::test]
async fn mb17_a_server_of_others_names_itself_or_does_not() {
    let mut tasks = JoinSet::new();
    for transport in servers(Press { names_itself: true }, &mut tasks).await {
        let protocol = transport.protocol();
        let identity = identify(&device(transport, vec![signal(Table::Coil, 0)])).await;
        let object = |number, text: &str| IdentityObject { number, text: text.to_owned() };
        let objects = vec![object(0, "Acme"), object(1, "P-100"), object(2, "V2.11")];
        assert_eq!(identity.map(|identity| identity.objects), Ok(objects), "{protocol}");
    }
    for transport in servers(Press { names_itself: false }, &mut tasks).await {
        let identity = identify(&device(transport, vec![signal(Table::Coil, 0)])).await;
        assert_eq!(identity, Err(NoIdentity::Unsupported(1)));
    }
}
