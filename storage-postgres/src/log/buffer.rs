//! What was appended to logs and is not written yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use updraft_core::log::LogKey;

use crate::code::int;

/// Most bytes that wait.
const MAX_WAITING: usize = 64 << 20;

/// Most bytes of a piece.
const PIECE: usize = 64 << 10;

/// Most bytes and logs of a statement.
const STATEMENT: (usize, usize) = (4 << 20, 10_000);

/// How many logs without anything new are remembered while nothing waits, and for how many seconds otherwise.
const REMEMBERED: (usize, u32) = (1_000, 60);

/// Says that lines came faster than the database took them, or were lost when it crashed.
const GAP: &[u8] = b"\n*** Lines are missing here. ***\n";

/// A run's key, and a task's place.
pub(super) type Place = (i64, i32);

/// Place, map index and try number of what was written.
pub(super) type Written = (Place, i32, i32);

/// A piece to be written.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) key: Arc<LogKey>,
    pub(super) place: Place,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// What was appended to logs and is not written yet.
#[derive(Debug)]
pub(super) struct Buffer {
    max_log_size: u64,
    logs: BTreeMap<Arc<LogKey>, Log>,
    /// Those with pieces.
    dirty: BTreeSet<Arc<LogKey>>,
    /// Bytes of all pieces.
    waiting: usize,
    /// Counts what was appended.
    appended: u64,
    /// The last log that the last statement had a piece of.
    last: Option<Arc<LogKey>>,
    has_lost: bool,
}

#[derive(Debug)]
struct Log {
    key: Arc<LogKey>,
    /// Unknown at first, and whenever a piece did not go where it should.
    place: Option<Place>,
    /// Where the first piece starts, once the place is known.
    start: u64,
    pieces: VecDeque<Piece>,
    waiting: usize,
    is_cut: bool,
    has_gap: bool,
    seconds_quiet: u32,
}

#[derive(Debug)]
struct Piece {
    /// The number of the first append to it.
    since: u64,
    bytes: Vec<u8>,
    /// It may be written already, so it must not change.
    is_sent: bool,
}

/// Whether no run can have such ids: the database cannot keep them.
pub(super) fn is_impossible(key: &LogKey) -> bool {
    [&key.dag_id, &key.run_id, &key.task_id].iter().any(|id| id.contains('\0'))
}

impl Log {
    fn new(key: Arc<LogKey>) -> Self {
        Self {
            key,
            place: None,
            start: 0,
            pieces: VecDeque::new(),
            waiting: 0,
            is_cut: false,
            has_gap: false,
            seconds_quiet: 0,
        }
    }

    /// Appends to the last piece, and makes more where that is full.
    fn push(&mut self, number: u64, mut bytes: &[u8]) {
        self.waiting += bytes.len();
        loop {
            match self.pieces.back_mut().filter(|last| !last.is_sent && last.bytes.len() < PIECE) {
                Some(last) => {
                    let (head, tail) = bytes.split_at(bytes.len().min(PIECE - last.bytes.len()));
                    last.bytes.extend_from_slice(head);
                    bytes = tail;
                    if bytes.is_empty() {
                        return;
                    }
                }
                None => self.pieces.push_back(Piece { since: number, bytes: Vec::new(), is_sent: false }),
            }
        }
    }

    /// Puts a piece before all that waits.
    fn say_first(&mut self, bytes: &[u8]) {
        let since = self.pieces.front().map_or(0, |piece| piece.since);
        self.pieces.push_front(Piece { since, bytes: bytes.to_vec(), is_sent: false });
        self.waiting += bytes.len();
    }
}

impl Buffer {
    pub(super) fn new(max_log_size: u64) -> Self {
        Self {
            max_log_size,
            logs: BTreeMap::new(),
            dirty: BTreeSet::new(),
            waiting: 0,
            appended: 0,
            last: None,
            has_lost: false,
        }
    }

    pub(super) fn append(&mut self, key: &LogKey, bytes: &[u8]) {
        if is_impossible(key) {
            return;
        }
        if !self.logs.contains_key(key) {
            let key = Arc::new(key.clone());
            self.logs.insert(Arc::clone(&key), Log::new(key));
        }
        let Some(log) = self.logs.get_mut(key) else { return };
        log.seconds_quiet = 0;
        if log.is_cut {
            return;
        }
        if self.waiting + bytes.len() > MAX_WAITING {
            log.has_gap = true;
            if !std::mem::replace(&mut self.has_lost, true) {
                tracing::error!(?key, "logs come faster than the database takes them: some are lost");
            }
            return;
        }
        self.appended += 1;
        if log.pieces.is_empty() {
            self.dirty.insert(Arc::clone(&log.key));
        }
        let before = log.waiting;
        if std::mem::take(&mut log.has_gap) {
            log.push(self.appended, GAP);
        }
        let room = self.max_log_size.saturating_sub(log.start + log.waiting as u64);
        match usize::try_from(room) {
            Ok(room) if room < bytes.len() => {
                log.push(self.appended, &bytes[..whole_characters(bytes, room)]);
                let size = self.max_log_size;
                log.push(
                    self.appended,
                    format!("\n*** The log is cut here: it may have {size} bytes. ***\n").as_bytes(),
                );
                log.is_cut = true;
            }
            _ => log.push(self.appended, bytes),
        }
        self.waiting += log.waiting - before;
    }

    /// How much was appended so far.
    pub(super) fn appended(&self) -> u64 {
        self.appended
    }

    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Whether something waits that had been appended to the log by then.
    pub(super) fn is_waiting(&self, key: &LogKey, appended: u64) -> bool {
        self.logs.get(key).and_then(|log| log.pieces.front()).is_some_and(|piece| piece.since <= appended)
    }

    /// Whether something waits that had been appended to any log by then.
    pub(super) fn is_anything_waiting(&self, appended: u64) -> bool {
        self.dirty.iter().any(|key| self.is_waiting(key, appended))
    }

    /// Forgets where a log belongs, unless something waits or is still to be said of it.
    pub(super) fn forget(&mut self, key: &LogKey) {
        if self.logs.get(key).is_some_and(|log| log.has_gap) {
            self.append(key, b"");
        }
        if self.logs.get(key).is_some_and(|log| log.pieces.is_empty()) {
            self.logs.remove(key);
        }
    }

    pub(super) fn forget_run(&mut self, dag_id: &str, run_id: &str) {
        let gone = |key: &LogKey| key.dag_id == dag_id && key.run_id == run_id;
        let keys: Vec<_> = self.logs.keys().filter(|key| gone(key)).cloned().collect();
        for key in keys {
            self.drop_log(&key);
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.logs.clear();
        self.dirty.clear();
        self.waiting = 0;
    }

    fn drop_log(&mut self, key: &LogKey) {
        if let Some(log) = self.logs.remove(key) {
            self.waiting -= log.waiting;
            self.dirty.remove(key);
        }
    }

    /// Forgets logs that nothing was appended to for long.
    pub(super) fn age(&mut self) {
        let (most, seconds) = REMEMBERED;
        if self.is_clean() && self.logs.len() > most {
            self.logs.clear();
        }
        self.logs.retain(|_, log| {
            log.seconds_quiet += 1;
            !log.pieces.is_empty() || log.seconds_quiet <= seconds
        });
    }

    /// Logs with pieces whose place is not known.
    pub(super) fn unknown(&self) -> Vec<Arc<LogKey>> {
        let is_unknown = |key: &&Arc<LogKey>| self.logs.get(*key).is_some_and(|log| log.place.is_none());
        self.dirty.iter().filter(is_unknown).take(STATEMENT.1).cloned().collect()
    }

    /// Where logs belong, and their lengths; those that are not found are dropped: their run is gone.
    pub(super) fn resolve(&mut self, keys: Vec<Arc<LogKey>>, found: Vec<Option<(Place, u64)>>) {
        for (key, found) in keys.into_iter().zip(found) {
            let is_full = found.is_none_or(|(_, end)| end >= self.max_log_size.max(1));
            let Some(log) = self.logs.get_mut(&key) else { continue };
            match found {
                Some((place, end)) if !is_full => {
                    if end < log.start {
                        log.say_first(GAP);
                        self.waiting += GAP.len();
                    }
                    log.place = Some(place);
                    log.start = end;
                }
                Some(_) => {
                    self.waiting -= log.waiting;
                    log.waiting = 0;
                    log.pieces.clear();
                    log.is_cut = true;
                    self.dirty.remove(&key);
                }
                None => self.drop_log(&key),
            }
        }
    }

    /// One piece of each log, as many as a statement takes; it is the turn of those that the last one had no room for. One
    /// only, because the next piece has no place if this one's is taken.
    pub(super) fn batch(&mut self) -> Vec<Sent> {
        let after = match &self.last {
            Some(last) => Bound::Excluded(Arc::clone(last)),
            None => Bound::Unbounded,
        };
        let later = self.dirty.range((after.clone(), Bound::Unbounded));
        let earlier = match after {
            Bound::Excluded(last) => Some(self.dirty.range(..=last)),
            _ => None,
        };
        let mut batch = Vec::new();
        let mut bytes = 0;
        for key in later.chain(earlier.into_iter().flatten()) {
            let Some(log) = self.logs.get_mut(key) else { continue };
            let (Some(place), Some(piece)) = (log.place, log.pieces.front_mut()) else { continue };
            if !batch.is_empty() && (bytes + piece.bytes.len() > STATEMENT.0 || batch.len() >= STATEMENT.1) {
                break;
            }
            piece.is_sent = true;
            bytes += piece.bytes.len();
            batch.push(Sent { key: Arc::clone(key), place, offset: log.start, bytes: piece.bytes.clone() });
        }
        self.last = batch.last().map(|sent| Arc::clone(&sent.key));
        batch
    }

    /// What became of a batch. A piece that was not written met one of somebody else, or its run is gone: its place is
    /// looked for anew.
    pub(super) fn settle(&mut self, batch: &[Sent], written: Vec<Written>) {
        let written: BTreeSet<Written> = written.into_iter().collect();
        for sent in batch {
            let Some(log) = self.logs.get_mut(&sent.key) else { continue };
            if !written.contains(&(sent.place, sent.key.map_index, int(sent.key.try_number))) {
                log.place = None;
                continue;
            }
            let Some(piece) = log.pieces.pop_front() else { continue };
            log.start += piece.bytes.len() as u64;
            log.waiting -= piece.bytes.len();
            self.waiting -= piece.bytes.len();
            if log.pieces.is_empty() {
                self.dirty.remove(&sent.key);
            }
        }
        if self.is_clean() {
            self.has_lost = false;
        }
    }
}

/// The most bytes up to `most`, which is less than all, that cut no character.
fn whole_characters(bytes: &[u8], most: usize) -> usize {
    let is_start = |at: usize| (bytes[at] as i8) >= -0x40;
    (most.saturating_sub(3)..=most).rev().find(|&at| is_start(at)).unwrap_or(most)
}
