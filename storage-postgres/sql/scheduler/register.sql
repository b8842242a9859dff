INSERT INTO updraft.scheduler (name, epoch, host) VALUES ($1, 1, $2)
ON CONFLICT (name) DO UPDATE SET epoch = scheduler.epoch + 1, host = excluded.host RETURNING id, epoch
