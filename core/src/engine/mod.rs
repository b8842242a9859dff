//! The state machine of a run (pure), and the scheduler loop that feeds it.
