//! Unknown keys: the key that was probably meant, and whether the server may start without it.
//!
//! Unknown keys are ignored with a warning; registry:2 ignores them, too. Keys that would have protected something are
//! refused: an administrator who wrote `authentication` did not want a server without logins. One who wrote `rootdir`,
//! or `floppy` for the storage, did not want images in the default directory.

use super::{
    keys::{self, Known, Role},
    settings::NO_DRIVERS,
    value::{Content, Value},
};

/// Sections and keys that restrict access, or decide where images are stored and whether they can change.
const PROTECTING: [&[&str]; 9] = [
    &["auth"],
    &["access"],
    &["http", "tls"],
    &["http", "allow"],
    &["storage", "filesystem", "rootdirectory"],
    &["storage", "s3"],
    &["storage", "gcs"],
    &["storage", "azure"],
    &["storage", "maintenance", "readonly"],
];

/// Sections in which every unknown key is refused.
const STRICT: [&[&str]; 11] = [
    &["auth"],
    &["auth", "htpasswd"],
    &["access"],
    &["http", "tls"],
    &["storage"],
    &["storage", "filesystem"],
    &["storage", "s3"],
    &["storage", "gcs"],
    &["storage", "azure"],
    &["storage", "azure", "credentials"],
    &["storage", "maintenance", "readonly"],
];

/// Protecting sections with unmistakable names, which are recognised even in the wrong place of a file.
const UNMISTAKABLE: [&[&str]; 4] = [
    &["auth"],
    &["auth", "htpasswd"],
    &["http", "tls"],
    &["storage", "maintenance", "readonly"],
];

/// Minimum length of a prefix that is taken for a name, so that `ca` does not mean `catalog`.
const BEGINNING: usize = 3;

/// Key that is not in the table.
#[derive(Debug)]
pub(super) struct Unknown {
    section: Vec<String>,
    meant: Option<Vec<String>>,
    /// True if the server protects less without the key.
    pub(super) protects: bool,
}

impl Unknown {
    /// Describes an unknown key of a file, with its value.
    pub(super) fn in_file(path: &[&str], value: &Value) -> Self {
        let (name, section) = path.split_last().unwrap_or((&"", &[]));
        let meant = child(section, name).or_else(|| {
            let last =
                |path: &&&[&'static str]| path.last().is_some_and(|last| last.eq_ignore_ascii_case(name));
            UNMISTAKABLE.iter().find(last).map(|path| path.to_vec())
        });
        Self {
            section: owned(section),
            protects: STRICT.contains(&section) || meant.as_ref().is_some_and(|meant| reaches(meant, value)),
            meant: meant.map(|meant| owned(&meant)),
        }
    }

    /// Describes an unknown key of a variable: `section` is the known beginning, `parts` the rest of the name.
    pub(super) fn in_variable(section: &[&str], parts: &[&str]) -> Self {
        let mut meant = section.to_vec();
        let mut rest = parts;
        while let Some((name, used)) = (1..=rest.len())
            .filter_map(|used| {
                // `CLIENT_CAS` is `clientcas`.
                let name = rest.get(..used)?.concat();
                let (rank, known) = similar(&meant, &name)?;
                Some((rank, used, known))
            })
            .min()
            .map(|(_, used, known)| (known, used))
        {
            meant.push(name);
            rest = rest.get(used..).unwrap_or_default();
        }
        let found = meant.len() > section.len() || (protects(section) && !STRICT.contains(&section));
        Self {
            section: owned(section),
            protects: !is_of_others(section, parts) && (STRICT.contains(&section) || protects(&meant)),
            meant: found.then(|| owned(&meant)),
        }
    }

    /// Returns the end of a message that begins with the key. `shown` formats the keys that the message suggests.
    pub(super) fn told(&self, shown: impl Fn(&[&str]) -> String) -> String {
        let section: Vec<&str> = self.section.iter().map(String::as_str).collect();
        let told = match (self.protects, section.as_slice()) {
            (true, ["auth"]) => "unknown authentication method",
            (true, ["storage"]) if !self.is_meant_beside_drivers() => "unknown storage driver",
            (true, ["storage"] | ["storage", "filesystem" | "s3" | "gcs" | "azure", ..]) => {
                "unknown key; the server does not start, because the key may name the place of the images"
            }
            (true, _) => "unknown key; the server does not start, because the key may protect the registry",
            (false, _) => "unknown key, ignored",
        };
        if let Some(meant) = &self.meant {
            let meant: Vec<&str> = meant.iter().map(String::as_str).collect();
            return format!("{told}; did you mean `{}`?", shown(&meant));
        }
        if !self.protects {
            return told.to_owned();
        }
        let names: Vec<String> = keys::below(&section)
            .into_iter()
            .filter(|name| section != ["storage"] || !NO_DRIVERS.contains(name))
            .map(|name| [section.as_slice(), &[name]].concat())
            .filter(|path| !matches!(keys::find(path), Known::Key(key) if key.role == Role::Refused))
            .map(|path| format!("`{}`", shown(&path)))
            .collect();
        format!("{told}; expected one of: {}", names.join(", "))
    }

    /// Returns true if the name resembles a key of `storage` that is no storage, such as `delete`.
    fn is_meant_beside_drivers(&self) -> bool {
        let meant = self.meant.as_ref().and_then(|meant| meant.get(1));
        meant.is_some_and(|name| NO_DRIVERS.contains(&name.as_str()))
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|&name| name.to_owned()).collect()
}

fn protects(path: &[&str]) -> bool {
    PROTECTING.iter().any(|protecting| path.starts_with(protecting))
}

/// Returns true if the path, or a key below it, protects something. Misspelled names below the path count, too.
fn reaches(path: &[&str], value: &Value) -> bool {
    if protects(path) {
        return true;
    }
    let Content::Map(map) = &value.content else {
        return false;
    };
    map.iter()
        .any(|(name, below)| child(path, name).is_some_and(|path| reaches(&path, below)))
}

/// Returns the path of the key in `section` that `name` is, or was probably meant to be.
fn child<'a>(section: &[&'a str], name: &str) -> Option<Vec<&'a str>> {
    let (_, known) = similar(section, name)?;
    Some([section, &[known]].concat())
}

/// Returns the key in `section` that is most similar to `name`, preceded by its distance.
fn similar(section: &[&str], name: &str) -> Option<(usize, &'static str)> {
    let name = name.to_lowercase();
    let below = keys::below(section);
    if let Some(known) = below.iter().find(|known| **known == name) {
        return Some((0, known));
    }
    // `path` is no misspelled `auth`, and `accesslog` stands in the wrong place.
    if keys::keys()
        .filter(|key| !is_of_bucket(key.path) || section.first() == Some(&"storage"))
        .any(|key| key.segments().any(|known| known == name))
    {
        return None;
    }
    let distance = |known: &'static str| {
        let shorter = known.len().min(name.len());
        let edits = strsim::damerau_levenshtein(known, &name);
        if edits <= 2 && edits < shorter {
            Some((edits, known))
        } else if shorter >= BEGINNING && (known.starts_with(&name) || name.starts_with(known)) {
            Some((BEGINNING, known))
        } else {
            None
        }
    };
    below.into_iter().filter_map(distance).min()
}

/// Returns true for keys of buckets, whose names resemble those of other things: `keyfile`, `secure`, `container`.
fn is_of_bucket(path: &str) -> bool {
    ["storage.s3.", "storage.gcs.", "storage.azure."]
        .iter()
        .any(|section| path.starts_with(section))
}

/// Returns true if a variable belongs to another program.
///
/// Podman and skopeo name their file of logins in `REGISTRY_AUTH_FILE`. Kubernetes sets variables for each service, for
/// example for one called `registry-auth`.
fn is_of_others(section: &[&str], parts: &[&str]) -> bool {
    let is_port = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    match parts {
        ["FILE"] => section == ["auth"],
        [.., "PORT"] | [.., "SERVICE", "HOST"] => true,
        [.., "PORT", port, "TCP" | "UDP" | "SCTP"]
        | [.., "PORT", port, "TCP" | "UDP" | "SCTP", "ADDR" | "PROTO"] => is_port(port),
        _ => parts.windows(2).any(|pair| pair == ["SERVICE", "PORT"]),
    }
}
