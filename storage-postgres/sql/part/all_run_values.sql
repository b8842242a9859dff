$6::smallint[] IS NULL AND $7::smallint[] IS NULL AND $8::timestamptz IS NULL AND $9::timestamptz IS NULL
    AND $10::timestamptz IS NULL AND $11::timestamptz IS NULL AND $12::timestamptz IS NULL AND $13::timestamptz IS NULL
