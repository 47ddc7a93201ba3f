//! Deadlines for every call to an engine, and another try for calls that only read.
//!
//! [`Patient`] wraps any [`Engine`] and answers within a bounded time whatever that one does. Reads survive an engine
//! that restarts: while it cannot be reached they are repeated. Calls that change something are tried once, since
//! nobody knows whether a call without an answer took effect; finding out is for the caller, by looking.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::LocalBoxStream;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::notes::{Notes, Text};
use super::{
    Attachment, Container, Definitions, Engine, Error, ErrorKind, Event, Exec, ExecOutcome, File, Found, Image, Result,
    Variation,
};
use crate::names::{ContainerId, NetworkName, ProjectName};

/// Time for a call that reads, all tries together.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Time for a call that changes something; a stop has its grace period on top.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// Pause after the first try, after which an engine may just have dropped its old connections.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Pause after every further try.
const PAUSE: Duration = Duration::from_secs(1);
/// The grace period that engines give containers which configure none.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// An engine that keeps its callers waiting only so long.
///
/// A call without an answer in time fails with [`ErrorKind::Unreachable`].
#[derive(Clone, Debug)]
pub struct Patient<E> {
    engine: E,
    /// Cancelled when the way to the engine is gone for good.
    lost: CancellationToken,
}

impl<E: Engine> Patient<E> {
    /// Wraps an engine.
    pub fn new(engine: E) -> Self {
        Self { engine, lost: CancellationToken::new() }
    }

    /// Does not wait for an engine to come back once `lost` is cancelled.
    #[must_use]
    pub fn until(self, lost: CancellationToken) -> Self {
        Self { lost, ..self }
    }

    /// How long a container is given between being asked to end and being killed, where the caller left it to the
    /// container. The engine is asked, as only the container's own configuration tells.
    async fn own_stop_timeout(&self, id: &ContainerId) -> Result<Duration> {
        let container = self.container(id).await?;
        Ok(container.and_then(|container| container.stop_timeout).unwrap_or(DEFAULT_STOP_TIMEOUT))
    }
}

impl<E: Engine> Engine for Patient<E> {
    async fn containers(&self, project: &ProjectName) -> Result<Vec<Container>> {
        let call = format!("list containers of project {project}");
        read(&self.lost, call, async || self.engine.containers(project).await).await
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<Container>> {
        let call = format!("inspect container {}", id.short());
        read(&self.lost, call, async || self.engine.container(id).await).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let call = format!("start container {}", id.short());
        write(call, WRITE_DEADLINE, self.engine.start(id)).await
    }

    async fn stop(&self, id: &ContainerId, timeout: Option<Duration>) -> Result<()> {
        let begin = Instant::now();
        let expiry = async {
            let grace = match timeout {
                Some(timeout) => timeout,
                // Asked for meanwhile.
                None => self.own_stop_timeout(id).await.unwrap_or(DEFAULT_STOP_TIMEOUT),
            };
            let deadline = WRITE_DEADLINE.saturating_add(grace);
            sleep(deadline.saturating_sub(begin.elapsed())).await;
            deadline
        };
        tokio::select! {
            biased;
            result = self.engine.stop(id, timeout) => result,
            deadline = expiry => Err(expired(format!("stop container {}", id.short()), deadline)),
        }
    }

    async fn remove(&self, id: &ContainerId, volumes: bool) -> Result<()> {
        let call = format!("remove container {}", id.short());
        write(call, WRITE_DEADLINE, self.engine.remove(id, volumes)).await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        let call = format!("rename container {} to {name}", id.short());
        write(call, WRITE_DEADLINE, self.engine.rename(id, name)).await
    }

    async fn copy(&self, id: &ContainerId, variation: &Variation) -> Result<ContainerId> {
        let call = format!("copy container {}", id.short());
        write(call, WRITE_DEADLINE, self.engine.copy(id, variation)).await
    }

    async fn connect(&self, id: &ContainerId, network: &NetworkName, attachment: &Attachment) -> Result<()> {
        let call = format!("connect container {} to network {network}", id.short());
        write(call, WRITE_DEADLINE, self.engine.connect(id, network, attachment)).await
    }

    async fn disconnect(&self, id: &ContainerId, network: &NetworkName) -> Result<()> {
        let call = format!("disconnect container {} from network {network}", id.short());
        write(call, WRITE_DEADLINE, self.engine.disconnect(id, network)).await
    }

    async fn hold_below(&self, network: &NetworkName, address: &str) -> Result<Vec<ContainerId>> {
        let call = format!("hold addresses of network {network}");
        write(call, WRITE_DEADLINE, self.engine.hold_below(network, address)).await
    }

    async fn release(&self, holders: &[ContainerId]) -> Result<()> {
        write("release addresses".to_owned(), WRITE_DEADLINE, self.engine.release(holders)).await
    }

    async fn definitions(&self, project: &ProjectName) -> Result<Definitions> {
        let call = format!("list networks and volumes of project {project}");
        read(&self.lost, call, async || self.engine.definitions(project).await).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let call = format!("inspect image {reference}");
        read(&self.lost, call, async || self.engine.image(reference).await).await
    }

    async fn received(&self, id: &ContainerId) -> Result<Option<u64>> {
        let call = format!("get statistics of container {}", id.short());
        read(&self.lost, call, async || self.engine.received(id).await).await
    }

    async fn logs(&self, id: &ContainerId, lines: usize) -> Result<Vec<String>> {
        let call = format!("get logs of container {}", id.short());
        read(&self.lost, call, async || self.engine.logs(id, lines).await).await
    }

    /// Without a deadline: nobody but the user knows how long a command may take (a migration, say), and a user who
    /// has lost patience can interrupt. An engine that goes away meanwhile is noticed, since the connection ends.
    async fn exec(&self, id: &ContainerId, exec: &Exec) -> Result<ExecOutcome> {
        self.engine.exec(id, exec).await
    }

    async fn write_file(&self, id: &ContainerId, file: &File) -> Result<()> {
        let call = format!("write a file in container {}", id.short());
        write(call, WRITE_DEADLINE, self.engine.write_file(id, file)).await
    }

    async fn read_file(&self, id: &ContainerId, path: &str, limit: usize) -> Result<Option<Found>> {
        let call = format!("read a file in container {}", id.short());
        read(&self.lost, call, async || self.engine.read_file(id, path, limit).await).await
    }

    async fn lacking(&self, paths: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let call = "look for paths on the engine's host".to_owned();
        read(&self.lost, call, async || self.engine.lacking(paths).await).await
    }

    /// The deadline is for the subscription; the stream itself may be silent for as long as nothing happens.
    async fn events(&self, project: &ProjectName) -> Result<LocalBoxStream<'static, Result<Event>>> {
        let call = format!("watch events of project {project}");
        read(&self.lost, call, async || self.engine.events(project).await).await
    }
}

/// Tries until there is an answer, good or bad, or no time or no hope is left.
async fn read<T>(lost: &CancellationToken, call: String, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + READ_DEADLINE;
    let mut pause = FIRST_PAUSE;
    let mut failure = None;
    loop {
        match timeout_at(deadline, attempt()).await {
            Ok(Err(error)) if error.kind == ErrorKind::Unreachable => failure = Some(error),
            Ok(result) => return result,
            Err(_) => return Err(failure.unwrap_or_else(|| expired(call, READ_DEADLINE))),
        }
        let next = Instant::now() + pause;
        if next >= deadline {
            return Err(failure.unwrap_or_else(|| expired(call, READ_DEADLINE)));
        }
        tracing::debug!(?pause, "{call}: engine unreachable, will try again");
        if lost.run_until_cancelled(sleep_until(next)).await.is_none() {
            return Err(failure.unwrap_or_else(|| expired(call, READ_DEADLINE)));
        }
        pause = PAUSE;
    }
}

/// Whoever posts a note again comes second to himself, so that posting can be repeated like reading.
impl<E: Engine + Notes> Notes for Patient<E> {
    async fn post(&self, name: &str, text: &Text) -> Result<Text> {
        let call = format!("create volume {name}");
        read(&self.lost, call, async || self.engine.post(name, text).await).await
    }

    async fn notes(&self, key: &str, value: &str) -> Result<BTreeMap<String, Text>> {
        let call = format!("list volumes with the label {key}={value}");
        read(&self.lost, call, async || self.engine.notes(key, value).await).await
    }

    async fn tear_off(&self, name: &str) -> Result<()> {
        write(format!("remove volume {name}"), WRITE_DEADLINE, self.engine.tear_off(name)).await
    }
}

/// Tries once.
async fn write<T>(call: String, deadline: Duration, attempt: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(deadline, attempt).await.unwrap_or_else(|_| Err(expired(call, deadline)))
}

fn expired(call: String, deadline: Duration) -> Error {
    Error { kind: ErrorKind::Unreachable, call, message: format!("no answer within {} s", deadline.as_secs()) }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use super::*;
    use crate::engine::Content;

    /// What an engine does when called.
    #[derive(Clone, Copy)]
    enum Act {
        Answer,
        Fail(ErrorKind),
        Hang,
        Take(Duration),
    }
    use Act::{Answer, Fail, Hang, Take};

    /// Acts by a script, and answers once it has come to the end of it.
    #[derive(Default)]
    struct Scripted {
        acts: RefCell<VecDeque<Act>>,
        calls: Cell<usize>,
        stop_timeout: Option<Duration>,
    }

    impl Scripted {
        async fn act(&self) -> Result<()> {
            self.calls.set(self.calls.get() + 1);
            let act = self.acts.borrow_mut().pop_front();
            match act.unwrap_or(Answer) {
                Answer => Ok(()),
                Fail(kind) => {
                    Err(Error { kind, call: "scripted call".to_owned(), message: "scripted failure".to_owned() })
                }
                Hang => std::future::pending().await,
                Take(time) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
            }
        }
    }

    impl Engine for Scripted {
        async fn containers(&self, _: &ProjectName) -> Result<Vec<Container>> {
            self.act().await.map(|()| Vec::new())
        }

        /// Not scripted: it is what `stop` asks on the side.
        async fn container(&self, id: &ContainerId) -> Result<Option<Container>> {
            Ok(Some(Container { id: id.clone(), stop_timeout: self.stop_timeout, ..Container::example() }))
        }

        async fn start(&self, _: &ContainerId) -> Result<()> {
            self.act().await
        }

        async fn stop(&self, _: &ContainerId, _: Option<Duration>) -> Result<()> {
            self.act().await
        }

        async fn remove(&self, _: &ContainerId, _: bool) -> Result<()> {
            self.act().await
        }

        async fn rename(&self, _: &ContainerId, _: &str) -> Result<()> {
            self.act().await
        }

        async fn copy(&self, id: &ContainerId, _: &Variation) -> Result<ContainerId> {
            self.act().await.map(|()| id.clone())
        }

        async fn connect(&self, _: &ContainerId, _: &NetworkName, _: &Attachment) -> Result<()> {
            self.act().await
        }

        async fn disconnect(&self, _: &ContainerId, _: &NetworkName) -> Result<()> {
            self.act().await
        }

        async fn hold_below(&self, _: &NetworkName, _: &str) -> Result<Vec<ContainerId>> {
            self.act().await.map(|()| Vec::new())
        }

        async fn release(&self, _: &[ContainerId]) -> Result<()> {
            self.act().await
        }

        async fn definitions(&self, _: &ProjectName) -> Result<Definitions> {
            self.act().await.map(|()| Definitions::default())
        }

        async fn image(&self, _: &str) -> Result<Option<Image>> {
            self.act().await.map(|()| None)
        }

        async fn received(&self, _: &ContainerId) -> Result<Option<u64>> {
            self.act().await.map(|()| None)
        }

        async fn logs(&self, _: &ContainerId, _: usize) -> Result<Vec<String>> {
            self.act().await.map(|()| Vec::new())
        }

        async fn exec(&self, _: &ContainerId, _: &Exec) -> Result<ExecOutcome> {
            self.act().await.map(|()| ExecOutcome::default())
        }

        async fn write_file(&self, _: &ContainerId, _: &File) -> Result<()> {
            self.act().await
        }

        async fn read_file(&self, _: &ContainerId, _: &str, _: usize) -> Result<Option<Found>> {
            self.act().await.map(|()| None)
        }

        async fn lacking(&self, _: &BTreeSet<String>) -> Result<BTreeSet<String>> {
            self.act().await.map(|()| BTreeSet::new())
        }

        async fn events(&self, _: &ProjectName) -> Result<LocalBoxStream<'static, Result<Event>>> {
            self.act().await?;
            Ok(Box::pin(futures_util::stream::empty()))
        }
    }

    fn patient(acts: impl IntoIterator<Item = Act>) -> Patient<Scripted> {
        Patient::new(Scripted { acts: RefCell::new(acts.into_iter().collect()), ..Scripted::default() })
    }

    fn project() -> ProjectName {
        ProjectName::new("shop")
    }

    fn id() -> ContainerId {
        ContainerId::new("0123456789abcdef")
    }

    fn file() -> File {
        File { path: "/x".into(), content: Content(Vec::new()), mode: 0o444, uid: None, gid: None }
    }

    const DOWN: Act = Fail(ErrorKind::Unreachable);

    /// Runs all calls of one kind, each against a patient engine of its own with the same script, and hands each
    /// outcome, number of tries and time taken to a check.
    async fn each_read(acts: &[Act], check: impl Fn(Result<()>, usize, Duration)) {
        macro_rules! read {
            ($method:ident($($argument:expr),*)) => {{
                let patient = patient(acts.iter().copied());
                let begin = Instant::now();
                let result = patient.$method($($argument),*).await.map(drop);
                check(result, patient.engine.calls.get(), begin.elapsed());
            }};
        }
        read!(containers(&project()));
        read!(image("busybox"));
        read!(received(&id()));
        read!(logs(&id(), 5));
        read!(read_file(&id(), "/x", 1));
        read!(lacking(&BTreeSet::new()));
        read!(events(&project()));
    }

    async fn each_write(acts: &[Act], check: impl Fn(Result<()>, usize, Duration)) {
        macro_rules! write {
            ($method:ident($($argument:expr),*)) => {{
                let patient = patient(acts.iter().copied());
                let begin = Instant::now();
                let result = patient.$method($($argument),*).await.map(drop);
                check(result, patient.engine.calls.get(), begin.elapsed());
            }};
        }
        let network = NetworkName::new("shop_default");
        write!(start(&id()));
        write!(remove(&id(), true));
        write!(rename(&id(), "shop-web-1"));
        write!(copy(&id(), &Variation::default()));
        write!(connect(&id(), &network, &Attachment::default()));
        write!(disconnect(&id(), &network));
        write!(stop(&id(), Some(Duration::ZERO)));
        write!(write_file(&id(), &file()));
    }

    #[tokio::test(start_paused = true)]
    async fn reads_outlast_a_restarting_engine() {
        each_read(&[DOWN, DOWN, DOWN], |result, tries, time| {
            assert!(result.is_ok());
            assert_eq!(tries, 4);
            assert_eq!(time, Duration::from_millis(2500));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn reads_do_not_wait_for_what_is_lost() {
        let lost = CancellationToken::new();
        let patient = patient([DOWN; 1000]).until(lost.clone());
        let begin = Instant::now();
        let cut = async {
            sleep_until(begin + Duration::from_millis(600)).await;
            lost.cancel();
        };
        let id = id();
        let (result, ()) = tokio::join!(patient.logs(&id, 5), cut);
        assert_eq!(result.expect_err("no engine").message, "scripted failure");
        assert_eq!((patient.engine.calls.get(), begin.elapsed()), (2, Duration::from_millis(600)));
    }

    #[tokio::test(start_paused = true)]
    async fn reads_give_up_in_time_with_what_the_engine_said() {
        each_read(&[DOWN; 1000], |result, tries, time| {
            let error = result.expect_err("the engine never answers");
            assert_eq!(error.to_string(), "scripted call: scripted failure");
            assert!((25..=35).contains(&tries), "{tries} tries");
            assert!(time <= READ_DEADLINE && time + 2 * PAUSE > READ_DEADLINE, "{time:?}");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn reads_give_up_on_an_engine_that_hangs() {
        each_read(&[DOWN, Hang], |result, _, time| {
            let error = result.expect_err("the engine hangs");
            assert_eq!(error.message, "scripted failure");
            assert_eq!(time, READ_DEADLINE);
        })
        .await;
        each_read(&[Hang], |result, tries, time| {
            let error = result.expect_err("the engine hangs");
            assert_eq!(error.kind, ErrorKind::Unreachable);
            assert_eq!(error.message, "no answer within 30 s");
            assert_eq!((tries, time), (1, READ_DEADLINE));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_final_for_reads() {
        for kind in [ErrorKind::Refused, ErrorKind::Garbled] {
            each_read(&[Fail(kind)], |result, tries, time| {
                assert_eq!(result.expect_err("the engine refuses").kind, kind);
                assert_eq!((tries, time), (1, Duration::ZERO));
            })
            .await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn writes_are_never_repeated() {
        for kind in [ErrorKind::Unreachable, ErrorKind::Refused, ErrorKind::Garbled] {
            each_write(&[Fail(kind)], |result, tries, time| {
                assert_eq!(result.expect_err("the engine fails").kind, kind);
                assert_eq!((tries, time), (1, Duration::ZERO));
            })
            .await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn writes_give_up_on_an_engine_that_hangs() {
        each_write(&[Hang], |result, tries, time| {
            let error = result.expect_err("the engine hangs");
            assert_eq!(error.kind, ErrorKind::Unreachable);
            assert_eq!(error.message, "no answer within 60 s");
            assert_eq!((tries, time), (1, WRITE_DEADLINE));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_may_take_the_grace_period_and_more() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let slow = || patient([Take(minutes(15))]);

        assert!(slow().stop(&id(), Some(minutes(15))).await.is_ok());
        assert!(slow().stop(&id(), Some(minutes(10))).await.is_err());
        assert!(slow().stop(&id(), Some(Duration::MAX)).await.is_ok());

        // Left to the container, its own grace period counts.
        assert!(slow().stop(&id(), None).await.is_err());
        let mut patient = slow();
        patient.engine.stop_timeout = Some(minutes(15));
        assert!(patient.stop(&id(), None).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_grace_period_is_the_engines() {
        for (time, fine) in [(69, true), (71, false)] {
            let patient = patient([Take(Duration::from_secs(time))]);
            assert_eq!(patient.stop(&id(), None).await.is_ok(), fine, "{time} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn commands_may_take_as_long_as_they_like_but_are_never_repeated() {
        let day = Duration::from_secs(24 * 60 * 60);
        assert!(patient([Take(day)]).exec(&id(), &Exec::default()).await.is_ok());
        let patient = patient([DOWN]);
        assert!(patient.exec(&id(), &Exec::default()).await.is_err());
        assert_eq!(patient.engine.calls.get(), 1);
    }
}
