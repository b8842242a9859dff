$2::text[] IS NULL AND $3::timestamptz IS NULL AND $4::timestamptz IS NULL AND /* all run values */
