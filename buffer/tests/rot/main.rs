//! Rot: bits that flip in the file and in its log, files that are cut, overwritten or somebody else's. Whatever happens,
//! the buffer opens, nothing wrong is read out, and every number is accounted for.
//!
//! `LINESIDE_ROUNDS=3000 cargo test -p lineside-buffer --test rot -- --nocapture` flips as many bits as asked.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the figures are for the evidence page")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "helpers of tests, which end with them"
)]

mod plant;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lineside_buffer::{Buffer, Lane};
use tempfile::TempDir;

use plant::{Cloud, FILES, Figures, Noise, build, copy, open};

fn rounds() -> u64 {
    std::env::var("LINESIDE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200)
}

/// The first seed: with `LINESIDE_ROUNDS`, one that has failed can be had again.
fn start() -> u64 {
    std::env::var("LINESIDE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

/// In memory where the machine has such a place: this is about bits, not about the disk.
fn scratch() -> TempDir {
    if Path::new("/dev/shm").is_dir() { TempDir::new_in("/dev/shm").unwrap() } else { TempDir::new().unwrap() }
}

async fn plant() -> (TempDir, Cloud) {
    let (work, directory) = (scratch(), scratch());
    let cloud = build(work.path(), directory.path()).await;
    (directory, cloud)
}

/// Bytes of the file that are pages: behind them lies what is only reserved. From the header, at 28 (fileformat2.html).
fn used(directory: &Path) -> u64 {
    let mut pages = [0; 4];
    fs::File::open(directory.join(FILES[0])).unwrap().read_exact_at(&mut pages, 28).unwrap();
    u64::from(u32::from_be_bytes(pages)) * 4096
}

/// Bytes of the log up to the last that is not zero: behind it, too, lies what is only reserved.
fn log_used(directory: &Path) -> u64 {
    let log = fs::read(directory.join(FILES[1])).unwrap();
    log.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

/// Moves everything from the log into the file, as checkpoints do in time, so that a flip there is seen.
fn checkpoint(directory: &Path) {
    let conn = rusqlite::Connection::open(directory.join(FILES[0])).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn flip(path: &Path, bit: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8).unwrap();
}

/// Works with the file for a while, then takes out everything that it owes.
async fn work_and_drain(buffer: Buffer, cloud: &mut Cloud, epoch: &str, noise: &mut Noise) {
    for lane in Lane::ALL {
        for _ in 0..2 {
            let frame = noise.bytes(3000);
            cloud.append(&buffer, epoch, lane, 4, frame).await;
        }
    }
    cloud.drain(buffer).await;
}

fn show(what: &str, rounds: u64, figures: Figures) {
    let Figures { lost, duplicated, wrong, damaged } = figures;
    println!("faults: {what} rounds={rounds} lost={lost} duplicated={duplicated} wrong={wrong} damaged={damaged}");
    assert_eq!((lost, duplicated, wrong), (0, 0, 0), "{what}");
}

fn add(all: &mut Figures, round: Figures, before: Figures) {
    all.lost += round.lost;
    all.duplicated += round.duplicated;
    all.wrong += round.wrong;
    all.damaged += round.damaged - before.damaged;
}

#[tokio::test]
async fn without_a_flip_nothing_is_recovered_and_nothing_is_damaged() {
    let (directory, mut cloud) = plant().await;
    let (buffer, opened) = open(directory.path(), "fourth").unwrap();
    assert_eq!((opened.recovered, opened.mended_wal), (None, None));
    work_and_drain(buffer, &mut cloud, "fourth", &mut Noise::new(1)).await;
    assert_eq!(cloud.figures, Figures::default(), "{:?}", cloud.missing());
}

/// Where the tables begin.
const HEAD: u64 = 16 * 4096;

/// One place to flip a bit in: which copy of the files, which file, and within how many bytes of it.
type Spot<'a> = (&'a Path, &'a str, u64);

#[tokio::test]
async fn a_flipped_bit_costs_no_number_and_gives_no_wrong_one() {
    let (killed, cloud) = plant().await;
    let closed = scratch();
    copy(killed.path(), closed.path());
    checkpoint(closed.path());
    let spots: [Spot<'_>; 4] = [
        (killed.path(), FILES[1], log_used(killed.path())),
        (killed.path(), FILES[0], used(killed.path())),
        (closed.path(), FILES[0], used(closed.path())),
        // Where everything but the frames begins, and only bytes that say something.
        (closed.path(), FILES[0], HEAD),
    ];
    let start = start();
    let (mut all, mut recovered, mut mended) = (Figures::default(), 0, 0);
    for (seed, (from, file, bytes)) in (start..start + rounds()).zip(spots.into_iter().cycle()) {
        let mut noise = Noise::new(seed + 1);
        let round = scratch();
        copy(from, round.path());
        let path = round.path().join(file);
        let mut bit = noise.below(bytes * 8);
        let head = fs::read(&path).unwrap();
        while bytes == HEAD && head[(bit / 8) as usize] == 0 {
            bit = noise.below(bytes * 8);
        }
        flip(&path, bit);
        let what = format!("seed {seed}: bit {} of byte {} of {file}", bit % 8, bit / 8);
        let (buffer, opened) = open(round.path(), "fourth").unwrap_or_else(|error| panic!("{what}: {error}"));
        recovered += u64::from(opened.recovered.is_some());
        mended += u64::from(opened.mended_wal.is_some());
        let mut cloud = cloud.labelled(what.clone());
        let before = cloud.figures;
        work_and_drain(buffer, &mut cloud, "fourth", &mut noise).await;
        let figures = cloud.figures;
        if (figures.lost, figures.duplicated, figures.wrong) != (0, 0, 0) {
            eprintln!("{what}: {figures:?}, {:?}, {opened:?}", cloud.missing());
        }
        add(&mut all, figures, before);
    }
    println!("{recovered} files salvaged, {mended} logs put right at the start");
    show("bit-flips", rounds(), all);
}

#[tokio::test]
async fn a_bit_that_flips_while_the_buffer_runs_costs_no_number() {
    let (directory, cloud) = plant().await;
    checkpoint(directory.path());
    let bits = used(directory.path()) * 8;
    let mut all = Figures::default();
    let rounds = rounds() / 4;
    for seed in start()..start() + rounds {
        let mut noise = Noise::new(seed + 1_000_000);
        let round = scratch();
        copy(directory.path(), round.path());
        let (buffer, _) = open(round.path(), "fourth").unwrap();
        let bit = noise.below(bits);
        flip(&round.path().join(FILES[0]), bit);
        let mut cloud = cloud.labelled(format!("seed {seed}: bit {bit}"));
        let before = cloud.figures;
        work_and_drain(buffer, &mut cloud, "fourth", &mut noise).await;
        let figures = cloud.figures;
        if (figures.lost, figures.duplicated, figures.wrong) != (0, 0, 0) {
            eprintln!("seed {seed}: bit {} of byte {}: {figures:?}, {:?}", bit % 8, bit / 8, cloud.missing());
        }
        add(&mut all, figures, before);
    }
    show("bit-flips-while-running", rounds, all);
}

#[tokio::test]
async fn a_file_cut_short_or_overwritten_opens_and_gives_nothing_wrong() {
    let (directory, cloud) = plant().await;
    let rounds = rounds() / 4;
    let mut all = Figures::default();
    for seed in start()..start() + rounds {
        let mut noise = Noise::new(seed + 2_000_000);
        let round = scratch();
        copy(directory.path(), round.path());
        let name = FILES[(seed / 3 % 2) as usize];
        let size = if name == FILES[0] { used(round.path()) } else { log_used(round.path()) };
        let file = OpenOptions::new().write(true).open(round.path().join(name)).unwrap();
        match seed % 3 {
            0 => file.set_len(noise.below(size)).unwrap(),
            1 => {
                let (at, count) = (noise.below(size), 1 + noise.below(20_000));
                file.write_all_at(&noise.bytes(count), at).unwrap();
            }
            _ => {
                let at = noise.below(size / 4096) * 4096;
                file.write_all_at(&[0; 8192], at).unwrap();
            }
        }
        drop(file);
        let _figures_or_a_clear_error = Buffer::read_stats(round.path(), 16 << 20);
        let (buffer, _) = open(round.path(), "fourth").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut cloud = cloud.labelled(format!("seed {seed}"));
        work_and_drain(buffer, &mut cloud, "fourth", &mut noise).await;
        all.wrong += cloud.figures.wrong;
        all.damaged += cloud.figures.damaged;
        // Numbers of which no trace is left cannot be told, nor whether an old one was added up already; those of this
        // run can.
        all.lost += cloud.missing().iter().filter(|(epoch, ..)| *epoch == "fourth").count() as u64;
    }
    show("cut-or-overwritten", rounds, all);
}

#[tokio::test]
async fn an_empty_file_and_one_of_noise_are_begun_anew() {
    for bytes in
        [Vec::new(), Noise::new(3).bytes(50_000), b"not a database, but a text that somebody left here\n".to_vec()]
    {
        let directory = scratch();
        fs::write(directory.path().join("buffer.db"), &bytes).unwrap();
        let (buffer, opened) = open(directory.path(), "first").unwrap();
        assert_eq!(opened.recovered.is_some(), !bytes.is_empty());
        if let Some(recovered) = opened.recovered {
            assert_eq!(fs::read(&recovered.set_aside).unwrap(), bytes, "nobody knows whose it is: it is kept");
            assert!(recovered.set_aside.ends_with("buffer.db.foreign"), "{}", recovered.set_aside.display());
        }
        let mut cloud = Cloud::default();
        work_and_drain(buffer, &mut cloud, "first", &mut Noise::new(4)).await;
        assert_eq!(cloud.figures, Figures::default());
    }
}

#[tokio::test]
async fn another_programs_database_is_set_aside_and_still_readable() {
    let directory = scratch();
    let path = directory.path().join("buffer.db");
    for at in 0..2 {
        let conn = rusqlite::Connection::open(&path).unwrap();
        let sql = format!("PRAGMA application_id = 252006674; CREATE TABLE t (x); INSERT INTO t VALUES ({at})");
        conn.execute_batch(&sql).unwrap();
        drop(conn);
        let before = fs::read(&path).unwrap();
        let (buffer, opened) = open(directory.path(), &format!("epoch-{at}")).unwrap();
        buffer.close().await;
        let recovered = opened.recovered.unwrap();
        assert!(fs::read(&recovered.set_aside).unwrap() == before, "its content was changed");
        let conn = rusqlite::Connection::open(&recovered.set_aside).unwrap();
        assert_eq!(conn.query_row("SELECT x FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), at);
        fs::remove_file(&path).unwrap();
    }
    assert!(directory.path().join("buffer.db.foreign").exists());
    assert!(directory.path().join("buffer.db.foreign-2").exists(), "the first was not overwritten");
}

/// Sets one of the two numbers in the header by which a file says what it is.
fn set_header(path: &Path, at: u64, number: u32) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&number.to_be_bytes(), at).unwrap();
}

#[tokio::test]
async fn a_flipped_version_or_application_is_put_right() {
    let (directory, mut cloud) = plant().await;
    open(directory.path(), "between").unwrap().0.close().await;
    let path = directory.path().join("buffer.db");
    for (round, (at, number)) in [(60, 3), (60, 0), (60, 1 << 20), (68, 0x4C49_4E44), (68, 0)].into_iter().enumerate() {
        set_header(&path, at, number);
        let (buffer, opened) = open(directory.path(), &format!("round-{round}")).unwrap();
        assert_eq!(opened.recovered, None, "{at}: {number}");
        buffer.close().await;
    }
    let (buffer, _) = open(directory.path(), "fourth").unwrap();
    work_and_drain(buffer, &mut cloud, "fourth", &mut Noise::new(5)).await;
    assert_eq!(cloud.figures, Figures::default());
}
