//! Updraft's models, engine, traits and service.
