//! [`Who`]: whom a rule is about.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Who {
    /// Anybody at all.
    Everyone,
    /// Those who are not logged in.
    Anonymous,
    /// Those who are.
    Authenticated,
    /// One user.
    User(Arc<str>),
    /// The members of a group: as the rules list them, or as the login says.
    Group(Arc<str>),
}

impl Who {
    /// One user.
    #[must_use]
    pub fn user(name: impl Into<Arc<str>>) -> Self {
        Self::User(name.into())
    }

    /// The members of a group.
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

/// The words that stand for more than one user.
const KEYWORDS: [&str; 3] = ["everyone", "anonymous", "authenticated"];

/// Why a text names nobody.
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
                "`{text}` is neither `{keyword}`, which is written in lower case, nor a user: one of that name is \
                 `user:{text}`"
            ),
            None => write!(
                f,
                "`{text}` is neither `everyone`, `anonymous`, `authenticated`, a user, `user:NAME` nor `group:NAME`"
            ),
        }
    }
}

/// The keyword that a text is but for its case. As a user's name it would make a rule that forbids apply to nobody.
fn keyword_in_another_case(text: &str) -> Option<&'static str> {
    KEYWORDS
        .into_iter()
        .find(|keyword| *keyword != text && keyword.eq_ignore_ascii_case(text))
}

impl FromStr for Who {
    type Err = InvalidWho;

    /// `everyone`, `anonymous`, `authenticated`, `user:NAME`, `group:NAME`; any other word is a user. `Everyone` and its like
    /// are refused: they are hardly names.
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

/// The groups that the rules define, and who is in them.
pub(crate) type Groups = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// Who asks, and what is known of their groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    /// `None` is a stranger, who is in no group.
    pub(crate) user: Option<&'a str>,
    /// As the login says.
    pub(crate) groups: &'a [Arc<str>],
    /// As the rules say.
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
