//! The lock on a board in memory, where any call can be slow, fail, or be the last of its run.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::LazyLock;

use proptest::prelude::*;
use tokio::time::timeout;

use super::*;

/// Tells nobody.
#[derive(Debug)]
struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event<'_>) {}
}

/// What everybody can read.
#[derive(Debug, Default)]
struct Board {
    notes: RefCell<BTreeMap<String, Text>>,
    /// What was sent, and when it will be carried out, whether or not anybody waits for it.
    sent: RefCell<Vec<Sent>>,
}

/// A note that is under way.
#[derive(Debug)]
struct Sent {
    due: Instant,
    name: String,
    text: Text,
    /// What is there then, whatever becomes of it before the answer arrives.
    answer: Rc<RefCell<Option<Text>>>,
}

impl Board {
    fn send(&self, delay: Duration, name: &str, text: &Text) -> Rc<RefCell<Option<Text>>> {
        let answer = Rc::default();
        let (due, name, text) = (Instant::now() + delay, name.to_owned(), text.clone());
        self.sent.borrow_mut().push(Sent { due, name, text, answer: Rc::clone(&answer) });
        answer
    }

    /// What is there by now.
    fn notes(&self) -> RefMut<'_, BTreeMap<String, Text>> {
        let mut notes = self.notes.borrow_mut();
        self.sent.borrow_mut().retain(|sent| {
            let is_due = sent.due <= Instant::now();
            if is_due {
                let there = notes.entry(sent.name.clone()).or_insert_with(|| sent.text.clone());
                sent.answer.replace(Some(there.clone()));
            }
            !is_due
        });
        notes
    }
}

/// Somebody's way to the board: each call takes a while, before and after it takes effect.
#[derive(Clone, Debug)]
struct Slow {
    board: Rc<Board>,
    delays: Rc<RefCell<Vec<u64>>>,
    /// How many of the next looks are refused.
    refusals: Rc<Cell<usize>>,
    /// How many of the next attempts to tear something off fail.
    failures: Rc<Cell<usize>>,
}

impl Slow {
    fn new(board: &Rc<Board>, delays: &[u64]) -> Self {
        let delays = Rc::new(RefCell::new(delays.to_vec()));
        Self { board: Rc::clone(board), delays, refusals: Rc::default(), failures: Rc::default() }
    }

    fn delay(&self) -> Duration {
        let mut delays = self.delays.borrow_mut();
        delays.rotate_left(1);
        Duration::from_millis(delays.last().copied().unwrap_or(1))
    }

    async fn pass(&self) {
        sleep(self.delay()).await;
    }
}

impl Notes for Slow {
    async fn post(&self, name: &str, text: &Text) -> engine::Result<Text> {
        let delay = self.delay();
        let answer = self.board.send(delay, name, text);
        sleep(delay).await;
        drop(self.board.notes());
        self.pass().await;
        Ok(answer.take().expect("it was due"))
    }

    async fn notes(&self, key: &str, value: &str) -> engine::Result<BTreeMap<String, Text>> {
        self.pass().await;
        fail(&self.refusals, ErrorKind::Refused)?;
        let mut notes = self.board.notes().clone();
        notes.retain(|_, text| text.get(key).is_some_and(|other| other == value));
        self.pass().await;
        Ok(notes)
    }

    async fn tear_off(&self, name: &str) -> engine::Result<()> {
        self.pass().await;
        fail(&self.failures, ErrorKind::Unreachable)?;
        self.board.notes().remove(name);
        self.pass().await;
        Ok(())
    }
}

/// Fails as often as there is to be failed.
fn fail(times: &Cell<usize>, kind: ErrorKind) -> engine::Result<()> {
    let Some(left) = times.get().checked_sub(1) else { return Ok(()) };
    times.set(left);
    Err(engine::Error { kind, call: "call".to_owned(), message: "not now".to_owned() })
}

fn project() -> ProjectName {
    ProjectName::new("shop")
}

/// A run on another machine: nobody can tell whether its process lives.
fn elsewhere() -> Owner {
    Owner::read(&Owner::this("deploy").text().into_iter().filter(|(key, _)| key != "kerek.lock.process").collect())
}

fn terms(wait: Option<Duration>, cancel: &Cancel) -> Terms<'_> {
    static HERE: LazyLock<Suggestion> = LazyLock::new(Suggestion::default);
    Terms { wait, reporter: &Silent, cancel, suggestion: &HERE }
}

async fn acquire<'a>(
    notes: &'a Slow,
    name: &'a ProjectName,
    wait: Option<Duration>,
) -> Result<Lock<'a, Slow>, Failure> {
    Lock::acquire(notes, name, elsewhere(), terms(wait, &Cancel::new())).await
}

async fn holder(notes: &Slow, name: &ProjectName) -> engine::Result<Option<Owner>> {
    Ok(holders(notes, name).await?.into_iter().next())
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_given_back_without_a_trace() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    for work in [0, 4, 17] {
        let lock = acquire(&notes, &name, None).await.expect("a free lock");
        assert_eq!(board.notes().len(), 1);
        // Nobody takes it from whoever keeps it.
        assert_eq!(lock.during(sleep(Duration::from_secs(work))).await, Ok(()));
        lock.release().await;
        assert_eq!(*board.notes(), BTreeMap::new());
    }
}

/// What has been sent may be carried out when nobody waits for it any more.
#[tokio::test(start_paused = true)]
async fn a_beat_that_is_under_way_leaves_no_trace() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1000]);
    let lock = acquire(&notes, &name, None).await.expect("a free lock");
    assert_eq!(lock.during(sleep(BEAT + Duration::from_millis(500))).await, Ok(()));
    lock.release().await;
    sleep(BEAT).await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_beat_of_somebody_who_is_gone_goes_with_the_next_run() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let gone = acquire(&notes, &name, None).await.expect("a free lock");
    gone.release().await;
    notes.post("kerek-lock-shop.beat.gone.1", &gone.text()).await.expect("a board");

    let next = acquire(&notes, &name, None).await.expect("a free lock");
    next.release().await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

/// An answer to who is waiting has not come yet.
#[tokio::test(start_paused = true)]
async fn interrupted_while_it_is_got_a_lock_is_given_back() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1000]);
    let cancel = Cancel::new();
    let interrupt = async {
        sleep(Duration::from_millis(500)).await;
        cancel.request(crate::cancel::Reason::Interrupt);
    };
    let (outcome, ()) = tokio::join!(Lock::acquire(&notes, &name, elsewhere(), terms(None, &cancel)), interrupt);
    assert_eq!(outcome.expect_err("interrupted").kind, Kind::Interrupted);
    sleep(BEAT).await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_for_a_moment_keeps_no_lock() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    for (failures, left) in [(1, 0), (ATTEMPTS - 1, 0), (ATTEMPTS, 1)] {
        let lock = acquire(&notes, &name, None).await.expect("a free lock");
        notes.failures.set(failures);
        lock.release().await;
        assert_eq!(board.notes().len(), left, "after {failures} failures");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_refuses_a_look_keeps_no_lock() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let lock = acquire(&notes, &name, None).await.expect("a free lock");
    notes.refusals.set(ATTEMPTS - 1);
    lock.release().await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_second_is_refused_or_waits() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let first = acquire(&notes, &name, None).await.expect("a free lock");
    let work = async {
        assert_eq!(first.during(sleep(Duration::from_secs(60))).await, Ok(()));
        first.release().await;
    };
    let refused = async {
        let begin = Instant::now();
        let failure = acquire(&notes, &name, None).await.expect_err("a lock that is held");
        assert_eq!(failure.kind, Kind::Locked);
        assert!(failure.to_string().contains("shop is being changed by"), "{failure}");
        assert!(begin.elapsed() < 2 * BEAT, "{:?}", begin.elapsed());
    };
    let impatient = async {
        let failure = acquire(&notes, &name, Some(Duration::from_secs(30))).await.expect_err("a lock that is held");
        assert_eq!(failure.kind, Kind::Locked);
    };
    let patient = async {
        let begin = Instant::now();
        let lock = acquire(&notes, &name, Some(Duration::from_secs(90))).await.expect("a lock that was given back");
        assert!(begin.elapsed() >= Duration::from_secs(60) && begin.elapsed() < Duration::from_secs(62));
        lock.release().await;
    };
    tokio::join!(work, refused, impatient, patient);
    assert_eq!(*board.notes(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_replaced_and_learns_of_it() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let silent = acquire(&notes, &name, None).await.expect("a free lock");
    assert_eq!(silent.during(sleep(Duration::from_secs(12))).await, Ok(()));

    let begin = Instant::now();
    let next = acquire(&notes, &name, None).await.expect("a lock that nobody keeps");
    assert!(begin.elapsed() >= SILENCE && begin.elapsed() < SILENCE + BEAT, "{:?}", begin.elapsed());
    let other = silent.during(sleep(BEAT * 2)).await.expect_err("it is noticed").expect("there is a holder");
    assert_eq!(other.nonce, next.owner.nonce);
    silent.release().await;
    assert!(board.notes().contains_key("kerek-lock-shop"), "it is not its own to give back");
    next.release().await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_process_that_is_gone() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let mut text = Owner::this("deploy").text();
    let process = text.get_mut("kerek.lock.process").expect("a process");
    if process.is_empty() {
        return;
    }
    // Another process had this number.
    process.push('1');
    let cancel = Cancel::new();
    let gone = Lock::acquire(&notes, &name, Owner::read(&text), terms(None, &cancel)).await.expect("a free lock");
    drop(gone);
    let begin = Instant::now();
    let lock = acquire(&notes, &name, None).await.expect("a lock that nobody keeps");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    lock.release().await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn waiting_can_be_interrupted() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let first = acquire(&notes, &name, None).await.expect("a free lock");
    let cancel = Cancel::new();
    let interrupt = async {
        sleep(Duration::from_secs(3)).await;
        cancel.request(crate::cancel::Reason::Interrupt);
    };
    let second = Lock::acquire(&notes, &name, elsewhere(), terms(Some(Duration::from_secs(60)), &cancel));
    let (outcome, ()) = tokio::join!(second, interrupt);
    assert_eq!(outcome.expect_err("interrupted").kind, Kind::Interrupted);
    let held = holder(&notes, &name).await.expect("a holder");
    assert_eq!(held, Some(first.owner.clone()), "who waited takes nothing away from who works");
    first.release().await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_lock_can_be_removed_by_hand() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    assert!(holders(&notes, &name).await.expect("a board").is_empty());
    let lock = acquire(&notes, &name, None).await.expect("a free lock");
    assert_eq!(lock.during(sleep(BEAT * 3)).await, Ok(()));
    let seen = holders(&notes, &name).await.expect("a holder");
    assert_eq!(seen, std::slice::from_ref(&lock.owner));
    assert!(remove(&notes, &name, &seen).await.expect("a board"));
    assert_eq!(*board.notes(), BTreeMap::new());
    assert_eq!(lock.during(sleep(BEAT * 2)).await, Err(None));
    lock.release().await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

/// It had no time for a beat yet.
#[tokio::test(start_paused = true)]
async fn one_that_was_stopped_for_a_while_takes_nothing_away() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let stopped = acquire(&notes, &name, None).await.expect("a free lock");
    let next = acquire(&notes, &name, None).await.expect("a lock that nobody keeps");
    stopped.release().await;
    assert_eq!(holder(&notes, &name).await.expect("a holder"), Some(next.owner.clone()));
    next.release().await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn no_other_lock_is_removed_than_the_one_that_was_seen() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    drop(acquire(&notes, &name, None).await.expect("a free lock"));
    let seen = holders(&notes, &name).await.expect("a holder");
    let next = acquire(&notes, &name, None).await.expect("a lock that nobody keeps");
    assert!(!remove(&notes, &name, &seen).await.expect("a board"));
    assert_eq!(next.during(sleep(BEAT * 3)).await, Ok(()), "it is still at work");
    // What is left of a lock is not what somebody has by now.
    clear_up(&notes, &name).await.expect("a board");
    assert_eq!(next.during(sleep(BEAT * 3)).await, Ok(()));
    next.release().await;
    assert!(!remove(&notes, &name, &seen).await.expect("a board"), "it was given back");
    assert_eq!(*board.notes(), BTreeMap::new());
}

/// Whether it is still at that, nobody knows: so it is shown, too.
#[tokio::test(start_paused = true)]
async fn a_lock_that_somebody_is_replacing_is_only_removed_from_both() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let silent = acquire(&notes, &name, None).await.expect("a free lock");
    let seen = holders(&notes, &name).await.expect("a holder");
    let taker = Lock::of(&notes, &name, elsewhere());
    let claimed = taker.claim(&silent.owner, |_| false).await.expect("a board");
    assert!(claimed.is_some());
    assert!(!remove(&notes, &name, &seen).await.expect("a board"));
    assert_eq!(board.notes().len(), 2);
    let seen = holders(&notes, &name).await.expect("a holder");
    assert_eq!(seen, [silent.owner.clone(), taker.owner.clone()]);
    assert!(remove(&notes, &name, &seen).await.expect("a board"));
    assert_eq!(*board.notes(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_lock_is_cleared_up() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let gone = acquire(&notes, &name, None).await.expect("a free lock");
    notes.post("kerek-lock-shop.beat.gone.1", &gone.text()).await.expect("a board");
    gone.claim(&elsewhere(), |_| false).await.expect("a board");
    notes.tear_off("kerek-lock-shop").await.expect("a board");
    clear_up(&notes, &name).await.expect("a board");
    assert_eq!(*board.notes(), BTreeMap::new());
}

/// Holds a future back from one moment to another, as a signal does a process.
async fn paused<T>(from: Duration, length: Duration, future: impl Future<Output = T>) -> T {
    let (mut future, begin) = (pin!(future), Instant::now());
    let mut end = pin!(sleep(from + length));
    poll_fn(|context| {
        let is_paused = begin.elapsed() >= from && end.as_mut().poll(context).is_pending();
        if is_paused { Poll::Pending } else { future.as_mut().poll(context) }
    })
    .await
}

/// Does one step after another, each of which finds the lock to be its own.
async fn steps(board: &Board, owner: &Owner, length: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < length {
        let is_ours = board.notes().get("kerek-lock-shop").is_some_and(|text| is_of(text, owner));
        assert!(is_ours, "a step beside another run, after {:?}", begin.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_stopped_for_a_while_does_not_go_on_beside_another() {
    for stops in [2_000, 5_000, 5_001, 5_002, 7_000] {
        let (board, name) = (Rc::new(Board::default()), project());
        let notes = Slow::new(&board, &[1]);
        let stopped = acquire(&notes, &name, None).await.expect("a free lock");
        let work = stopped.during(steps(&board, &stopped.owner, Duration::from_secs(120)));
        let work = paused(Duration::from_millis(stops), Duration::from_secs(40), work);
        let other = async {
            sleep(Duration::from_secs(10)).await;
            let next = acquire(&notes, &name, None).await.expect("a lock that nobody keeps");
            assert_eq!(next.during(steps(&board, &next.owner, Duration::from_secs(60))).await, Ok(()));
            next.release().await;
            next.owner.nonce
        };
        let (outcome, nonce) = tokio::join!(work, other);
        assert_eq!(outcome.expect_err("it is noticed").expect("there is a holder").nonce, nonce, "{stops}");
    }
}

/// The machine was suspended, and only the wall clock has gone on.
#[tokio::test(start_paused = true)]
async fn a_pause_that_only_the_wall_clock_tells_of_is_noticed() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let suspended = acquire(&notes, &name, None).await.expect("a free lock");
    let sign = suspended.sign.get().expect("it has the lock");
    suspended.sign.set(Some(Moment { wall: sign.wall - SILENCE, ..sign }));
    assert_eq!(suspended.during(steps(&board, &suspended.owner, BEAT)).await, Ok(()), "it is still its own");

    let next = acquire(&notes, &name, None).await.expect("a lock that nobody keeps");
    let sign = suspended.sign.get().expect("it had the lock");
    suspended.sign.set(Some(Moment { wall: sign.wall - SILENCE, steady: Instant::now() }));
    let outcome = suspended.during(steps(&board, &suspended.owner, BEAT)).await;
    assert_eq!(outcome, Err(Some(next.owner.clone())));
    // Set back, it tells nothing.
    assert!(Moment { wall: sign.wall + SILENCE * 1000, steady: Instant::now() }.elapsed() < BEAT);
}

#[tokio::test(start_paused = true)]
async fn a_holder_gives_way_to_who_is_replacing_it() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let silent = acquire(&notes, &name, None).await.expect("a free lock");
    let taker = Lock::of(&notes, &name, elsewhere());
    taker.claim(&silent.owner, |_| false).await.expect("a board");
    sleep(SILENCE).await;
    assert_eq!(silent.during(steps(&board, &taker.owner, BEAT)).await, Err(Some(taker.owner.clone())));
}

#[tokio::test(start_paused = true)]
async fn who_replaces_a_holder_gives_way_to_its_beat() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let holder = acquire(&notes, &name, None).await.expect("a free lock");
    let taker = Lock::of(&notes, &name, elsewhere());
    let seen = taker.signs().await.expect("a board");
    holder.beat().await.expect("a board");
    taker.take_over(&holder.owner, &seen, "", terms(None, &Cancel::new())).await.expect("a board");
    assert_eq!(holder.during(steps(&board, &holder.owner, BEAT)).await, Ok(()));
    holder.release().await;
    assert_eq!(*board.notes(), BTreeMap::new());
}

/// Otherwise a run would never end, where the engine is gone for good.
#[tokio::test(start_paused = true)]
async fn work_ends_where_nobody_can_tell_whose_the_lock_is() {
    let (board, name) = (Rc::new(Board::default()), project());
    let notes = Slow::new(&board, &[1]);
    let lock = acquire(&notes, &name, None).await.expect("a free lock");
    notes.refusals.set(usize::MAX);
    let begin = Instant::now();
    assert_eq!(lock.during(sleep(SILENCE * 3)).await, Ok(()));
    assert!(begin.elapsed() < SILENCE * 3 + BEAT, "{:?}", begin.elapsed());
}

/// A run: when it comes, for how long it works, how slow each of its calls is, and after how long it dies.
#[derive(Clone, Debug)]
struct Visitor {
    comes: u64,
    works: u64,
    delays: Vec<u64>,
    dies: Option<u64>,
}

fn visitor() -> impl Strategy<Value = Visitor> {
    let delays = prop::collection::vec(0_u64..800, 1..12);
    (0_u64..30_000, 0_u64..20_000, delays, prop::option::of(0_u64..40_000))
        .prop_map(|(comes, works, delays, dies)| Visitor { comes, works, delays, dies })
}

/// Comes, works for a while if it gets the lock, and goes.
async fn visit(board: &Rc<Board>, name: &ProjectName, visitor: &Visitor) {
    let notes = Slow::new(board, &visitor.delays);
    let stay = async {
        sleep(Duration::from_millis(visitor.comes)).await;
        let Ok(lock) = acquire(&notes, name, Some(Duration::from_secs(600))).await else { return };
        let work = steps(board, &lock.owner, Duration::from_millis(visitor.works));
        lock.during(work).await.expect("nobody takes the lock");
        lock.release().await;
    };
    let dies = visitor.dies.map_or(Duration::from_secs(3600), Duration::from_millis);
    let _ = timeout(dies, stay).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However slow its calls are, and whoever dies when: only one is at work, and those who live get their turn.
    #[test]
    fn never_are_two_at_work(visitors in prop::collection::vec(visitor(), 2..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let (board, name) = (Rc::new(Board::default()), project());
            let visits = visitors.iter().map(|visitor| visit(&board, &name, visitor));
            futures_util::future::join_all(visits).await;
            // Until all has been carried out that was sent.
            sleep(Duration::from_secs(60)).await;
            if visitors.iter().all(|visitor| visitor.dies.is_none()) {
                assert_eq!(*board.notes(), BTreeMap::new());
            }
        });
    }
}
