use super::*;

const SECOND: Duration = Duration::from_secs(1);
const EPOCH: &str = "e1";

fn place(first: u64, last: u64) -> Place {
    Place { lane: Lane::Readings, epoch: EPOCH.into(), range: (first, last) }
}

fn apart() -> Apart {
    Apart::new(SECOND, 60 * SECOND)
}

/// As much of the back-off as there is.
fn longest() -> u64 {
    u64::MAX
}

/// What goes out of 1 to `last`, in order, when everything that is sent is settled; and what waits.
fn order(apart: &mut Apart, last: u64, now: Instant) -> (Vec<Range>, Vec<Range>) {
    let (mut first, mut sent, mut waits) = (1, vec![], vec![]);
    while first <= last {
        match apart.cut(&place(first, last), now) {
            Cut::Send(range) => {
                assert_eq!(range.0, first);
                sent.push(range);
                apart.done(&place(range.0, range.1));
                first = range.1 + 1;
            }
            Cut::Wait(number, due) => {
                assert!(number >= first && due > now);
                waits.push((first, number));
                first = number + 1;
            }
        }
    }
    (sent, waits)
}

#[test]
fn the_same_goes_again_alone() {
    let now = Instant::now();
    let mut apart = apart();
    assert_eq!(order(&mut apart, 20, now), (vec![(1, 20)], vec![]), "control");
    apart.again(place(5, 9), 4096, false);
    assert_eq!((apart.max_bytes(Lane::Readings), apart.max_bytes(Lane::Events)), (4096, 0));
    assert_eq!(order(&mut apart, 20, now), (vec![(1, 4), (5, 9), (10, 20)], vec![]));
    assert!(apart.is_clear(Lane::Readings));
}

#[test]
fn other_lanes_and_epochs_are_others() {
    let now = Instant::now();
    let mut apart = apart();
    apart.again(Place { lane: Lane::Events, ..place(5, 9) }, 0, false);
    apart.again(Place { epoch: "e2".into(), ..place(5, 9) }, 0, false);
    assert_eq!(order(&mut apart, 20, now).0, [(1, 20)]);
}

#[test]
fn what_waits_stops_nothing_behind_it() {
    let now = Instant::now();
    let mut apart = apart();
    apart.put_off(&place(1, 20), &[(3, 4), (9, 9)], now, longest);
    assert_eq!(order(&mut apart, 20, now), (vec![(1, 2), (5, 8), (10, 20)], vec![(3, 4), (9, 9)]));
    let due = now + 2 * SECOND;
    assert_eq!(order(&mut apart, 20, due), (vec![(1, 2), (3, 4), (5, 8), (9, 9), (10, 20)], vec![]));
}

#[test]
fn a_slice_that_waits_again_waits_longer() {
    let mut now = Instant::now();
    let mut apart = apart();
    for longest_wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        apart.put_off(&place(3, 4), &[(3, 4)], now, longest);
        let Cut::Wait(4, due) = apart.cut(&place(3, 20), now) else { panic!("it may go") };
        let wait = due - now;
        assert!(wait <= longest_wait * SECOND && wait > longest_wait * SECOND * 9 / 10, "{wait:?}");
        now = due;
        assert_eq!(apart.cut(&place(3, 20), now), Cut::Send((3, 4)), "alone");
    }
}

#[test]
fn a_few_wait_and_then_the_lane() {
    let now = Instant::now();
    let mut apart = apart();
    for at in 0..MAX_WAITING as u64 {
        assert_eq!(apart.blocked_until(Lane::Readings, now), None);
        apart.put_off(&place(10 * at + 1, 10 * at + 10), &[(10 * at + 1, 10 * at + 5)], now, longest);
    }
    let blocked = apart.blocked_until(Lane::Readings, now).unwrap();
    assert!(blocked > now && blocked <= now + SECOND);
    assert_eq!(apart.blocked_until(Lane::Events, now), None, "the other lane goes on");
    assert_eq!(apart.blocked_until(Lane::Readings, blocked), None);
}

#[test]
fn one_answer_puts_off_a_handful_and_whatever_comes_is_bounded() {
    let now = Instant::now();
    let mut apart = apart();
    let odd: Vec<Range> = (0..100).map(|at| (2 * at + 1, 2 * at + 1)).collect();
    apart.put_off(&place(1, 300), &odd, now, longest);
    assert_eq!(order(&mut apart, 300, now), (vec![(200, 300)], vec![(1, 199)]));
    for at in 1..1000 {
        apart.put_off(&place(1000 * at, 1000 * at + 9), &[(1000 * at, 1000 * at + 1)], now, longest);
    }
    assert_eq!(apart.portions.len(), 4 * MAX_WAITING);
}

#[test]
fn after_three_timeouts_the_same_is_not_sent_again() {
    let mut apart = apart();
    for timed_out in [true, true, false, true, true] {
        apart.again(place(1, 9), 4096, timed_out);
        assert!(!apart.is_clear(Lane::Readings), "the third in a row is not among these");
    }
    apart.again(place(1, 9), 4096, true);
    assert!(apart.is_clear(Lane::Readings));
}
