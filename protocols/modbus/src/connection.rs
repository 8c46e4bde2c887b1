//! One connection and one request on it: what tokio-modbus leaves unchecked is checked here. When to open and when to
//! drop a connection is in [`crate::link`].
//!
//! The library matches transaction, protocol, unit and function, and a byte count against the frame's length.
//! It does not compare the answer's length with what was asked (only a `debug_assert`, in methods not used here),
//! clears what it has buffered before each request, and so could begin to read in the middle of an answer. Its
//! transaction ids begin anew with each connection, which [`crate::transport`] puts right.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use lineside_protocols::modbus::decode::Raw;
use lineside_protocols::modbus::plan::Request;
use lineside_protocols::modbus::settings::{Line, Table, Transport};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_modbus::client::{Client as _, Context, tcp};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Error, ProtocolError, Response};

use crate::failure::Failure;
use crate::transport::{self, Observed};

/// MBAP header, function and byte count, or exception code (Modbus Messaging on TCP/IP 1.0b, 3.1.3).
const BYTES_BEFORE_DATA: usize = 9;

/// An open connection; at most one request is on it at any time.
pub(crate) struct Connection {
    context: Context,
    socket: Arc<Observed>,
    request_delay: Duration,
    /// No request goes out before.
    ready_at: Option<Instant>,
    answered: bool,
    in_step: bool,
}

impl Connection {
    /// Connects, and pauses where the line wants that. Connections in a row have numbers in a row.
    ///
    /// # Errors
    /// [`Failure::Connect`] with the operating system's reason, or after `connect_timeout`.
    pub(crate) async fn open(line: &Line, number: u16) -> Result<Self, Failure> {
        let failed = |why: &str| {
            let address = line.address();
            let hint = "check that it is on, reachable from this gateway, and has a connection to spare";
            Failure::Connect(format!("cannot connect to {address}: {why}; {hint}").into())
        };
        let stream = match timeout(line.connect_timeout, connect(line)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(failed(&e.to_string())),
            Err(_) => return Err(failed(&format!("no answer within {:?}", line.connect_timeout))),
        };
        if !line.connect_pause.is_zero() {
            sleep(line.connect_pause).await;
        }
        let (transport, socket) = transport::Transport::new(stream, number);
        Ok(Connection {
            context: tcp::attach(transport),
            socket,
            request_delay: line.request_delay,
            ready_at: None,
            answered: false,
            in_step: true,
        })
    }

    /// Whether anything was ever answered on it, by any unit.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Checks that the next request can be told from what came before.
    ///
    /// # Errors
    /// What makes the connection useless.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.in_step { self.socket.check_silence().map_err(|e| transport(&e)) } else { Err(surplus()) }
    }

    /// Lets the time pass that the line wants between an answer and the next request.
    pub(crate) async fn pause(&mut self) {
        if let Some(ready_at) = self.ready_at.take() {
            sleep_until(ready_at).await;
        }
    }

    /// Asks once. After an error that does not [keep the connection](Failure::keeps_connection), and after a dropped
    /// future, the connection must not be used again.
    ///
    /// # Errors
    /// Why there are no values.
    pub(crate) async fn read(&mut self, unit: u8, request: &Request, limit: Duration) -> Result<Raw, Failure> {
        self.pause().await;
        self.socket.take_received();
        self.context.set_slave(Slave(unit));
        let answer = timeout(limit, self.context.call(function(request))).await;
        if !self.request_delay.is_zero() {
            self.ready_at = Some(Instant::now() + self.request_delay);
        }
        let (result, data) = match answer {
            Err(_) => return Err(Failure::Timeout(limit)),
            Ok(Err(e)) => return Err(broken(&e)),
            Ok(Ok(Err(exception))) => (Err(Failure::Exception(exception.into())), 0),
            Ok(Ok(Ok(response))) => {
                let raw = values(request, response)?;
                let data = match &raw {
                    Raw::Registers(registers) => 2 * registers.len(),
                    Raw::Bits(bits) => bits.len().div_ceil(8),
                };
                (Ok(raw), data)
            }
        };
        self.answered = true;
        // This answer was matched; what came behind it would be read as the beginning of the next.
        self.in_step = self.socket.take_received() == BYTES_BEFORE_DATA + data;
        result
    }
}

async fn connect(line: &Line) -> io::Result<TcpStream> {
    let (Transport::Tcp(at) | Transport::RtuOverTcp(at)) = &line.transport else {
        return Err(io::Error::from(ErrorKind::Unsupported));
    };
    let stream = TcpStream::connect((at.host.as_str(), at.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The only place that chooses a function, and there are four.
fn function(request: &Request) -> tokio_modbus::Request<'static> {
    let Request { table, first, count, .. } = *request;
    match table {
        Table::Coil => tokio_modbus::Request::ReadCoils(first, count),
        Table::DiscreteInput => tokio_modbus::Request::ReadDiscreteInputs(first, count),
        Table::HoldingRegister => tokio_modbus::Request::ReadHoldingRegisters(first, count),
        Table::InputRegister => tokio_modbus::Request::ReadInputRegisters(first, count),
    }
}

/// Exactly what was asked for, or an error. Bits come in whole bytes.
fn values(request: &Request, response: Response) -> Result<Raw, Failure> {
    let count = usize::from(request.count);
    let raw = match (request.table, response) {
        (Table::Coil, Response::ReadCoils(mut bits))
        | (Table::DiscreteInput, Response::ReadDiscreteInputs(mut bits)) => {
            if bits.len() == count.next_multiple_of(8) {
                bits.truncate(count);
            }
            Raw::Bits(bits)
        }
        (Table::HoldingRegister, Response::ReadHoldingRegisters(registers))
        | (Table::InputRegister, Response::ReadInputRegisters(registers)) => Raw::Registers(registers),
        _ => return Err(Failure::Frame("it is of another function".into())),
    };
    if raw.len() == count {
        Ok(raw)
    } else {
        Err(Failure::Frame(format!("it has {} entries, {count} were asked for", raw.len()).into()))
    }
}

fn surplus() -> Failure {
    Failure::Frame("more bytes came than the last answer has".into())
}

fn broken(error: &Error) -> Failure {
    match error {
        Error::Protocol(ProtocolError::HeaderMismatch { message, .. }) => {
            Failure::Frame(format!("it is of another transaction or unit: {message}").into())
        }
        Error::Protocol(ProtocolError::FunctionCodeMismatch { request, .. }) => {
            Failure::Frame(format!("it is of another function than {request}").into())
        }
        Error::Transport(e) => transport(e),
    }
}

/// The library's decoder reports broken frames with these kinds; a closed socket is reported by [`Transport`].
fn transport(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
            Failure::Frame(error.to_string().into())
        }
        _ => Failure::Connect(format!("the connection was lost: {error}").into()),
    }
}
