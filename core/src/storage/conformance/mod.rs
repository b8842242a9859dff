//! The properties that every storage has: one named test each.
//!
//! A storage's own tests call [`storage_conformance!`](crate::storage_conformance) with a function that opens an empty
//! storage; the macro makes a `#[tokio::test]` of each property. This module is for tests, and not held stable.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod access;
mod amend;
mod claim;
mod commit;
mod dag;
mod dag_warning;
mod dataset;
mod event_log;
mod history;
mod limit;
mod naive;
mod parsing_request;
mod past;
mod pool;
mod run;
mod schedule;
mod secret;
mod setting;
mod stop;
mod task_instance;
mod world;
mod xcom;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Storage;

pub use history::random_history;

/// An empty storage to try a property on. Whatever it needs goes when it is dropped.
#[async_trait]
pub trait Trial: Send + Sync {
    /// The storage. Its clock stands at the start of 2026 or later, because the logical dates of runs lie before.
    fn storage(&self) -> Arc<dyn Storage>;

    /// Lets time pass by which the storage measures leases.
    async fn pass(&self, time: Duration);
}

/// Waits for a property; one that hangs has failed.
pub async fn within_a_minute(property: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(60), property).await.expect("the property ends within a minute");
}

macro_rules! properties {
    ($($module:ident: $($name:ident)*;)*) => {
        /// All properties by name, each as an async function of a [`Trial`].
        pub mod properties {
            $(pub use super::$module::{$($name),*};)*

            /// The names of all properties.
            pub const NAMES: &[&str] = &[$($(stringify!($name)),*),*];
        }

        /// Makes a test of each property that storages have.
        ///
        /// `$open` is an async function without arguments that gives a
        /// [`Trial`]($crate::storage::conformance::Trial) with an empty storage.
        #[macro_export]
        macro_rules! storage_conformance {
            ($open:path) => {
                $($(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $name() {
                        let trial = $open().await;
                        let property = $crate::storage::conformance::properties::$name(&trial);
                        $crate::storage::conformance::within_a_minute(property).await;
                    }
                )*)*
            };
        }
    };
}

properties! {
    dag:
        a_registered_dag_is_there
        the_same_content_makes_no_version
        runs_keep_their_version
        versions_are_listed_after_one
        a_deactivated_dag_keeps_its_runs
        a_dag_that_another_scheduler_may_declare_stays_active
        a_report_brings_no_version_back
        pausing_ignores_unknown_dags
        paused_upon_creation_is_for_new_dags
        a_deleted_dag_is_wholly_gone
        a_dag_with_a_live_attempt_is_not_deleted
        sources_are_kept_by_file
        dags_are_found_by_file
        a_dag_shows_its_files_import_error
        dag_queries_agree_with_a_naive_filter
    ;
    run:
        a_run_is_created_with_its_instances
        a_duplicate_date_is_named_first
        ids_and_dates_are_a_dags_own
        each_created_run_stands_alone
        of_concurrent_creations_one_succeeds
        a_run_has_a_note
        a_run_is_found_by_its_uid
        a_deleted_run_is_wholly_gone
        run_filters_agree_with_a_naive_filter
        run_orders_agree_with_a_naive_sort
        runs_are_counted_by_state
        the_latest_run_of_each_dag_is_known
    ;
    claim:
        a_claim_takes_the_oldest_first
        queued_runs_are_claimed_by_logical_date
        a_run_is_claimed_by_one_scheduler
        only_runs_of_known_versions_are_claimed
        a_finished_run_belongs_to_nobody
        runs_of_a_silent_scheduler_are_taken_over
        a_heartbeat_keeps_runs
        a_silent_scheduler_keeps_its_own_runs
        registering_again_fences_the_former_session
        a_scheduler_that_leaves_frees_its_runs
        queued_runs_of_paused_dags_are_not_claimed
        runs_of_the_future_are_not_claimed
        a_dag_without_room_hides_no_other
        claims_respect_max_active_runs
        a_snapshot_is_complete
        changes_are_told_until_they_are_read
        a_reload_leaves_out_others_runs
        a_run_waits_for_the_attempts_of_a_living_scheduler
        attempts_of_the_dead_do_not_leak
        news_is_announced
        a_claimed_run_of_a_paused_dag_does_not_start
    ;
    commit:
        a_batch_is_applied_once
        batches_of_a_lane_come_in_order
        a_stale_run_blocks_itself_only
        one_wrong_version_makes_the_run_stale
        only_own_runs_are_written
        a_run_starts_and_ends
        impossible_changes_have_no_effect
        an_attempt_is_its_instances_state
        an_attempt_may_start_at_once
        an_outcome_counts_once
        attempts_never_overlap
        a_failed_try_is_followed_by_the_next
        a_try_is_given_back
        instances_are_settled
        instances_are_shown_as_scheduled
        outcomes_leave_xcoms
        transitions_are_logged
        tries_end_in_every_finished_state
        large_batches_work
    ;
    limit:
        a_paused_dag_admits_nothing
        max_active_runs_holds
        pool_slots_hold
        queued_attempts_take_slots
        slots_move_within_a_batch
        unusual_pools
        a_pool_is_resized
        pools_are_found_by_name
        max_active_tasks_holds_over_all_runs
        max_active_tis_per_dag_holds
        max_active_tis_per_dagrun_holds
        limits_are_named_in_order
        a_refused_admission_has_no_effect
        obsolete_attempts_hold_their_slots
        limits_hold_among_concurrent_commits
        limits_are_exact_in_any_order
        a_full_pool_holds_up_no_other
    ;
    amend:
        a_finished_instance_is_cleared
        clearing_twice_keeps_a_try_once
        a_running_instance_restarts
        a_late_outcome_does_not_count
        a_current_attempt_is_not_released
        a_release_needs_no_version
        amendments_look_at_the_state
        marking_sets_dates
        a_marked_instance_keeps_the_mark
        a_mark_can_be_cleared_in_the_same_step
        a_marked_retry_keeps_its_failed_try
        a_restarting_instance_can_be_marked
        an_obsolete_attempt_cannot_write
        a_run_starts_over
        a_client_finishes_a_run
        a_finished_run_has_no_attempts_that_count
        a_restart_is_decided_within_the_step
        amendments_are_all_or_nothing
        each_amendment_is_a_version
        amended_instances_do_not_wait_for_slots
        a_cleared_retry_is_not_due
    ;
    task_instance:
        an_instance_is_found_by_its_ids
        an_attempt_describes_itself
        states_are_found_by_place
        an_instance_has_a_note
        tries_of_an_instance_that_has_not_run
        the_last_change_is_known
        instances_of_an_ended_run_are_found
        instance_filters_agree_with_a_naive_filter
        instances_are_found_by_each_state
    ;
    xcom:
        an_xcom_is_replaced
        json_is_kept_to_the_letter
        a_new_try_removes_xcoms
        xcom_queries_agree_with_a_naive_filter
    ;
    parsing_request:
        a_parsing_request_is_taken_once
    ;
    pool:
        the_default_pool_exists
        the_default_pool_stays
        pools_are_edited
        pool_orders_agree_with_a_naive_sort
        time_goes_forward
    ;
    dataset:
        datasets_become_known_with_their_dags
        uses_of_datasets_follow_the_newest_version
        an_update_is_queued_once_for_each_dag_that_waits
        a_success_updates_the_outlets
        nothing_but_a_success_updates_outlets
        queued_updates_are_chosen_by_each_filter
        updates_cause_a_run
        a_run_is_caused_by_what_is_queued
        consumers_without_room_wait
        of_concurrent_creations_for_updates_one_succeeds
        a_run_for_updates_has_a_date_of_its_own
        updates_are_announced
        a_deleted_dag_leaves_its_datasets
        a_run_without_updates_has_none
        dataset_queries_agree_with_a_naive_filter
        dataset_event_queries_agree_with_a_naive_filter
    ;
    schedule:
        schedules_are_planned_and_make_runs
        schedules_meet_runs_that_exist
        schedules_wait_for_room
        schedules_heed_pauses_and_deletions
        a_run_is_scheduled_once
    ;
    dag_warning:
        pools_that_do_not_exist_are_warned_of
    ;
    event_log:
        an_entry_is_kept
        event_filters_agree_with_a_naive_filter
        event_orders_agree_with_a_naive_sort
    ;
    secret:
        variables_are_kept
        variables_change_field_by_field
        variable_orders_agree_with_a_naive_sort
        connections_are_kept
        connections_change_field_by_field
        of_concurrent_connections_one_is_made
        connection_orders_agree_with_a_naive_sort
        secrets_are_written_anew_if_they_are_as_they_were
    ;
    setting:
        a_file_has_one_import_error
        import_error_orders_agree_with_a_naive_sort
    ;
    stop:
        a_run_stops_its_instances
        only_the_unfinished_is_stopped
        an_attempt_is_stopped_in_any_step
        failures_in_a_row_pause_a_dag
    ;
    past:
        the_run_before_goes_by_logical_date
        the_past_of_a_task_is_its_present_state
        the_past_knows_tasks_by_id
    ;
    access:
        users_are_kept
        names_and_emails_of_users_are_unique
        a_users_roles_exist
        logins_are_counted
        user_orders_agree_with_a_naive_sort
        roles_are_kept
        who_has_a_role_follows_it
        default_roles_are_made_once
        tokens_are_kept
        a_changed_user_has_no_tokens
        each_change_of_access_is_counted
        a_dag_says_who_may_access_it
    ;
}

#[cfg(test)]
mod tests {
    use super::properties::NAMES;

    #[test]
    fn every_property_is_a_test() {
        let files = [
            include_str!("dag.rs"),
            include_str!("run.rs"),
            include_str!("claim.rs"),
            include_str!("commit.rs"),
            include_str!("limit.rs"),
            include_str!("amend.rs"),
            include_str!("task_instance.rs"),
            include_str!("xcom.rs"),
            include_str!("parsing_request.rs"),
            include_str!("pool.rs"),
            include_str!("dataset.rs"),
            include_str!("schedule.rs"),
            include_str!("dag_warning.rs"),
            include_str!("event_log.rs"),
            include_str!("secret.rs"),
            include_str!("setting.rs"),
            include_str!("stop.rs"),
            include_str!("past.rs"),
            include_str!("access.rs"),
        ];
        let functions =
            files.iter().flat_map(|file| file.lines()).filter_map(|line| line.strip_prefix("pub async fn "));
        let functions: Vec<_> = functions.filter_map(|rest| rest.split('(').next()).collect();
        assert_eq!(functions, NAMES);
    }
}
