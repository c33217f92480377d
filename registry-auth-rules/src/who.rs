//! [`Who`]: the users that a rule applies to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

/// Users that a rule applies to.
///
/// ```
/// use registry_auth_rules::Who;
///
/// assert_eq!("ann".parse(), Ok(Who::user("ann")));
/// assert_eq!("group:ops".parse(), Ok(Who::group("ops")));
/// assert_eq!("anonymous".parse(), Ok(Who::Anonymous));
/// assert!("Everyone".parse::<Who>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Who {
    /// All users, logged in or not.
    Everyone,
    /// Users who are not logged in.
    Anonymous,
    /// Users who are logged in.
    Authenticated,
    /// One user.
    User(Arc<str>),
    /// Members of a group, by the rules' definition or by the login.
    Group(Arc<str>),
}

impl Who {
    /// Returns a single user.
    #[must_use]
    pub fn user(name: impl Into<Arc<str>>) -> Self {
        Self::User(name.into())
    }

    /// Returns the members of a group.
    #[must_use]
    pub fn group(name: impl Into<Arc<str>>) -> Self {
        Self::Group(name.into())
    }

    pub(crate) fn includes(&self, caller: &Caller<'_>) -> bool {
        match self {
            Self::Everyone => true,
            Self::Anonymous => caller.user.is_none(),
            Self::Authenticated => caller.user.is_some(),
            Self::User(name) => caller.user == Some(name),
            Self::Group(name) => caller.is_in(name),
        }
    }
}

/// Keywords for more than one user.
const KEYWORDS: [&str; 3] = ["everyone", "anonymous", "authenticated"];

/// Error for a text that names no user, group or keyword.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Explained(.0))]
pub struct InvalidWho(Box<str>);

struct Explained<'a>(&'a str);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        match keyword_in_another_case(text) {
            Some(keyword) => write!(
                f,
                "`{text}` must be written `{keyword}`; for a user of that name, write `user:{text}`"
            ),
            None => write!(
                f,
                "`{text}` must be `everyone`, `anonymous`, `authenticated`, a user, `user:NAME` or `group:NAME`"
            ),
        }
    }
}

/// Returns the keyword that a text equals except for its case. As a user's name it would make a denial apply to nobody.
fn keyword_in_another_case(text: &str) -> Option<&'static str> {
    KEYWORDS
        .into_iter()
        .find(|keyword| *keyword != text && keyword.eq_ignore_ascii_case(text))
}

impl FromStr for Who {
    type Err = InvalidWho;

    /// Parses `everyone`, `anonymous`, `authenticated`, `user:NAME` or `group:NAME`; any other word is a user.
    /// `Everyone` and other cases of keywords are refused: they are hardly names.
    fn from_str(text: &str) -> Result<Self, InvalidWho> {
        let invalid = || InvalidWho(text.into());
        match text.split_once(':') {
            None => match text {
                "everyone" => Ok(Self::Everyone),
                "anonymous" => Ok(Self::Anonymous),
                "authenticated" => Ok(Self::Authenticated),
                "" => Err(invalid()),
                word if keyword_in_another_case(word).is_some() => Err(invalid()),
                user => Ok(Self::user(user)),
            },
            Some((_, "")) => Err(invalid()),
            Some(("user", name)) => Ok(Self::user(name)),
            Some(("group", name)) => Ok(Self::group(name)),
            Some(_) => Err(invalid()),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("everyone"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::Authenticated => f.write_str("authenticated"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
        }
    }
}

/// Groups that the rules define, with their members.
pub(crate) type Groups = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// User of a request, with their groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// Name of the user; `None` is an anonymous client, who is in no group.
    pub(crate) user: Option<&'a str>,
    /// Groups of the login.
    pub(crate) groups: &'a [Arc<str>],
    /// Groups that the rules define.
    pub(crate) defined: &'a Groups,
}

impl Caller<'_> {
    fn is_in(&self, group: &str) -> bool {
        self.user.is_some_and(|user| {
            self.groups.iter().any(|known| **known == *group)
                || self
                    .defined
                    .get(group)
                    .is_some_and(|members| members.contains(user))
        })
    }
}
