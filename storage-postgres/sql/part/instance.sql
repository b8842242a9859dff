i.run, i.task, i.map_index, i.state, i.is_branched_off, i.try_number, i.max_tries, i.queued_when, i.start_date, i.end_date,
    i.due_at, i.hostname, i.unixname, i.pid, i.note, i.note_user, i.rendered_fields
