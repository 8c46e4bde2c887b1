//! Nothing but reads leaves this agent, whatever it is configured to do and whatever it is answered (MB2).

use std::fmt::Write as _;

use lineside_testbed::plant::{Device, DeviceOptions, Fault, Plant, Storm, running_clock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::site::{Site, lineside};

/// Configurations that are made up.
const ROUNDS: u64 = 12;
/// Requests that each device must get, so that a round says something.
const REQUESTS: u64 = 12;
/// Functions that read (1 to 4), and the one that asks what a device is.
const READS: [u8; 5] = [1, 2, 3, 4, 43];

/// Draws the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// A device's keys and signals of all kinds, at addresses that look like functions and values that would be written.
fn configuration(dice: &mut Dice, name: &str, device: &Device) -> String {
    let mut text = format!("[[device]]\nname = \"{name}\"\n{}timeout = \"30ms\"\n", device.keys());
    // A serial line is refused more than it can carry.
    let serial = device.serial().is_some();
    text += if serial { "poll = \"250ms\"\nbaud = 115200\n" } else { "poll = \"1ms\"\n" };
    let keys = [
        "gap = 100\n",
        "gap_bits = 1000\n",
        "max_registers = 5\n",
        "max_bits = 6\n",
        "overrun = \"catch-up\"\n",
        "check_unit = false\n",
        "after_exception = \"discard\"\n",
        "request_delay = \"1ms\"\n",
    ];
    for key in keys {
        // With RTU the unit is all that tells one answer from another's, and it must be checked.
        let fits = !key.starts_with("check_unit") || device.keys().contains("modbus-tcp");
        if dice.below(2) == 0 && fits {
            text += key;
        }
    }
    // Asked at full speed, whatever it answers.
    text += "demote_after = 1000\nbusy_backoff_max = \"100ms\"\nprobe = \"1s\"\n";
    text += "reconnect_min = \"10ms\"\nreconnect_max = \"20ms\"\n";
    for signal in 0..=dice.below(20) {
        let address = dice.of(&[0, 5, 6, 15, 16, 22, 23, 0x0500, 0x0600, 0x1000, 0xff00, 0xfff0]) + dice.below(8);
        let table = dice.of(&["coil", "discrete", "holding", "input"]);
        let kind = match (table, dice.below(4)) {
            ("coil" | "discrete", _) => "type = \"bool\"\n",
            (_, 0) => "type = \"u16\"\n",
            (_, 1) => "type = \"bool\"\nbit = 6\n",
            (_, 2) => "type = \"f32\"\norder = \"DCBA\"\n",
            _ => "type = \"i64\"\norder = \"GHEFCDAB\"\nno_value = [-1]\n",
        };
        write!(text, "[[device.signal]]\nname = \"s{signal}\"\nregister = \"{table}:{address}\"\n{kind}").unwrap();
    }
    text
}

/// Answers that look like requests to write, and everything that breaks an answer.
fn menu() -> Vec<Fault> {
    vec![
        Fault::Garbage(vec![0, 1, 0, 0, 0, 6, 1, 6, 0, 0, 0, 1]),
        Fault::Garbage(vec![1, 16, 0, 0, 0, 1, 2, 0, 7, 0x27, 0x32]),
        Fault::NoiseBefore(vec![1, 6, 0, 0, 0, 1, 0x48, 0x0a]),
        Fault::NoiseBehind(vec![0, 2, 0, 0, 0, 6, 1, 5, 0, 0, 0xff, 0]),
        Fault::WrongFunction,
        Fault::WrongUnit,
        Fault::WrongTransaction,
        Fault::Fewer(2),
        Fault::Exception(1),
        Fault::Exception(3),
        Fault::Exception(5),
        Fault::Exception(6),
        Fault::Duplicate,
        Fault::TwoFrames,
        Fault::Silent,
        Fault::Close,
        Fault::Reset,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn mb02_nothing_but_reads_leaves_whatever_is_configured_and_answered() {
    let mut refused = 0;
    for seed in 0..ROUNDS {
        let mut dice = Dice(seed);
        let site = Site::new();
        // Some addresses exist and some do not.
        let machine = |_, address: u16, _| (address % 16 < 14).then_some(address);
        let serial = site.directory.path().join("tty");
        let options = [
            DeviceOptions::new("tcp", machine),
            DeviceOptions::new("through", machine).rtu(),
            DeviceOptions::new("serial", machine).serial(serial),
        ];
        let plant = Plant::start(options, &running_clock()).unwrap();
        let mut text = String::new();
        for device in plant.devices() {
            text += &configuration(&mut dice, device.name(), device);
            device.storm(Some(Storm::new(seed, 3, menu())));
        }
        let config = site.configure("", "", &text);
        let checked = lineside(&config, &["check"]).output().unwrap();
        if checked.status.code() == Some(78) {
            // Signals that overlap, or lie beyond the end: the same draw without them would be another test.
            refused += 1;
            continue;
        }
        let daemon = site.start(&config);
        daemon.until("requests", |_| plant.devices().iter().all(|device| device.requests() >= REQUESTS)).await;
        for device in plant.devices() {
            let log = device.take_log();
            let strange: Vec<_> = log.iter().filter(|request| !READS.contains(&request.function)).collect();
            assert!(
                strange.is_empty() && device.not_reads() == 0,
                "seed {seed}, {}: {strange:?}\n{text}",
                device.name()
            );
        }
        // What `read` and its guesses ask is no other.
        for device in plant.devices() {
            let _whatever_it_says = lineside(&config, &["read", device.name()]).output().unwrap();
            assert_eq!(device.not_reads(), 0, "seed {seed}: `read {}`", device.name());
        }
        let (exit, _) = daemon.stop();
        assert!(exit.success());
    }
    println!("read-only: {ROUNDS} configurations, {refused} of them refused");
    assert!(refused <= ROUNDS / 2, "{refused} of {ROUNDS} were refused: nothing was tested");
}

/// The control: the plant sees a write, on each transport, when there is one.
#[tokio::test(flavor = "multi_thread")]
async fn mb02_a_write_would_be_seen() {
    let machine = |_, address: u16, _| Some(address);
    let directory = tempfile::tempdir().unwrap();
    let tty = directory.path().join("tty");
    let options = [
        DeviceOptions::new("tcp", machine),
        DeviceOptions::new("through", machine).rtu(),
        DeviceOptions::new("serial", machine).serial(&tty),
    ];
    let plant = Plant::start(options, &running_clock()).unwrap();
    let write = [1, 6, 0, 0, 0, 1, 0x48, 0x0a];
    let mut answer = [0; 5];

    let mut stream = TcpStream::connect(plant.devices()[0].address()).await.unwrap();
    stream.write_all(&[0, 1, 0, 0, 0, 6, 1, 6, 0, 0, 0, 1]).await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    let mut stream = TcpStream::connect(plant.devices()[1].address()).await.unwrap();
    stream.write_all(&write).await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..3], [1, 0x86, 1], "an illegal function, it says");
    let serial = tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};
        let mut line = std::fs::File::options().read(true).write(true).open(tty).unwrap();
        line.write_all(&write).unwrap();
        let mut answer = [0; 5];
        line.read_exact(&mut answer).unwrap();
        answer
    });
    assert_eq!(serial.await.unwrap()[..3], [1, 0x86, 1]);
    for device in plant.devices() {
        assert_eq!((device.not_reads(), device.take_log()[0].function), (1, 6), "{}", device.name());
    }
}
