($10::smallint[] IS NULL OR i.state = ANY ($10))
    AND ($11::int[] IS NULL OR i.map_index = ANY ($11))
    AND ($12::timestamptz IS NULL OR i.start_date >= $12)
    AND ($13::timestamptz IS NULL OR i.start_date <= $13)
    AND ($14::timestamptz IS NULL OR i.end_date >= $14)
    AND ($15::timestamptz IS NULL OR i.end_date <= $15)
    AND ($16::timestamptz IS NULL OR i.updated_at >= $16)
    AND ($17::timestamptz IS NULL OR i.updated_at <= $17)
    AND (
        ($18::float8 IS NULL AND $19::float8 IS NULL)
        OR CASE WHEN NOT (i.is_branched_off AND i.state = 10) THEN extract(epoch FROM i.end_date - i.start_date)::float8 END
            BETWEEN COALESCE($18, '-infinity') AND COALESCE($19, 'infinity')
    )
