//! [`Target`]: the registry to examine, as the user gives it.

use super::{
    error::InvalidOption,
    origin::{Origin, Scheme},
};
use http::{Uri, uri::Authority};

/// Address of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Origin, with https unless another scheme was given.
    pub(super) origin: Origin,
    /// True if a scheme was given.
    pub(super) scheme_given: bool,
    /// Path before `/v2/`.
    pub(super) prefix: String,
}

impl Target {
    /// Parses `https://HOST`, `http://HOST:PORT`, or `HOST:PORT` as in the name of an image, optionally with `/v2/` at
    /// the end.
    ///
    /// # Errors
    ///
    /// If it has another form. The message does not repeat the text, which may contain a password.
    pub(super) fn parse(url: &str) -> Result<Self, InvalidOption> {
        let scheme_given = url.contains("://");
        let whole = if scheme_given {
            url.to_owned()
        } else {
            format!("{}://{url}", Scheme::Https)
        };
        let uri: Uri = whole.parse().or(Err(InvalidOption::Url))?;
        if uri
            .authority()
            .map(Authority::as_str)
            .is_some_and(|authority| authority.contains('@'))
        {
            return Err(InvalidOption::UserInUrl);
        }
        let origin = Origin::of(&uri).ok_or(InvalidOption::Url)?;
        if uri.query().is_some() || origin.host().is_empty() {
            return Err(InvalidOption::Url);
        }
        let path = uri.path().trim_end_matches('/');
        // No prefix has a tag or a digest behind its last slash.
        if path
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains([':', '@']))
        {
            return Err(InvalidOption::ImageName {
                registry: origin.authority(),
            });
        }
        Ok(Self {
            origin,
            scheme_given,
            prefix: path.strip_suffix("/v2").unwrap_or(path).to_owned(),
        })
    }

    /// Returns true if the host is `localhost` or a loopback address, and thus this machine.
    pub(super) fn is_loopback(origin: &Origin) -> bool {
        let host = origin.host();
        host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_written_in_several_ways() {
        for (url, origin, scheme_given, prefix) in [
            ("https://r.example", "https://r.example", true, ""),
            ("https://R.example:443/", "https://r.example", true, ""),
            ("http://r.example:5000/v2/", "http://r.example:5000", true, ""),
            ("r.example:5000", "https://r.example:5000", false, ""),
            ("[::1]:5000", "https://[::1]:5000", false, ""),
            ("https://r.example/images/", "https://r.example", true, "/images"),
            (
                "https://r.example/images/v2",
                "https://r.example",
                true,
                "/images",
            ),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(
                (
                    target.origin.to_string().as_str(),
                    target.scheme_given,
                    target.prefix.as_str()
                ),
                (origin, scheme_given, prefix),
                "{url}"
            );
        }
    }

    #[test]
    fn the_name_of_an_image_has_the_registry_in_it() {
        for url in [
            "r.example:5000/team/app:latest",
            "https://r.example:5000/app@sha256:e3b0",
        ] {
            let refused = Target::parse(url).unwrap_err().to_string();
            assert!(refused.ends_with("the registry is r.example:5000"), "{refused}");
        }
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        for url in [
            "",
            "/v2/",
            "ftp://r.example",
            "https://ann:secret@r.example",
            "https://r.example?secret",
        ] {
            let refused = Target::parse(url).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
            assert!(!refused.contains("--"), "an option of a command: {refused}");
        }
    }
}
