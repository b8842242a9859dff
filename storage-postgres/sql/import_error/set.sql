INSERT INTO updraft.import_error (filename, stack_trace, "timestamp")
VALUES ($1, $2, $3)
ON CONFLICT (filename) DO UPDATE SET stack_trace = excluded.stack_trace, "timestamp" = excluded."timestamp"
