//! What a transaction reads of task instances, changes in memory, and writes back in arrays.
//!
//! The rows of the runs are locked before, and whoever changes an instance locks its run first: between reading and writing
//! nobody else changes them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use updraft_core::id::{AttemptToken, InstanceKey, RunId, TaskIx};
use updraft_core::model::{AttemptPhase, TaskState};
use updraft_core::operator::SkipDownstream;
use updraft_core::storage::Result;
use uuid::Uuid;

use crate::code::{int, phase, phase_code, phase_state, task_state, task_state_code, unsigned};
use crate::sql::{Schema, sql};

type Time = DateTime<Utc>;

/// An instance, over all runs.
pub(crate) type Place = (RunId, InstanceKey);

/// The last try of an instance, as its row has it or as its attempt has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Try {
    pub(crate) state: TaskState,
    pub(crate) number: u32,
    pub(crate) is_branched_off: bool,
    pub(crate) queued_when: Option<Time>,
    pub(crate) start_date: Option<Time>,
    pub(crate) end_date: Option<Time>,
    pub(crate) host: Option<i32>,
    pub(crate) pid: Option<i32>,
}

/// A live attempt.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) token: AttemptToken,
    pub(crate) is_obsolete: bool,
    pub(crate) phase: AttemptPhase,
    pub(crate) number: u32,
    pub(crate) queued_when: Time,
    pub(crate) start_date: Option<Time>,
    pub(crate) host: Option<i32>,
    pub(crate) pid: Option<i32>,
}

impl Live {
    fn as_try(&self) -> Try {
        Try {
            state: phase_state(self.phase),
            number: self.number,
            is_branched_off: false,
            queued_when: Some(self.queued_when),
            start_date: self.start_date,
            end_date: None,
            host: self.host,
            pid: self.pid,
        }
    }
}

/// An instance: its row, and its live attempt.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The row: while an attempt that counts is live, what was before it.
    pub(crate) row: Try,
    /// Stays as it is if the row was not read, because the outcome of its attempt replaces all else.
    pub(crate) max_tries: Option<u32>,
    pub(crate) due_at: Option<Time>,
    pub(crate) live: Option<Live>,
    is_changed: bool,
}

impl Image {
    /// The attempt that is the instance's state.
    pub(crate) fn current(&self) -> Option<&Live> {
        self.live.as_ref().filter(|live| !live.is_obsolete)
    }

    pub(crate) fn state(&self) -> TaskState {
        self.current().map_or(self.row.state, |live| phase_state(live.phase))
    }

    pub(crate) fn set_state(&mut self, state: TaskState) {
        self.row.state = state;
        self.is_changed = true;
    }

    pub(crate) fn row_mut(&mut self) -> &mut Try {
        self.is_changed = true;
        &mut self.row
    }

    /// Makes the row what the attempt is, which no longer counts.
    pub(crate) fn retire(&mut self) -> Option<AttemptToken> {
        let live = self.live.as_mut().filter(|live| !live.is_obsolete)?;
        live.is_obsolete = true;
        self.row = live.as_try();
        self.due_at = None;
        self.is_changed = true;
        Some(live.token)
    }

    /// What becomes of the instance when its attempt has gone without an outcome.
    fn forget_attempt(&mut self, now: Time) {
        self.live = None;
        let state = match self.row.state {
            TaskState::Restarting => TaskState::None,
            TaskState::Queued | TaskState::Running => TaskState::Failed,
            _ => return,
        };
        if state == TaskState::Failed {
            self.row.end_date = Some(now);
        }
        self.set_state(state);
    }

    /// The row as it goes to the history: a try that did not finish counts as failed there.
    fn archived(&self, now: Time) -> Try {
        let mut last = self.current().map_or_else(|| self.row.clone(), Live::as_try);
        if !last.state.is_finished() {
            last.end_date = if last.state == TaskState::UpForRetry { last.end_date } else { Some(now) };
            last.state = TaskState::Failed;
        }
        last.is_branched_off &= last.state == TaskState::Skipped;
        last
    }
}

/// What is asked of an instance.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) row: bool,
    pub(crate) attempt: bool,
}

/// Where the slots of an attempt count.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(crate) dag: i32,
    pub(crate) task_id: String,
    pub(crate) pool: String,
    pub(crate) pool_slots: i64,
}

/// A new attempt, and where its slots count.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) place: Place,
    pub(crate) live: Live,
    pub(crate) holding: Holding,
    pub(crate) executor: Option<String>,
}

/// An entry of the event log about a try.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) when: Time,
    pub(crate) place: Place,
    pub(crate) number: u32,
    pub(crate) state: TaskState,
}

/// Instances that were read, and what is to be written.
#[derive(Debug, Default)]
pub(crate) struct Images {
    images: BTreeMap<Place, Image>,
    /// Where attempts that were read are. Never iterated.
    places: BTreeMap<AttemptToken, Place>,
    /// Attempts of instances that are gone.
    orphans: BTreeMap<AttemptToken, (Place, Holding)>,
    gone: Vec<AttemptToken>,
    /// Runs of attempts that ended without an outcome: those that have ended count their instances again.
    recounted: BTreeSet<i64>,
    retired: Vec<AttemptToken>,
    started: Vec<AttemptToken>,
    births: BTreeMap<AttemptToken, Birth>,
    tries: Vec<(Place, u32, Try)>,
    /// Instances whose XComs and decisions go, and whether their rendered fields go, too.
    forgotten: BTreeMap<Place, bool>,
    xcoms: BTreeMap<(Place, String), Value>,
    skips: BTreeMap<Place, SkipDownstream>,
    events: Vec<Event>,
}

impl Images {
    /// Reads instances by key, and those of attempts by token.
    pub(crate) async fn read(
        connection: &mut PgConnection,
        schema: &Schema,
        places: &[Place],
        tokens: &[AttemptToken],
    ) -> Result<Self, sqlx::Error> {
        let mut images = Self::default();
        images.read_more(connection, schema, places, tokens).await?;
        Ok(images)
    }

    /// Reads further ones. What was changed since must not be read again.
    pub(crate) async fn read_more(
        &mut self,
        connection: &mut PgConnection,
        schema: &Schema,
        places: &[Place],
        tokens: &[AttemptToken],
    ) -> Result<(), sqlx::Error> {
        if places.is_empty() && tokens.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(schema.sql(sql!("task_instance/images")))
            .bind(places.iter().map(|(run, _)| run.0).collect::<Vec<_>>())
            .bind(places.iter().map(|(_, key)| int(key.task.0)).collect::<Vec<_>>())
            .bind(places.iter().map(|(_, key)| key.map_index).collect::<Vec<_>>())
            .bind(tokens.iter().map(|token| token.0).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        for row in &rows {
            self.take(row)?;
        }
        Ok(())
    }

    /// Takes a row of the columns that `task_instance/images` has, for an instance whose own row was asked for or not.
    pub(crate) fn take_asked(&mut self, row: &PgRow, asked: &BTreeMap<Place, Asked>) -> Result<(), sqlx::Error> {
        let (place, live) = read_live(row)?;
        let Some(live) = live.filter(|_| asked.get(&place).is_some_and(|asked| !asked.row)) else {
            return self.take(row);
        };
        self.places.insert(live.token, place);
        let image = Image { row: live.as_try(), max_tries: None, due_at: None, live: Some(live), is_changed: false };
        self.images.insert(place, image);
        Ok(())
    }

    /// Instances whose rows were not asked for, but are needed: their attempt counts no longer.
    pub(crate) fn incomplete(&self) -> Vec<Place> {
        let is_incomplete = |image: &Image| image.max_tries.is_none() && image.current().is_none();
        self.images.iter().filter(|(_, image)| is_incomplete(image)).map(|(place, _)| *place).collect()
    }

    fn take(&mut self, row: &PgRow) -> Result<(), sqlx::Error> {
        let (place, live) = read_live(row)?;
        let state: Option<i16> = row.try_get(3)?;
        let (Some(state), token) = (state, live.as_ref().map(|live| live.token)) else {
            if let Some(live) = live {
                let holding = Holding {
                    dag: row.try_get(21)?,
                    pool_slots: row.try_get(22)?,
                    task_id: row.try_get(23)?,
                    pool: row.try_get(24)?,
                };
                self.orphans.insert(live.token, (place, holding));
            }
            return Ok(());
        };
        self.places.extend(token.map(|token| (token, place)));
        let image = Image {
            row: Try {
                state: decoded(task_state(state))?,
                number: unsigned(row.try_get::<i32, _>(4)?),
                is_branched_off: row.try_get(6)?,
                queued_when: row.try_get(7)?,
                start_date: row.try_get(8)?,
                end_date: row.try_get(9)?,
                host: row.try_get(11)?,
                pid: row.try_get(12)?,
            },
            max_tries: Some(unsigned(row.try_get::<i64, _>(5)?)),
            due_at: row.try_get(10)?,
            live,
            is_changed: false,
        };
        self.images.insert(place, image);
        Ok(())
    }

    pub(crate) fn get(&self, place: Place) -> Option<&Image> {
        self.images.get(&place)
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut Image> {
        self.images.get_mut(&place)
    }

    /// Where the live attempt is, whose instance may be gone.
    pub(crate) fn find(&self, token: AttemptToken) -> Option<(Place, Option<&Live>)> {
        if let Some(place) = self.places.get(&token) {
            let live = self.images.get(place)?.live.as_ref().filter(|live| live.token == token)?;
            return Some((*place, Some(live)));
        }
        Some((self.orphans.get(&token)?.0, None))
    }

    /// Where the slots of an attempt count whose instance is gone.
    pub(crate) fn orphan(&self, token: AttemptToken) -> Option<&Holding> {
        self.orphans.get(&token).map(|(_, holding)| holding)
    }

    /// A new attempt is live.
    pub(crate) fn admit(&mut self, now: Time, birth: Birth) {
        let (place, token) = (birth.place, birth.live.token);
        if self.images.get(&place).is_some_and(|image| image.row.number > 0) {
            self.archive(now, place);
            self.forget(place);
        }
        if let Some(image) = self.images.get_mut(&place) {
            image.live = Some(birth.live.clone());
        }
        self.places.insert(token, place);
        self.births.insert(token, birth);
    }

    /// A queued attempt runs.
    pub(crate) fn start(&mut self, now: Time, token: AttemptToken) {
        let live = self.places.get(&token).and_then(|place| self.images.get_mut(place)?.live.as_mut());
        if let Some(live) = live.filter(|live| live.token == token) {
            live.phase = AttemptPhase::Running;
            live.start_date = Some(now);
            if let Some(birth) = self.births.get_mut(&token) {
                birth.live = live.clone();
            } else {
                self.started.push(token);
            }
        }
    }

    /// The attempt goes away; what becomes of its instance is the caller's to say.
    pub(crate) fn remove_attempt(&mut self, token: AttemptToken) {
        if let Some(place) = self.places.remove(&token)
            && let Some(image) = self.images.get_mut(&place)
        {
            image.live = None;
        }
        self.orphans.remove(&token);
        if self.births.remove(&token).is_none() {
            self.gone.push(token);
        }
    }

    /// An attempt that counts no longer has ended.
    pub(crate) fn release(&mut self, now: Time, place: Place, token: AttemptToken) {
        self.remove_attempt(token);
        if let Some(image) = self.images.get_mut(&place) {
            image.forget_attempt(now);
            self.recounted.insert(place.0.0);
        }
    }

    /// The outcome of the instance's current attempt.
    pub(crate) fn end(&mut self, place: Place, state: TaskState, end_date: Time, due_at: Option<Time>) {
        let Some(image) = self.images.get_mut(&place) else { return };
        let Some(live) = image.live.clone() else { return };
        image.row = Try { state, end_date: Some(end_date), ..live.as_try() };
        image.due_at = due_at;
        image.is_changed = true;
        self.remove_attempt(live.token);
    }

    /// The instance's current attempt is as if it had never been admitted.
    pub(crate) fn give_back(&mut self, place: Place) {
        let Some(image) = self.images.get_mut(&place) else { return };
        let token = image.live.as_ref().map(|live| live.token);
        image.due_at = None;
        image.row.is_branched_off = false;
        image.set_state(TaskState::Scheduled);
        if let Some(token) = token {
            self.remove_attempt(token);
        }
        self.forget(place);
    }

    /// The instance's attempt counts no longer; it stays until it has ended.
    pub(crate) fn retire(&mut self, place: Place) {
        let token = self.images.get_mut(&place).and_then(Image::retire);
        self.retired.extend(token);
    }

    /// The run has ended: none of its attempts counts any longer. Of those that were not read, the caller takes care.
    pub(crate) fn retire_run(&mut self, run: RunId) {
        let first = InstanceKey { task: TaskIx(0), map_index: i32::MIN };
        for (_, image) in self.images.range_mut((run, first)..).take_while(|((at, _), _)| *at == run) {
            self.retired.extend(image.retire());
        }
    }

    /// Puts the last try into the history; one that is there stays as it is.
    pub(crate) fn archive(&mut self, now: Time, place: Place) {
        if let Some(image) = self.images.get(&place) {
            self.tries.push((place, image.max_tries.unwrap_or_default(), image.archived(now)));
        }
    }

    /// Forgets what a try left for others, and what belongs to the last try only.
    pub(crate) fn forget(&mut self, place: Place) {
        self.forget_values(place);
        self.forgotten.insert(place, true);
    }

    /// Forgets what a try left for others.
    pub(crate) fn forget_values(&mut self, place: Place) {
        self.forgotten.entry(place).or_default();
        self.skips.remove(&place);
        let own = (place, String::new())..;
        let keys: Vec<_> =
            self.xcoms.range(own).take_while(|((at, _), _)| *at == place).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.xcoms.remove(&key);
        }
    }

    pub(crate) fn put_xcom(&mut self, place: Place, key: &str, value: Value) {
        self.xcoms.insert((place, key.to_owned()), value);
    }

    pub(crate) fn put_skip(&mut self, place: Place, skip: SkipDownstream) {
        self.skips.insert(place, skip);
    }

    pub(crate) fn log(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Writes what has changed: one statement for attempts, instances and the event log, and one for each of what is seldom.
    pub(crate) async fn write(
        self,
        connection: &mut PgConnection,
        schema: &Schema,
        now: Time,
        scheduler: Option<(i64, i64)>,
    ) -> Result<(), sqlx::Error> {
        let Self { images, gone, recounted, retired, started, births, tries, forgotten, xcoms, skips, events, .. } =
            self;
        let changed: Vec<(Place, Image)> = images.into_iter().filter(|(_, image)| image.is_changed).collect();
        if !started.is_empty() {
            sqlx::query(schema.sql(sql!("attempt/start")))
                .bind(started.iter().map(|token| token.0).collect::<Vec<_>>())
                .bind(now)
                .execute(&mut *connection)
                .await?;
        }
        if !tries.is_empty() {
            write_tries(connection, schema, &tries).await?;
        }
        if !(changed.is_empty() && gone.is_empty() && births.is_empty() && events.is_empty()) {
            let births: Vec<Birth> = births.into_values().collect();
            write_main(connection, schema, now, scheduler.unwrap_or_default(), &changed, &gone, &births, &events)
                .await?;
        }
        // After the births: an attempt may be retired in the step that it began in.
        if !retired.is_empty() {
            sqlx::query(schema.sql(sql!("attempt/retire")))
                .bind(retired.iter().map(|token| token.0).collect::<Vec<_>>())
                .execute(&mut *connection)
                .await?;
        }
        if !forgotten.is_empty() {
            sqlx::query(schema.sql(sql!("task_instance/forget")))
                .bind(forgotten.keys().map(|(run, _)| run.0).collect::<Vec<_>>())
                .bind(forgotten.keys().map(|(_, key)| int(key.task.0)).collect::<Vec<_>>())
                .bind(forgotten.keys().map(|(_, key)| key.map_index).collect::<Vec<_>>())
                .bind(forgotten.values().copied().collect::<Vec<_>>())
                .execute(&mut *connection)
                .await?;
        }
        if !xcoms.is_empty() {
            let xcoms: Vec<_> = xcoms.into_iter().collect();
            sqlx::query(schema.sql(sql!("xcom/put")))
                .bind(xcoms.iter().map(|(((run, _), _), _)| run.0).collect::<Vec<_>>())
                .bind(xcoms.iter().map(|(((_, key), _), _)| int(key.task.0)).collect::<Vec<_>>())
                .bind(xcoms.iter().map(|(((_, key), _), _)| key.map_index).collect::<Vec<_>>())
                .bind(xcoms.iter().map(|((_, name), _)| name.as_str()).collect::<Vec<_>>())
                .bind(xcoms.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>())
                .bind(now)
                .execute(&mut *connection)
                .await?;
        }
        if !skips.is_empty() {
            let skips: Vec<_> = skips.into_iter().collect();
            sqlx::query(schema.sql(sql!("task_instance/put_skips")))
                .bind(skips.iter().map(|((run, _), _)| run.0).collect::<Vec<_>>())
                .bind(skips.iter().map(|((_, key), _)| int(key.task.0)).collect::<Vec<_>>())
                .bind(skips.iter().map(|((_, key), _)| key.map_index).collect::<Vec<_>>())
                .bind(skips.iter().map(|(_, skip)| Json(skip)).collect::<Vec<_>>())
                .execute(&mut *connection)
                .await?;
        }
        if !recounted.is_empty() {
            sqlx::query(schema.sql(sql!("dag_run/recount")))
                .bind(Vec::from_iter(recounted))
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}

#[allow(clippy::too_many_arguments, reason = "the parts of one statement")]
async fn write_main(
    connection: &mut PgConnection,
    schema: &Schema,
    now: Time,
    (scheduler, epoch): (i64, i64),
    changed: &[(Place, Image)],
    gone: &[AttemptToken],
    births: &[Birth],
    events: &[Event],
) -> Result<(), sqlx::Error> {
    sqlx::query(schema.sql(sql!("commit/write")))
        .bind(now)
        .bind(scheduler)
        .bind(epoch)
        .bind(gone.iter().map(|token| token.0).collect::<Vec<_>>())
        // Instances.
        .bind(changed.iter().map(|((run, _), _)| run.0).collect::<Vec<_>>())
        .bind(changed.iter().map(|((_, key), _)| int(key.task.0)).collect::<Vec<_>>())
        .bind(changed.iter().map(|((_, key), _)| key.map_index).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| task_state_code(image.row.state)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| image.row.is_branched_off).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| int(image.row.number)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| image.max_tries.map(i64::from)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| image.row.queued_when).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| image.row.start_date).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| image.row.end_date).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| image.due_at).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| image.row.host).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, image)| image.row.pid).collect::<Vec<_>>())
        // Attempts.
        .bind(births.iter().map(|birth| birth.live.token.0).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.place.0.0).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| int(birth.place.1.task.0)).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.place.1.map_index).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| int(birth.live.number)).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| phase_code(birth.live.phase)).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.live.start_date).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.live.host).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.live.pid).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.holding.dag).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.holding.pool_slots).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.holding.task_id.as_str()).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.holding.pool.as_str()).collect::<Vec<_>>())
        .bind(births.iter().map(|birth| birth.executor.as_deref()).collect::<Vec<_>>())
        // Events.
        .bind(events.iter().map(|event| event.when).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.place.0.0).collect::<Vec<_>>())
        .bind(events.iter().map(|event| int(event.place.1.task.0)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.place.1.map_index).collect::<Vec<_>>())
        .bind(events.iter().map(|event| int(event.number)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.state.as_str()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_tries(
    connection: &mut PgConnection,
    schema: &Schema,
    tries: &[(Place, u32, Try)],
) -> Result<(), sqlx::Error> {
    sqlx::query(schema.sql(sql!("task_instance/put_tries")))
        .bind(tries.iter().map(|((run, _), ..)| run.0).collect::<Vec<_>>())
        .bind(tries.iter().map(|((_, key), ..)| int(key.task.0)).collect::<Vec<_>>())
        .bind(tries.iter().map(|((_, key), ..)| key.map_index).collect::<Vec<_>>())
        .bind(tries.iter().map(|(.., one)| int(one.number)).collect::<Vec<_>>())
        .bind(tries.iter().map(|(.., one)| task_state_code(one.state)).collect::<Vec<_>>())
        .bind(tries.iter().map(|(.., one)| one.is_branched_off).collect::<Vec<_>>())
        .bind(tries.iter().map(|(_, max_tries, _)| i64::from(*max_tries)).collect::<Vec<_>>())
        .bind(tries.iter().map(|(.., one)| one.queued_when).collect::<Vec<_>>())
        .bind(tries.iter().map(|(.., one)| one.start_date).collect::<Vec<_>>())
        .bind(tries.iter().map(|(.., one)| one.end_date).collect::<Vec<_>>())
        .bind(tries.iter().map(|(.., one)| one.host).collect::<Vec<_>>())
        .bind(tries.iter().map(|(.., one)| one.pid).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// The place of an instance and its live attempt, from a row of the columns that `task_instance/images` has.
fn read_live(row: &PgRow) -> Result<(Place, Option<Live>), sqlx::Error> {
    let key = InstanceKey { task: TaskIx(unsigned(row.try_get::<i32, _>(1)?)), map_index: row.try_get(2)? };
    let place = (RunId(row.try_get(0)?), key);
    let Some(token) = row.try_get::<Option<Uuid>, _>(13)? else { return Ok((place, None)) };
    let live = Live {
        token: AttemptToken(token),
        number: unsigned(row.try_get::<i32, _>(14)?),
        phase: decoded(phase(row.try_get(15)?))?,
        is_obsolete: row.try_get(16)?,
        queued_when: row.try_get(17)?,
        start_date: row.try_get(18)?,
        host: row.try_get(19)?,
        pid: row.try_get(20)?,
    };
    Ok((place, Some(live)))
}

/// A row that cannot be understood, as an error of reading it.
pub(crate) fn decoded<T>(result: Result<T>) -> Result<T, sqlx::Error> {
    result.map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
