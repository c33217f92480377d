//! Format of the file: a line per user, `NAME:HASH`, as Apache's `htpasswd` writes it and as people edit it.
//!
//! Empty lines and lines that begin with `#` are ignored. Blanks around a line, carriage returns, a byte order mark and
//! the text after a second colon are ignored as well. The first of several lines for one user counts, as with Apache. A
//! malformed line makes the whole file invalid, so that half a file is never taken for a whole one. A user whose hash
//! is of an unknown kind, or costs too much, is set aside with a warning and cannot log in.

use crate::{
    formats::Formats,
    hash::{HashError, Kind, PasswordHash},
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

/// Parsed contents of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PasswordFile {
    /// Users who can log in, in the order of the file.
    pub(crate) users: Vec<(Arc<str>, PasswordHash)>,
    /// Lines whose user cannot log in, by the reason.
    pub(crate) set_aside: BTreeMap<SetAside, Lines>,
}

impl PasswordFile {
    /// Parses the bytes of a file. Users with a hash of another format than `formats` cannot log in.
    pub(crate) fn parse(bytes: &[u8], formats: &Formats) -> Result<Self, Malformed> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut file = Self::default();
        let mut seen = HashSet::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let Some((user, hash)) = split(line).map_err(|problem| problem.at(number))? else {
                continue;
            };
            let why = match understood(user, hash, formats).map_err(|problem| problem.at(number))? {
                _ if !seen.insert(user) => SetAside::Duplicate,
                Ok(user) => {
                    file.users.push(user);
                    continue;
                }
                Err(why) => why,
            };
            file.set_aside.entry(why).or_default().0.push(number);
        }
        Ok(file)
    }
}

/// Name and hash of a line.
type Fields<'a> = (&'a [u8], &'a [u8]);

/// Splits a line into name and hash; `None` if the line is empty or a comment.
fn split(line: &[u8]) -> Result<Option<Fields<'_>>, Problem> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let mut fields = line.split(|&byte| byte == b':');
    let user = fields.next().unwrap_or_default();
    let hash = fields.next().ok_or(Problem::NoColon)?.trim_ascii();
    if user.is_empty() {
        return Err(Problem::NoUser);
    }
    if hash.is_empty() {
        return Err(Problem::NoHash);
    }
    Ok(Some((user, hash)))
}

type User = (Arc<str>, PasswordHash);

/// Returns the user of a line, or the reason why the line is set aside.
fn understood(user: &[u8], hash: &[u8], formats: &Formats) -> Result<Result<User, SetAside>, Problem> {
    let Ok(user) = str::from_utf8(user) else {
        return Ok(Err(SetAside::NotUtf8));
    };
    let Ok(hash) = str::from_utf8(hash) else {
        return Ok(Err(SetAside::UnknownKind));
    };
    Ok(match PasswordHash::parse(hash) {
        Ok(hash) if !formats.accept(hash.kind()) => Err(SetAside::NotAccepted(hash.kind())),
        Ok(hash) => Ok((user.into(), hash)),
        Err(HashError::UnknownKind) => Err(SetAside::UnknownKind),
        Err(HashError::NotBuiltIn(kind)) => Err(SetAside::NotBuiltIn(kind)),
        Err(HashError::TooCostly(kind)) => Err(SetAside::TooCostly(kind)),
        Err(error @ HashError::Damaged(_)) => return Err(Problem::Hash(error)),
    })
}

/// A line that makes a file invalid. Its text is not kept: it may hold a hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Line number, from 1 on.
    pub(crate) line: usize,
    pub(crate) problem: Problem,
}

/// Fault of a malformed line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no colon.
    #[error("not of the form `user:hash`")]
    NoColon,
    /// The name before the colon is empty.
    #[error("the name of the user is empty")]
    NoUser,
    /// The hash after the colon is empty.
    #[error("the hash is empty")]
    NoHash,
    /// The hash is damaged.
    #[error("{0}")]
    Hash(HashError),
}

impl Problem {
    const fn at(self, line: usize) -> Malformed {
        Malformed { line, problem: self }
    }
}

/// Reason why the user of a well-formed line cannot log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SetAside {
    Duplicate,
    NotUtf8,
    UnknownKind,
    NotBuiltIn(Kind),
    TooCostly(Kind),
    NotAccepted(Kind),
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate => f.write_str("the user has an earlier line, which counts"),
            Self::NotUtf8 => f.write_str("the name of the user is not UTF-8"),
            Self::UnknownKind => HashError::UnknownKind.fmt(f),
            Self::NotBuiltIn(kind) => HashError::NotBuiltIn(*kind).fmt(f),
            Self::TooCostly(kind) => HashError::TooCostly(*kind).fmt(f),
            Self::NotAccepted(kind) => write!(f, "{kind}, which is not an accepted format"),
        }
    }
}

/// Line numbers, from 1 on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines(Vec<usize>);

impl fmt::Display for Lines {
    /// Shows the first few numbers only, to keep log lines short.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        for (index, line) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{line}", if index == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALICE: &str = "$2y$04$lfx3DjWrmUNhcQAQhkr3OugQHtjmIGnj8rVyZlnSMLiQSuERxwiHm";
    const BOB: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn users(text: &[u8]) -> Vec<String> {
        let file = PasswordFile::parse(text, &Formats::default()).unwrap();
        file.users.iter().map(|(user, _)| user.to_string()).collect()
    }

    fn problem(text: &str) -> String {
        let Malformed { line, problem } =
            PasswordFile::parse(text.as_bytes(), &Formats::default()).unwrap_err();
        format!("{line}: {problem}")
    }

    #[test]
    fn what_people_leave_in_a_file_does_not_matter() {
        let text = format!(
            "\u{feff}alice:{ALICE}\r\n\r\n# bob left\n  # and carol\n\t böb:{BOB} \n \ncarol:{BOB}:Carol of Sales:x\ndan: {BOB}"
        );
        assert_eq!(users(text.as_bytes()), ["alice", "böb", "carol", "dan"]);
        assert_eq!(users(b""), [""; 0]);
        assert_eq!(users(b"# nobody yet\n"), [""; 0]);
    }

    #[test]
    fn the_first_line_of_a_user_counts() {
        let file = PasswordFile::parse(
            format!("a:{BOB}\nb:{BOB}\na:{ALICE}\n").as_bytes(),
            &Formats::default(),
        )
        .unwrap();

        assert_eq!(file.users.len(), 2);
        assert_eq!(file.users[0].1.kind(), Kind::Sha1);
        assert_eq!(file.set_aside[&SetAside::Duplicate].to_string(), "3");
    }

    #[test]
    fn a_user_who_cannot_log_in_keeps_nobody_else_out() {
        let text = format!("plain:secret\nyes:$y$j9T$abc$def\na:{ALICE}\nb:{BOB}\n");
        let mut text = text.into_bytes();
        text.extend_from_slice(b"b\xf6b:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");

        let file = PasswordFile::parse(&text, &[Kind::Bcrypt].into_iter().collect()).unwrap();

        assert_eq!(file.users.len(), 1);
        assert_eq!(file.set_aside[&SetAside::UnknownKind].to_string(), "1, 2");
        assert_eq!(
            file.set_aside[&SetAside::NotAccepted(Kind::Sha1)].to_string(),
            "4"
        );
        assert_eq!(file.set_aside[&SetAside::NotUtf8].to_string(), "5");
    }

    #[test]
    fn a_malformed_line_is_named_and_not_repeated() {
        assert_eq!(problem("# x\njust text\n"), "2: not of the form `user:hash`");
        assert_eq!(problem(":x"), "1: the name of the user is empty");
        assert_eq!(problem("a:"), "1: the hash is empty");
        assert_eq!(problem("a: :x"), "1: the hash is empty");
        let half = ALICE.split_at(40).0;
        assert_eq!(
            problem(&format!("b:{BOB}\na:{half}")),
            "2: a damaged hash: it begins as bcrypt ($2y$), but is malformed"
        );
    }

    #[test]
    fn a_hash_that_costs_too_much_keeps_nobody_else_out_and_is_nobodys_stand_in() {
        let costly = ALICE.replace("$04$", "$16$");
        let file =
            PasswordFile::parse(format!("a:{costly}\nb:{ALICE}").as_bytes(), &Formats::default()).unwrap();

        assert_eq!(file.users.len(), 1);
        let costly = SetAside::TooCostly(Kind::Bcrypt);
        assert_eq!(file.set_aside[&costly].to_string(), "1");
        assert_eq!(
            costly.to_string(),
            "bcrypt ($2y$) with a cost so high that a few logins would delay all others"
        );
    }

    #[test]
    fn many_lines_are_told_briefly() {
        assert_eq!(
            Lines((1..=12).collect()).to_string(),
            "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"
        );
    }

    fn lines_of_users() -> impl Strategy<Value = Vec<u8>> {
        let mark = prop::sample::select(vec![
            "",
            "$2y$",
            "$2b$05$",
            "$apr1$",
            "$1$",
            "$5$",
            "$6$rounds=",
            "$6$rounds=1000$",
            "{SHA}",
            "{SSHA}",
            "$y$",
        ]);
        let line = (
            "[ -~]{0,4}",
            mark,
            "[./0-9A-Za-z$=\u{e9}:{}]{0,70}",
            "[\r\n#]{0,2}",
        );
        let line = line.prop_map(|(user, mark, rest, end)| format!("{user}:{mark}{rest}{end}\n"));
        prop::collection::vec(line, 0..5).prop_map(|lines| lines.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = PasswordFile::parse(&bytes, &Formats::default());
        }

        #[test]
        fn what_is_parsed_can_be_verified_against(bytes in lines_of_users()) {
            if let Ok(file) = PasswordFile::parse(&bytes, &Formats::default()) {
                for (user, hash) in &file.users {
                    prop_assert!(!user.is_empty());
                    // Programs in C hash no password with a NUL in it.
                    prop_assert!(hash.kind() == Kind::Bcrypt || !hash.verify(b"a\0b"));
                }
            }
        }
    }
}
