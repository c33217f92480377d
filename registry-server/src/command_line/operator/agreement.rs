//! The agreement of the operator to a removal that was shown.

use crate::{command_line::prompt, control::BoxError};
use std::io::{self, IsTerminal as _, Write as _};

/// Asks on a terminal, and fails unless the operator agrees. Without a terminal, nobody agrees.
pub(super) fn require(permanently: bool) -> Result<(), BoxError> {
    if io::stdin().is_terminal() {
        let mut err = io::stderr().lock();
        let for_good = if permanently { " for good" } else { "" };
        write!(err, "Remove this{for_good}? [y/N] ")?;
        err.flush()?;
        let answer = prompt::line_of(&mut io::stdin().lock())?;
        if matches!(&*answer.to_ascii_lowercase(), b"y" | b"yes") {
            return Ok(());
        }
    }
    Err("nothing was removed; pass --yes to remove it".into())
}
