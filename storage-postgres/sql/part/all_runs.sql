$1::int IS NULL AND $2::int[] IS NULL AND $3::text[] IS NULL AND $4::timestamptz IS NULL AND $5::timestamptz IS NULL
