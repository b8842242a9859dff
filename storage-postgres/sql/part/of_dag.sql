/* date and id */ AND /* run values */
