-- Waits for batches that are being written; later ones of the former session meet the new epoch.
WITH fenced AS (
    UPDATE updraft.lane SET epoch = $2, sequence = NULL, verdicts = NULL WHERE scheduler = $1
)
INSERT INTO updraft.lane (scheduler, lane, epoch) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING
