//! The command line of Apache's `htpasswd`, with its clusters of flags: `-Bbn USER PASSWORD`.

use super::message::Failure;
use clap::{ArgAction, Args, Parser};
use registry_auth_htpasswd::Scheme;
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

const USAGE: &str = "\
htpasswd [-c] [-i] [-B | -2 | -5 | -m | -s] [-C COST] [-r ROUNDS] FILE USER
       htpasswd -b [-c] [-B | -2 | -5 | -m | -s] [-C COST] [-r ROUNDS] FILE USER PASSWORD
       htpasswd -n [-i] [-B | -2 | -5 | -m | -s] [-C COST] [-r ROUNDS] USER
       htpasswd -nb [-B | -2 | -5 | -m | -s] [-C COST] [-r ROUNDS] USER PASSWORD
       htpasswd -v [-i | -b] FILE USER [PASSWORD]
       htpasswd -D FILE USER";

/// `htpasswd`, called by that name.
#[derive(Debug, Parser)]
#[command(name = "htpasswd", version, override_usage = USAGE)]
pub(crate) struct Program {
    #[command(flatten)]
    pub(crate) options: Options,
}

/// Make and check the users in an htpasswd file, as Apache's program of that name does
#[derive(Debug, Args)]
#[command(override_usage = USAGE)]
pub(crate) struct Options {
    /// Create the file, replacing an existing one
    #[arg(short)]
    create: bool,

    /// Print the line instead of changing a file
    #[arg(short = 'n')]
    print: bool,

    /// Take the password from the command line, where other users of the machine can see it
    #[arg(short)]
    batch: bool,

    /// Read the password from standard input, once
    #[arg(short = 'i')]
    stdin: bool,

    /// Hash the password with bcrypt (the default)
    #[arg(short = 'B', overrides_with_all = ["sha256", "sha512", "md5", "sha1"])]
    bcrypt: bool,

    /// Hash the password with SHA-256 crypt
    #[arg(short = '2', overrides_with_all = ["bcrypt", "sha512", "md5", "sha1"])]
    sha256: bool,

    /// Hash the password with SHA-512 crypt
    #[arg(short = '5', overrides_with_all = ["bcrypt", "sha256", "md5", "sha1"])]
    sha512: bool,

    /// Hash the password with Apache's MD5 (weak)
    #[arg(short, overrides_with_all = ["bcrypt", "sha256", "sha512", "sha1"])]
    md5: bool,

    /// Hash the password with SHA-1 without a salt (weakest)
    #[arg(short, overrides_with_all = ["bcrypt", "sha256", "sha512", "md5"])]
    sha1: bool,

    /// Cost of bcrypt, from 4 to 15; each step doubles the time
    #[arg(short = 'C', value_name = "COST", default_value_t = 10)]
    cost: u32,

    /// Rounds of SHA-256 and SHA-512 crypt, from 1000 to 1000000
    #[arg(short, value_name = "ROUNDS", default_value_t = 5000)]
    rounds: u32,

    /// Delete the user
    #[arg(short = 'D')]
    delete: bool,

    /// Verify the password of the user
    #[arg(short)]
    verify: bool,

    /// Refused: no registry accepts passwords in plain text
    #[arg(short, hide = true)]
    plain: bool,

    /// Refused: DES crypt reads eight characters of a password
    #[arg(short, hide = true)]
    des: bool,

    /// File, user, and with -b the password
    #[arg(value_name = "OPERAND", action = ArgAction::Append, trailing_var_arg = true, allow_hyphen_values = true)]
    operands: Vec<OsString>,
}

/// Task, with its user and password.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) user: String,
    pub(super) password: PasswordFrom,
}

#[derive(Debug)]
pub(super) enum Task {
    /// Print the user's line.
    Print(Scheme),
    /// Write the user's line to a file, which can be created.
    Set {
        file: PathBuf,
        create: bool,
        scheme: Scheme,
    },
    /// Remove the user's line from a file.
    Delete { file: PathBuf },
    /// Verify the password in a file.
    Verify { file: PathBuf },
}

/// Source of the password.
#[derive(Debug)]
pub(super) enum PasswordFrom {
    CommandLine(Vec<u8>),
    StandardInput,
    Terminal,
}

impl Options {
    pub(super) fn job(self) -> Result<Job, Failure> {
        if self.plain {
            return Err(Failure::usage(
                "-p is refused: plain-text passwords are not accepted anywhere; use -B",
            ));
        }
        if self.des {
            return Err(Failure::usage(
                "-d is refused: DES crypt uses only eight characters of a password; use -B",
            ));
        }
        let modes = [self.create, self.print, self.verify, self.delete];
        if modes.into_iter().filter(|&given| given).count() > 1 {
            return Err(Failure::usage("only one of -c -n -v -D may be specified"));
        }
        if self.batch && self.stdin {
            return Err(Failure::usage("only one of -b -i may be specified"));
        }

        let mistaken = self
            .operands
            .first()
            .filter(|first| first.as_bytes().starts_with(b"-"));
        if let Some(option) = mistaken {
            return Err(Failure::usage(format!(
                "unknown option {}; see htpasswd --help",
                option.display()
            )));
        }

        let scheme = self.scheme();
        let mut operands = self.operands.into_iter();
        let mut next = |what: &str| {
            let missing = || Failure::usage(format!("the {what} is missing; see htpasswd --help"));
            operands.next().ok_or_else(missing)
        };
        let file = if self.print {
            None
        } else {
            Some(PathBuf::from(next("file")?))
        };
        let user = user(&next("user")?)?;
        let password = match (self.batch, self.stdin) {
            (true, _) => PasswordFrom::CommandLine(next("password")?.as_bytes().to_owned()),
            (false, true) => PasswordFrom::StandardInput,
            (false, false) => PasswordFrom::Terminal,
        };
        if next("").is_ok() {
            return Err(Failure::usage(
                "too many operands; a password on the command line needs -b",
            ));
        }

        let task = match file {
            None => Task::Print(scheme),
            Some(file) if self.delete => Task::Delete { file },
            Some(file) if self.verify => Task::Verify { file },
            Some(file) => Task::Set {
                file,
                create: self.create,
                scheme,
            },
        };
        Ok(Job { task, user, password })
    }

    const fn scheme(&self) -> Scheme {
        let rounds = self.rounds;
        if self.sha256 {
            Scheme::Sha256 { rounds }
        } else if self.sha512 {
            Scheme::Sha512 { rounds }
        } else if self.md5 {
            Scheme::Apr1
        } else if self.sha1 {
            Scheme::Sha1
        } else {
            Scheme::Bcrypt { cost: self.cost }
        }
    }
}

/// Returns a name if it can be written to a file and read back unchanged.
fn user(name: &OsStr) -> Result<String, Failure> {
    const LONGEST: usize = 255;
    let illegal = |problem: &str| Err(Failure::illegal_user(format!("username {problem}")));
    let Some(name) = name.to_str() else {
        return illegal("is not UTF-8");
    };
    if name.is_empty() {
        return illegal("is empty");
    }
    if name.len() > LONGEST {
        return Err(Failure::too_long(format!("username too long (> {LONGEST})")));
    }
    if name.contains(':') {
        return illegal("contains illegal character ':'");
    }
    if name.contains(char::is_control) {
        return illegal("contains a control character");
    }
    if name.starts_with('#') {
        return illegal("begins with '#', as comments do");
    }
    if name.trim_ascii() != name {
        return illegal("begins or ends with a blank");
    }
    Ok(name.to_owned())
}
