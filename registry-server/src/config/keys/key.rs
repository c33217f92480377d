//! [`Key`]: what the table of keys says of one of them.

/// Key of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Path from the root, separated by dots. A last part `*` stands for names that the user chooses.
    pub(crate) path: &'static str,
    pub(crate) form: Form,
    pub(crate) role: Role,
    /// Default as written in a file; empty if there is none.
    pub(crate) default: &'static str,
    /// Purpose of the key, or the reason for which it is accepted or refused.
    pub(crate) about: &'static str,
}

/// Form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    /// Text that is never printed.
    Secret,
    Switch,
    Count,
    /// Size in bytes: `512m`, `10g`.
    Size,
    /// Duration in Go's syntax: `1h30m`. A number without a unit counts nanoseconds.
    Duration,
    /// List of texts. A single value is a list of one.
    List,
    /// Section that has an effect by its presence.
    Mark,
    /// Any value, with everything below it.
    Any,
}

/// Treatment of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The key takes effect.
    Honoured,
    /// registry:2 needs the key and this server does not; `config check` says so.
    Accepted,
    /// Ignoring the key silently would be wrong: the server does not start.
    Refused,
}

/// Refused keys whose items can be disabled one by one.
const WITH_DISABLED_ITEMS: [&str; 3] = ["log.hooks", "notifications.endpoints", "middleware"];

impl Key {
    /// Returns true if items below the key with `disabled: true` are ignored.
    pub(crate) fn has_disabled_items(&self) -> bool {
        WITH_DISABLED_ITEMS.contains(&self.path)
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('.')
    }
}

pub(super) const fn honoured(
    path: &'static str,
    form: Form,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key {
        path,
        form,
        role: Role::Honoured,
        default,
        about,
    }
}

pub(super) const fn accepted(path: &'static str, form: Form, about: &'static str) -> Key {
    Key {
        path,
        form,
        role: Role::Accepted,
        default: "",
        about,
    }
}

pub(super) const fn refused(path: &'static str, about: &'static str) -> Key {
    Key {
        path,
        form: Form::Any,
        role: Role::Refused,
        default: "",
        about,
    }
}
