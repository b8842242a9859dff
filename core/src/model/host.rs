//! Where tries run.

/// A machine and the user that runs tries on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// The machine's name.
    pub hostname: String,
    /// The user's name.
    pub unixname: String,
    /// The process that tries run in, unless they have one of their own.
    pub pid: Option<u32>,
}
