//! The plant, asked by a client of raw bytes: nothing here comes out of the agent's Modbus stack.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests are tests too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lineside_testbed::plant::{Clock, DeviceOptions, Fault, Plant, Request, Table, machine, running_clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEALTHY: [u8; 13] = [0, 7, 0, 0, 0, 7, 1, 3, 4, 0, 10, 0, 11];

/// A machine whose registers hold their addresses, up to 99, and whose bits are set at odd ones.
fn counting(table: Table, address: u16, _: Duration) -> Option<u16> {
    let bits = matches!(table, Table::Coil | Table::Discrete);
    (address < 100).then_some(if bits { address % 2 } else { address })
}

fn plant() -> Plant {
    Plant::start([DeviceOptions::new("press-7", counting).unit(2, machine::PRESS)], &running_clock()).unwrap()
}

async fn connect(plant: &Plant) -> TcpStream {
    TcpStream::connect(plant.devices()[0].address()).await.unwrap()
}

async fn send(stream: &mut TcpStream, unit: u8, function: u8, address: u16, count: u16) {
    let ([a0, a1], [c0, c1]) = (address.to_be_bytes(), count.to_be_bytes());
    stream.write_all(&[0, 7, 0, 0, 0, 6, unit, function, a0, a1, c0, c1]).await.unwrap();
}

async fn receive(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// Two holding registers from 10.
async fn ask(stream: &mut TcpStream) {
    send(stream, 1, 3, 10, 2).await;
}

#[tokio::test]
async fn it_answers_the_four_reads_and_nothing_else() {
    let plant = plant();
    let device = plant.device("press-7").unwrap();
    let mut stream = connect(&plant).await;
    ask(&mut stream).await;
    assert_eq!(receive(&mut stream, 13).await, HEALTHY);
    send(&mut stream, 1, 4, 99, 1).await;
    assert_eq!(receive(&mut stream, 11).await, [0, 7, 0, 0, 0, 5, 1, 4, 2, 0, 99]);
    send(&mut stream, 1, 1, 1, 10).await;
    assert_eq!(receive(&mut stream, 11).await, [0, 7, 0, 0, 0, 5, 1, 1, 2, 0b0101_0101, 0b01]);
    for (unit, function, address, count, code) in
        [(1, 3, 99, 2, 2), (1, 3, 0, 126, 3), (1, 6, 0, 1, 1), (9, 3, 0, 1, 11)]
    {
        send(&mut stream, unit, function, address, count).await;
        assert_eq!(receive(&mut stream, 9).await, [0, 7, 0, 0, 0, 3, unit, function | 0x80, code]);
    }
    let log = device.take_log();
    assert_eq!(log.len(), 7);
    assert_eq!(log[0], Request { transaction: 7, unit: 1, function: 3, address: 10, count: 2 });
    assert_eq!((device.requests(), device.connections()), (7, 1));
    assert!(device.take_log().is_empty());
}

#[tokio::test]
async fn values_are_functions_of_the_given_time_until_they_are_set() {
    let seconds = Arc::new(AtomicU64::new(0));
    let clock: Clock = {
        let seconds = Arc::clone(&seconds);
        Arc::new(move || Duration::from_secs(seconds.load(Ordering::Relaxed)))
    };
    let plant = Plant::demo(&clock).unwrap();
    let press = plant.device("press-7").unwrap();
    let mut stream = TcpStream::connect(press.address()).await.unwrap();
    let mut pressure = async |at: u64| {
        seconds.store(at, Ordering::Relaxed);
        send(&mut stream, 1, 3, 0, 2).await;
        let reply = receive(&mut stream, 13).await;
        f32::from_be_bytes([reply[11], reply[12], reply[9], reply[10]])
    };
    assert_eq!(pressure(7).await, 4.0);
    assert_eq!(pressure(1).await, 92.0);
    assert_eq!(pressure(8 * 1000 + 1).await, 92.0, "one stroke is as the other");
    press.set(1, Table::Holding, 0, &[0, 0x4120]);
    assert_eq!(pressure(1).await, 10.0);
    press.unset();
    assert_eq!(pressure(1).await, 92.0);
    assert_eq!(plant.devices().len(), 3);
}

#[tokio::test]
async fn a_fault_spoils_as_many_replies_as_it_was_given_for() {
    let plant = plant();
    let device = plant.device("press-7").unwrap();
    let mut stream = connect(&plant).await;
    let mut other_transaction = HEALTHY;
    other_transaction[1] = 8;
    let mut stale = HEALTHY;
    stale[1] = 6;
    // What it says is another: whoever takes it for the answer has a wrong value.
    stale[9..].iter_mut().for_each(|byte| *byte = !*byte);
    let cases: [(Fault, Vec<u8>); 7] = [
        (Fault::Garbage(vec![1, 2, 3]), vec![1, 2, 3]),
        (Fault::Truncated(9), HEALTHY[..9].to_vec()),
        (Fault::WrongTransaction, other_transaction.to_vec()),
        (Fault::Exception(4), vec![0, 7, 0, 0, 0, 3, 1, 0x83, 4]),
        (Fault::Duplicate, [HEALTHY, HEALTHY].concat()),
        (Fault::TwoFrames, [stale, HEALTHY].concat()),
        (Fault::ByteByByte, HEALTHY.to_vec()),
    ];
    for (fault, reply) in cases {
        device.fault_next([fault.clone()]);
        ask(&mut stream).await;
        assert_eq!(receive(&mut stream, reply.len()).await, reply, "{fault:?}");
        ask(&mut stream).await;
        assert_eq!(receive(&mut stream, 13).await, HEALTHY, "after {fault:?}");
    }
    device.fault_next([Fault::Silent]);
    ask(&mut stream).await;
    send(&mut stream, 1, 4, 99, 1).await;
    assert_eq!(receive(&mut stream, 11).await[7], 4, "only the second request is answered");

    device.fault(Some(Fault::Close));
    for _ in 0..2 {
        let mut stream = connect(&plant).await;
        ask(&mut stream).await;
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "closed");
    }
    device.fault(None);
    let mut stream = connect(&plant).await;
    ask(&mut stream).await;
    assert_eq!(receive(&mut stream, 13).await, HEALTHY);
}

#[tokio::test]
async fn a_late_reply_comes_after_the_next_one() {
    let plant = plant();
    let mut stream = connect(&plant).await;
    plant.devices()[0].fault_next([Fault::Late(Duration::from_millis(300))]);
    ask(&mut stream).await;
    send(&mut stream, 1, 4, 99, 1).await;
    let mut bytes = vec![0; 24];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!((bytes[7], bytes[18]), (4, 3));
    assert_eq!(bytes[11..], HEALTHY);
}

#[tokio::test]
async fn a_device_is_switched_off_and_on_at_the_same_address() {
    let plant = plant();
    let device = plant.device("press-7").unwrap();
    let mut stream = connect(&plant).await;
    device.switch_off().await;
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)), "cut");
    assert_eq!(TcpStream::connect(device.address()).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    device.switch_on().unwrap();
    let mut stream = connect(&plant).await;
    ask(&mut stream).await;
    assert_eq!(receive(&mut stream, 13).await, HEALTHY);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)), "what is not Modbus is cut off");
}
