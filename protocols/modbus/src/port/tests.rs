//! Real serial devices, as far as a pseudo-terminal is one: it has no parity, no pace and no RTS. Pauses are tested in
//! virtual time (`link::tests`).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lineside_protocols::modbus::frame::Framing;
use lineside_protocols::modbus::settings::{Line, Serial, Transport};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::failure::Failure;
use crate::link::{Ask, Link};
use crate::slave::{Asked, ask, ms, request, right, serial};
use crate::testing::soon;

/// A pseudo-terminal: what a driver opens, and its far end.
fn pty() -> (PathBuf, OwnedFd) {
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    // Until the driver makes the terminal raw, what the far end sends would be given back to it.
    rustix::termios::tcgetattr(&far)
        .and_then(|mut settings| {
            settings.make_raw();
            rustix::termios::tcsetattr(&far, rustix::termios::OptionalActions::Now, &settings)
        })
        .unwrap();
    let path = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
    (path.into(), far)
}

/// A device that answers so many requests; the plug is pulled when what it returns is dropped. On a thread, because that is how a device is: it
/// knows nothing of our runtime.
fn slave(far: OwnedFd, framing: Framing, answers: usize) -> thread::JoinHandle<File> {
    thread::spawn(move || {
        let mut far = File::from(far);
        let mut buffer = Vec::new();
        for number in 0..answers {
            let asked = loop {
                if let Some(asked) = Asked::take(framing, &mut buffer, number) {
                    break asked;
                }
                let mut chunk = [0; 64];
                match far.read(&mut chunk) {
                    Ok(count) => buffer.extend_from_slice(&chunk[..count]),
                    // As long as nobody has it open.
                    Err(_) => thread::yield_now(),
                }
            };
            far.write_all(&asked.good()).unwrap();
        }
        far
    })
}

fn line(path: &Path, framing: Framing) -> Line {
    let serial = Serial { path: path.to_owned(), ..serial() };
    let transport = if framing == Framing::Ascii { Transport::Ascii(serial) } else { Transport::Rtu(serial) };
    Line { reconnect_min: Duration::ZERO, reconnect_max: Duration::ZERO, ..Line::new(transport) }
}

#[tokio::test]
async fn mb1_rtu_and_ascii_are_read_on_a_serial_device_that_is_unplugged_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ttyUSB0");
    for framing in [Framing::Rtu, Framing::Ascii] {
        let mut link = Link::new(line(&path, framing));
        for plugged in 0..3 {
            let (device, far) = pty();
            symlink(device, &path).unwrap();
            let slave = slave(far, framing, 3);
            for first in [10, 20, 30] {
                let request = request(first, 2);
                let patient = Ask { limit: ms(10_000), ..ask(1, &request) };
                // Behind the unplugging there may be one more failure, and a doubt whose answer is thrown away.
                let mut result = soon(link.read(&patient)).await;
                if first == 10 && matches!(result, Err(Failure::Connect(_))) {
                    result = soon(link.read(&patient)).await;
                }
                assert_eq!(result, Ok(right(&request)), "{framing:?}");
            }
            drop(slave.join().unwrap());
            std::fs::remove_file(&path).unwrap();
            let request = request(40, 2);
            let mut failed = soon(link.read(&ask(1, &request))).await.unwrap_err().to_string();
            if failed.starts_with("the connection was lost") {
                failed = soon(link.read(&ask(1, &request))).await.unwrap_err().to_string();
            }
            assert!(failed.starts_with("cannot open") && failed.contains("plugged in"), "{failed}");
            assert_eq!(link.counters().reopened, plugged);
        }
    }
}

#[tokio::test]
async fn mb1_unplugging_in_the_middle_of_a_request_is_told() {
    let (device, far) = pty();
    let mut link = Link::new(line(&device, Framing::Rtu));
    let plug = thread::spawn(move || {
        let mut first = [0];
        let mut far = File::from(far);
        while far.read(&mut first).is_err() {
            thread::yield_now();
        }
    });
    let request = request(10, 2);
    let patient = Ask { limit: ms(10_000), ..ask(1, &request) };
    let failed = soon(link.read(&patient)).await.unwrap_err();
    assert!(matches!(failed, Failure::Connect(_)), "{failed}");
    assert!(failed.to_string().contains("the connection was lost"), "{failed}");
    plug.join().unwrap();
}

#[tokio::test]
async fn what_cannot_be_opened_says_why_and_what_to_do() {
    let request = request(10, 2);
    let (device, _far) = pty();
    let (switched, _other) = pty();
    let _open = super::open(&line(&device, Framing::Rtu)).await.unwrap_or_else(|e| panic!("the control: {e}"));
    let mut rts = line(&switched, Framing::Rtu);
    if let Transport::Rtu(serial) = &mut rts.transport {
        serial.rts_before = ms(1);
    }
    for (line, told) in [
        (line(Path::new("/dev/ttyNone"), Framing::Rtu), "check that the adapter is plugged in, and the path"),
        (line(Path::new("/dev/null"), Framing::Rtu), "check that it is a serial device"),
        (line(&device, Framing::Rtu), "another program has it open"),
        (rts, "cannot switch RTS"),
    ] {
        let failed = soon(Link::new(line).read(&ask(1, &request))).await.unwrap_err();
        assert!(matches!(failed, Failure::Connect(_)) && failed.to_string().contains(told), "{failed}");
    }
}
