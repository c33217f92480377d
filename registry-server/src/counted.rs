//! Numbers of things as text.

use std::fmt;

/// A number with its noun: `1 tag`, `2 tags`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    number: u64,
    one: &'static str,
    many: &'static str,
}

/// Counts things whose name in the singular and in the plural is this.
pub(crate) const fn counted(number: u64, one: &'static str, many: &'static str) -> Counted {
    Counted { number, one, many }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.number == 1 { self.one } else { self.many };
        write!(f, "{} {noun}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_thing_is_singular() {
        let shown = [0, 1, 2].map(|number| counted(number, "repository", "repositories").to_string());
        assert_eq!(shown, ["0 repositories", "1 repository", "2 repositories"]);
    }
}
