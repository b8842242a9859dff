//! What a client may ask: the one place of business rules, which all wire APIs call.
