//! [`Form`]: the parameters of a query or of a body in the format of HTML forms.

use percent_encoding::percent_decode_str;

/// Decoded names and values, in their order.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Parses parameters. Text that is malformed becomes text that matches nothing.
    pub(super) fn parse(text: &str) -> Self {
        let decode = |text: &str| {
            let spaces = text.replace('+', " ");
            percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    /// Returns the first value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Returns all values of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(given, _)| given == name)
            .map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let form = Form::parse("a=1&b=x%3Ay+z&a=2&&c&%zz=%zz&ä=%ff");
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(form.get("b"), Some("x:y z"));
        assert_eq!(form.get("c"), Some(""));
        assert_eq!(form.get("%zz"), Some("%zz"));
        assert_eq!(form.get("d"), None);
    }
}
