//! What a line is made of: a TCP connection, or a serial device with its settings. Bytes in and bytes out; what they
//! mean is [`crate::connection`]'s.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use lineside_protocols::modbus::settings::{self, Host, Line, Serial, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_serial::{ClearBuffer, DataBits, FlowControl, Parity, SerialPort as _, SerialStream, StopBits};

use crate::failure::Failure;

/// One end of a line.
pub(crate) trait Port: AsyncRead + AsyncWrite + Unpin + Send {
    /// Switches the RS-485 driver. TCP has none.
    fn set_rts(&mut self, on: bool) -> io::Result<()> {
        let _ = on;
        Ok(())
    }

    /// Bytes that are written and not on the line yet, as far as the kernel knows.
    fn unsent(&self) -> u32 {
        0
    }

    /// What it means that nothing more will ever come.
    fn closed(&self) -> &'static str {
        "the device closed the connection"
    }
}

/// Opens what `line` names.
///
/// # Errors
/// [`Failure::Connect`] with the operating system's reason, or after `connect_timeout`.
pub(crate) async fn open(line: &Line) -> Result<Box<dyn Port>, Failure> {
    match &line.transport {
        Transport::Tcp(at) | Transport::RtuOverTcp(at) => connect(line, at).await,
        Transport::Rtu(serial) | Transport::Ascii(serial) => open_serial(serial),
    }
}

async fn connect(line: &Line, at: &Host) -> Result<Box<dyn Port>, Failure> {
    let failed = |why: &str| {
        let address = line.address();
        let hint = "check that it is on, reachable from this gateway, and has a connection to spare";
        Failure::Connect(format!("cannot connect to {address}: {why}; {hint}").into())
    };
    let stream = async {
        let stream = TcpStream::connect((at.host.as_str(), at.port)).await?;
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>(stream)
    };
    match timeout(line.connect_timeout, stream).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(e)) => Err(failed(&e.to_string())),
        Err(_) => Err(failed(&format!("no answer within {:?}", line.connect_timeout))),
    }
}

impl Port for TcpStream {}

/// A serial device, ours alone while it is open.
struct SerialPort(SerialStream);

fn open_serial(serial: &Serial) -> Result<Box<dyn Port>, Failure> {
    let failed = |e: &tokio_serial::Error| {
        let hint = match e.kind() {
            tokio_serial::ErrorKind::Io(ErrorKind::NotFound) => "check that the adapter is plugged in, and the path",
            tokio_serial::ErrorKind::Io(ErrorKind::PermissionDenied) => {
                "add the daemon's user to the group that owns it (dialout on Debian)"
            }
            tokio_serial::ErrorKind::NoDevice => "another program has it open",
            _ => "check that it is a serial device and knows these settings",
        };
        Failure::Connect(format!("cannot open {}: {e}; {hint}", serial.path.display()).into())
    };
    let path = serial.path.to_string_lossy();
    let settings = tokio_serial::new(path, serial.baud)
        .data_bits(if serial.data_bits == 7 { DataBits::Seven } else { DataBits::Eight })
        .stop_bits(if serial.stop_bits == 2 { StopBits::Two } else { StopBits::One })
        .flow_control(FlowControl::None)
        .parity(match serial.parity {
            settings::Parity::None => Parity::None,
            settings::Parity::Even => Parity::Even,
            settings::Parity::Odd => Parity::Odd,
        });
    // Exclusive access is what the library opens with (TIOCEXCL and flock).
    let stream = SerialStream::open(&settings).map_err(|e| failed(&e))?;
    // What came before the settings held is nobody's.
    stream.clear(ClearBuffer::Input).map_err(|e| failed(&e))?;
    Ok(Box::new(SerialPort(stream)))
}

impl Port for SerialPort {
    fn set_rts(&mut self, on: bool) -> io::Result<()> {
        self.0.write_request_to_send(on).map_err(io::Error::from)
    }

    fn unsent(&self) -> u32 {
        self.0.bytes_to_write().unwrap_or(0)
    }

    fn closed(&self) -> &'static str {
        "the serial device is gone; check that the adapter is plugged in"
    }
}

impl Drop for SerialPort {
    /// Closing waits up to 30 s for what an adapter does not take any more (closing_wait, setserial(8)).
    fn drop(&mut self) {
        // It is given up anyway.
        let _ = self.0.clear(ClearBuffer::Output);
    }
}

impl AsyncRead for SerialPort {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for SerialPort {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    /// The library's would block the thread until the last byte is on the line (tcdrain).
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
