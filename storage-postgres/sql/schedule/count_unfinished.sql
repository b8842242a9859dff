SELECT d.id, /* unfinished */ FROM unnest($1::int[]) AS d (id)
