//! Keys that there are not: what was meant by them, and whether the server may go on without.
//!
//! What registry:2 passes over is passed over here, with a warning, but for keys that would have protected something:
//! a server that nobody has to log in to is not what somebody wanted who wrote `authentication`. Neither is one that
//! keeps images in the default directory what somebody wanted who wrote `floppy`, for the storage, or `rootdir`.

use super::{
    keys::{self, Known, Role},
    value::{Content, Value},
};

/// What keeps people out, or images as they are and where they are.
const PROTECTING: [&[&str]; 6] = [
    &["auth"],
    &["access"],
    &["http", "tls"],
    &["http", "allow"],
    &["storage", "filesystem", "rootdirectory"],
    &["storage", "maintenance", "readonly"],
];

/// Sections of which no key is passed over, whatever it looks like.
const STRICT: [&[&str]; 7] = [
    &["auth"],
    &["auth", "htpasswd"],
    &["access"],
    &["http", "tls"],
    &["storage"],
    &["storage", "filesystem"],
    &["storage", "maintenance", "readonly"],
];

/// Protecting sections whose names stand for nothing else, so that they are known in a wrong place of a file.
const UNMISTAKABLE: [&[&str]; 4] = [
    &["auth"],
    &["auth", "htpasswd"],
    &["http", "tls"],
    &["storage", "maintenance", "readonly"],
];

/// The shortest beginning of a name that is taken for it, so that `ca` is not `catalog`.
const BEGINNING: usize = 3;

/// A key that there is not.
#[derive(Debug)]
pub(super) struct Unknown {
    section: Vec<String>,
    meant: Option<Vec<String>>,
    /// Whether the server protects less without it.
    pub(super) protects: bool,
}

impl Unknown {
    /// One of a file, with what stands there.
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

    /// One of a variable: the keys that there are, and the parts of its name behind them.
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

    /// What is wrong with it, for a message that names it before and keys as `shown`.
    pub(super) fn told(&self, shown: impl Fn(&[&str]) -> String) -> String {
        let section: Vec<&str> = self.section.iter().map(String::as_str).collect();
        let told = match (self.protects, section.as_slice()) {
            (true, ["auth"]) => "there is no such way to log in",
            (true, ["storage"]) => "there is no such storage",
            (true, ["storage", "filesystem"]) => {
                "there is no such key, and the server does not start, as images may be meant to be kept elsewhere"
            }
            (true, _) => "there is no such key, and the server does not start without what it may protect",
            (false, _) => "there is no such key; ignored",
        };
        if let Some(meant) = &self.meant {
            let meant: Vec<&str> = meant.iter().map(String::as_str).collect();
            return format!("{told}, did you mean `{}`?", shown(&meant));
        }
        if !self.protects {
            return told.to_owned();
        }
        let names: Vec<String> = keys::below(&section)
            .into_iter()
            .map(|name| [section.as_slice(), &[name]].concat())
            .filter(|path| !matches!(keys::find(path), Known::Key(key) if key.role == Role::Refused))
            .map(|path| format!("`{}`", shown(&path)))
            .collect();
        format!("{told}; what there is: {}", names.join(", "))
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|&name| name.to_owned()).collect()
}

fn protects(path: &[&str]) -> bool {
    PROTECTING.iter().any(|protecting| path.starts_with(protecting))
}

/// Whether anything protects that stands below a path, read as charitably as the path was.
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

/// The path of the key in a section that a name is, or was meant to be.
fn child<'a>(section: &[&'a str], name: &str) -> Option<Vec<&'a str>> {
    let (_, known) = similar(section, name)?;
    Some([section, &[known]].concat())
}

/// The key in a section that a name is most like, after how far it is off.
fn similar(section: &[&str], name: &str) -> Option<(usize, &'static str)> {
    let name = name.to_lowercase();
    let below = keys::below(section);
    if let Some(known) = below.iter().find(|known| **known == name) {
        return Some((0, known));
    }
    // `path` is no misspelled `auth`, and `accesslog` stands in the wrong place.
    if keys::KEYS
        .iter()
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

/// Whether a variable is one of other programs: where podman and skopeo keep logins, or what Kubernetes sets for a service,
/// such as one called `registry-auth`.
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
