$6::text[] IS NULL AND $7::text[] IS NULL AND $8::text[] IS NULL AND $9::text[] IS NULL
