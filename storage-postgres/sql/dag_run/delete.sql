WITH i AS (
    DELETE FROM updraft.task_instance WHERE run = ANY ($1)
), t AS (
    DELETE FROM updraft.task_instance_try WHERE run = ANY ($1)
), n AS (
    DELETE FROM updraft.task_instance_note WHERE run = ANY ($1)
), f AS (
    DELETE FROM updraft.rendered_fields WHERE run = ANY ($1)
), s AS (
    DELETE FROM updraft.skip_decision WHERE run = ANY ($1)
), x AS (
    DELETE FROM updraft.xcom WHERE run = ANY ($1)
), e AS (
    DELETE FROM updraft.dag_run_dataset_event WHERE run = ANY ($1)
), l AS (
    DELETE FROM updraft.log_chunk WHERE run = ANY ($1)
), a AS (
    -- They hold their slots until they have ended, or their scheduler is gone.
    UPDATE updraft.attempt SET is_obsolete = true WHERE run = ANY ($1)
)
DELETE FROM updraft.dag_run WHERE id = ANY ($1)
