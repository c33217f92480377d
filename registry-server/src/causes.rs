//! Errors as text, with what caused them.

use std::error::Error;

/// Renders an error and its sources on one line. A source that the text before it already tells is left out.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("{told}")]
    struct Outer {
        told: &'static str,
        source: io::Error,
    }

    #[test]
    fn a_cause_is_told_once() {
        let of = |told| {
            with_causes(&Outer {
                told,
                source: io::Error::other("refused"),
            })
        };
        assert_eq!(of("cannot connect"), "cannot connect: refused");
        assert_eq!(of("cannot connect: refused"), "cannot connect: refused");
    }
}
