($2::text[] IS NULL OR r.run_id = ANY ($2))
    AND ($3::timestamptz IS NULL OR r.logical_date >= $3)
    AND ($4::timestamptz IS NULL OR r.logical_date <= $4)
