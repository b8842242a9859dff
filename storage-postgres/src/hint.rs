//! Hints that there is news: within the process at once, to other processes by `NOTIFY`. Nothing relies on them.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use updraft_core::id::DagVersionId;

use crate::PostgresStorage;
use crate::schedule::NothingDue;
use crate::sql::sql;
use crate::storage::Inner;

/// The least time between two hints of a process.
const PAUSE: Duration = Duration::from_millis(5);

/// How long to wait before listening is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long what was read without news may be taken for the present state.
const TRUSTED: Duration = Duration::from_millis(950);

/// The same for what other processes tell of, if they do: only a hint that was lost is found out later. New runs are not among it,
/// because a host may create some without a word.
const TRUSTED_IF_TOLD: Duration = Duration::from_secs(5);

/// The same for that no DAG waits for a run because of datasets.
const NONE_WAITING_TRUSTED: Duration = Duration::from_millis(4950);

/// What there is news of, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct News(u8);

impl News {
    /// New versions of DAGs.
    pub(crate) const VERSIONS: Self = Self(1);
    /// Runs that wait for a scheduler.
    pub(crate) const RUNS: Self = Self(2);
    /// Runs that were changed or deleted.
    pub(crate) const CHANGES: Self = Self(4);
    /// Pools, and pauses.
    pub(crate) const LIMITS: Self = Self(8);
    /// Users, roles and tokens.
    pub(crate) const ACCESS: Self = Self(16);
    /// Schedules that may be due.
    pub(crate) const SCHEDULES: Self = Self(32);
    /// Updates of datasets that wait for DAGs, and room for the runs that they cause.
    pub(crate) const DATASETS: Self = Self(64);
    const ALL: Self = Self(127);
    /// What is always told of.
    const TOLD: Self = Self::VERSIONS.and(Self::CHANGES).and(Self::LIMITS);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn kinds(self) -> impl Iterator<Item = usize> {
        (0..KINDS).filter(move |kind| self.0 & (1 << kind) != 0)
    }
}

const KINDS: usize = 7;

/// Hints that come and go.
#[derive(Debug)]
pub(crate) struct Hints {
    notifications: bool,
    /// Names this process in what it sends, so that it does not listen to itself.
    sender: String,
    count: watch::Sender<u64>,
    /// How often there was news of each kind.
    generations: [AtomicU64; KINDS],
    outgoing: Mutex<Outgoing>,
    listener: tokio::sync::Mutex<Option<PgListener>>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Outgoing {
    news: u8,
    is_being_sent: bool,
}

/// When something was read: still good while there is no news of it, and for a moment only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadAt {
    generation: u64,
    time: Duration,
}

impl ReadAt {
    pub(crate) fn time(self) -> Duration {
        self.time
    }
}

/// What was read and has no news.
#[derive(Debug, Default)]
struct Known {
    /// Names and slots of pools.
    slots: Option<(ReadAt, Vec<(String, i32)>)>,
    /// There was no version after this one.
    none_after: Option<(ReadAt, Option<DagVersionId>)>,
    /// For none of these versions of DAGs an update of a dataset was waiting that may cause a run.
    none_waiting: Option<(ReadAt, Vec<DagVersionId>)>,
    /// The number of changes of access.
    access: Option<(ReadAt, i64)>,
    nothing_due: Option<NothingDue>,
}

impl Hints {
    pub(crate) fn new(notifications: bool) -> Self {
        Self {
            notifications,
            sender: format!("{:016x}", RandomState::new().build_hasher().finish()),
            count: watch::Sender::new(0),
            generations: Default::default(),
            outgoing: Mutex::default(),
            listener: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        }
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that what was read may have changed, without waking anybody.
    pub(crate) fn note(&self, news: News) {
        for kind in news.kinds() {
            self.generations[kind].fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Wakes whoever waits within the process.
    fn tell(&self, news: News) {
        self.note(news);
        self.count.send_modify(|count| *count += 1);
    }

    fn generation(&self, news: News) -> u64 {
        news.kinds().map(|kind| self.generations[kind].load(Ordering::Acquire)).sum()
    }

    fn read_at(&self, news: News, time: Duration) -> ReadAt {
        ReadAt { generation: self.generation(news), time }
    }

    pub(crate) fn is_fresh(&self, news: News, read: ReadAt, time: Duration) -> bool {
        let is_told = self.notifications && news.0 & !News::TOLD.0 == 0;
        self.is_fresh_for(news, read, time, if is_told { TRUSTED_IF_TOLD } else { TRUSTED })
    }

    pub(crate) fn is_fresh_for(&self, news: News, read: ReadAt, time: Duration, trusted: Duration) -> bool {
        self.generation(news) == read.generation && time.saturating_sub(read.time) < trusted
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pools, if they were read a moment ago and have not changed.
    pub(crate) fn known_slots(&self, now: ReadAt) -> Option<Vec<(String, i32)>> {
        let known = self.known();
        known
            .slots
            .as_ref()
            .filter(|(read, _)| self.is_fresh(News::LIMITS, *read, now.time))
            .map(|(_, slots)| slots.clone())
    }

    pub(crate) fn learn_slots(&self, read: ReadAt, slots: Vec<(String, i32)>) {
        self.known().slots = Some((read, slots));
    }

    /// Whether there was no version after `after` a moment ago, and there is no news of versions.
    pub(crate) fn knows_none_after(&self, after: Option<DagVersionId>, now: ReadAt) -> bool {
        let known = self.known().none_after;
        known.is_some_and(|(read, before)| before == after && self.is_fresh(News::VERSIONS, read, now.time))
    }

    pub(crate) fn learn_none_after(&self, after: Option<DagVersionId>, read: ReadAt) {
        self.known().none_after = Some((read, after));
    }

    /// Whether no DAG of these versions waited for a run when that was last read, and there is no news of what decides that.
    pub(crate) fn knows_none_waiting(&self, versions: &[DagVersionId], concerns: News, now: ReadAt) -> bool {
        let known = self.known();
        known.none_waiting.as_ref().is_some_and(|(read, before)| {
            let age = now.time.saturating_sub(read.time);
            before == versions && self.generation(concerns) == read.generation && age < NONE_WAITING_TRUSTED
        })
    }

    pub(crate) fn learn_none_waiting(&self, versions: &[DagVersionId], read: ReadAt) {
        self.known().none_waiting = Some((read, versions.to_vec()));
    }

    /// The number of changes of access, if it was read a moment ago and there is no news of any.
    pub(crate) fn known_access(&self, now: ReadAt) -> Option<i64> {
        let known = self.known().access;
        known.filter(|(read, _)| self.is_fresh(News::ACCESS, *read, now.time)).map(|(_, version)| version)
    }

    pub(crate) fn learn_access(&self, read: ReadAt, version: i64) {
        self.known().access = Some((read, version));
    }

    pub(crate) fn known_nothing_due<T>(&self, ask: impl FnOnce(&NothingDue) -> Option<T>) -> Option<T> {
        self.known().nothing_due.as_ref().and_then(ask)
    }

    pub(crate) fn learn_nothing_due(&self, nothing: NothingDue) {
        self.known().nothing_due = Some(nothing);
    }

    /// The connection that listens, once nobody else has it.
    pub(crate) async fn listener(&self) -> tokio::sync::MutexGuard<'_, Option<PgListener>> {
        self.listener.lock().await
    }

    fn hear(&self, payload: &str) {
        let Some((sender, news)) = payload.split_once(' ') else { return };
        if sender != self.sender {
            self.tell(news.parse().map_or(News::ALL, |bits: u8| News(bits & News::ALL.0)));
        }
    }
}

impl PostgresStorage {
    /// Must be taken before the read that it stands for.
    pub(crate) fn read_at(&self, news: News) -> ReadAt {
        self.inner.hints.read_at(news, self.inner.clock.monotonic())
    }

    /// Wakes the schedulers of this process alone, which have been given something.
    pub(crate) fn announce_here(&self) {
        self.inner.hints.count.send_modify(|count| *count += 1);
    }

    /// Says that there is news; to be called after the commit of what is new.
    pub(crate) fn announce(&self, news: News) {
        let hints = &self.inner.hints;
        hints.tell(news);
        if !hints.notifications {
            return;
        }
        let mut outgoing = hints.outgoing();
        outgoing.news |= news.0;
        if !std::mem::replace(&mut outgoing.is_being_sent, true) {
            tokio::spawn(send(Arc::clone(&self.inner)));
        }
    }

    /// Waits for news after `seen`, from this process or another.
    pub(crate) async fn news(&self, seen: u64) -> u64 {
        let mut count = self.inner.hints.count.subscribe();
        let local = async {
            // The sender lives as long as `self`.
            count.wait_for(|&count| count > seen).await.map_or(seen, |count| *count)
        };
        if !self.inner.hints.notifications {
            return local.await;
        }
        tokio::select! {
            biased;
            count = local => count,
            () = self.listen() => seen,
        }
    }

    /// Listens for ever, and tells the process what it hears.
    async fn listen(&self) {
        let Inner { hints, schema, schedulers, clock, .. } = self.inner.as_ref();
        let mut listener = hints.listener().await;
        loop {
            let Some(open) = listener.as_mut() else {
                let opened = async {
                    let mut listener = PgListener::connect_with(schedulers).await?;
                    listener.listen(schema.name()).await?;
                    Ok::<_, sqlx::Error>(listener)
                };
                match opened.await {
                    Ok(opened) => {
                        *listener = Some(opened);
                        // What was said before is lost.
                        hints.tell(News::ALL);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot listen for news");
                        clock.sleep(RETRY).await;
                    }
                }
                continue;
            };
            match open.try_recv().await {
                Ok(Some(notification)) => hints.hear(notification.payload()),
                Ok(None) => hints.tell(News::ALL),
                Err(error) => {
                    tracing::debug!(%error, "listening for news has ended");
                    *listener = None;
                    clock.sleep(RETRY).await;
                }
            }
        }
    }
}

/// Sends hints until there are none.
async fn send(inner: Arc<Inner>) {
    loop {
        let news = {
            let mut outgoing = inner.hints.outgoing();
            let news = std::mem::take(&mut outgoing.news);
            outgoing.is_being_sent = news != 0;
            news
        };
        if news == 0 {
            return;
        }
        let sent = sqlx::query(inner.schema.sql(sql!("scheduler/notify")))
            .bind(inner.schema.name())
            .bind(format!("{} {news}", inner.hints.sender))
            .execute(&inner.clients)
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, "news were not sent");
        }
        inner.clock.sleep(PAUSE).await;
    }
}
