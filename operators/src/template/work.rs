//! How much one rendering may do in our own functions: the engine's fuel counts its instructions only.

use minijinja::{Error, State};

use super::error::limit;

/// Bytes and items that one rendering may make or look at.
const MAX_WORK: usize = 64 * 1024 * 1024;

struct Done(usize);

/// Counts `amount` bytes or items that are about to be made.
pub(super) fn spend(state: &mut State, amount: usize) -> Result<(), Error> {
    let done = state.get_or_insert_extension(Done(0));
    done.0 = done.0.saturating_add(amount).saturating_add(1);
    if done.0 > MAX_WORK {
        return Err(limit("the template does more work than is allowed"));
    }
    Ok(())
}
