//! The flags of the command line, read by hand: [`Command::parse`].

use registry_test::{Quirk, UnknownQuirk};
use std::{
    ffi::OsString,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

pub(crate) const HELP: &str = "\
A registry for tests of programs in any language.

Usage: registry-test serve [OPTIONS]

Prints one line of JSON on standard output when the registry listens: `url`, `host`, `control`, `ca`,
`client_certificate`, `client_key`, `docker_config_dir`, `env`. Ends when standard input closes or a signal comes, and removes its files.

Options:
  --basic USER:PASSWORD    Require a login with Basic
  --bearer USER:PASSWORD   Require a login with a token of the registry's own token endpoint
  --token-lifetime SECONDS Let tokens expire after this time [default: 60]
  --anonymous-pull         Allow pulls without a login
  --tls                    Serve HTTPS with a certificate of a throw-away authority
  --client-certificate     Require the certificate of a client that the throw-away authority has signed
  --read-only              Refuse pushes and deletions
  --quirk NAME             Behave like a registry that differs; repeatable: without-referrers, without-mount,
                           without-ranges, without-catalog, without-delete, unsorted-tags, page-size=N,
                           smallest-chunk=N
  --listen IP:PORT         Listen on this address [default: 127.0.0.1:0, a free port]
  --host NAME              Let clients use this name or IP address of the registry [default: that of --listen]
  --control IP:PORT        Listen on this address for the control API [default: 127.0.0.1:0]
  --detached               Run until SIGTERM or SIGINT, also if standard input is closed
  --help                   Print this text
  --version                Print the version

Exit codes: 0; 1 if a fault was never injected, or the registry cannot start; 2 for wrong usage.
";

/// A command of the program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Version,
    Serve(Box<Options>),
}

/// Options of `serve`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) login: Option<Login>,
    pub(crate) token_lifetime: Option<Duration>,
    pub(crate) anonymous_pull: bool,
    pub(crate) tls: bool,
    pub(crate) client_certificate: bool,
    pub(crate) read_only: bool,
    pub(crate) quirks: Vec<Quirk>,
    pub(crate) listen: SocketAddr,
    pub(crate) host: Option<String>,
    pub(crate) control: SocketAddr,
    pub(crate) detached: bool,
}

/// The login that the registry requires.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) scheme: Scheme,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Basic,
    Bearer,
}

/// A command line that the program does not accept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrongUsage(String);

impl Default for Options {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            login: None,
            token_lifetime: None,
            anonymous_pull: false,
            tls: false,
            client_certificate: false,
            read_only: false,
            quirks: Vec::new(),
            listen: any_port,
            host: None,
            control: any_port,
            detached: false,
        }
    }
}

impl Options {
    /// Refuses options that need another one.
    fn complete(&self) -> Result<(), WrongUsage> {
        let is_bearer = matches!(&self.login, Some(login) if login.scheme == Scheme::Bearer);
        for (given, has_other, problem) in [
            (
                self.anonymous_pull,
                self.login.is_some(),
                "--anonymous-pull needs --basic or --bearer",
            ),
            (
                self.token_lifetime.is_some(),
                is_bearer,
                "--token-lifetime needs --bearer",
            ),
            (
                self.client_certificate,
                self.tls,
                "--client-certificate needs --tls",
            ),
        ] {
            if given && !has_other {
                return Err(WrongUsage(problem.to_owned()));
            }
        }
        Ok(())
    }
}

impl Command {
    /// Parses the arguments after the name of the program.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, WrongUsage> {
        let mut arguments = arguments.into_iter().map(text);
        match arguments.next().transpose()?.as_deref() {
            None => Err(WrongUsage("no command".to_owned())),
            Some("-h" | "--help" | "help") => Ok(Self::Help),
            Some("-V" | "--version") => Ok(Self::Version),
            Some("serve") => serve(arguments),
            Some(other) => Err(WrongUsage(format!("unknown command {other:?}"))),
        }
    }
}

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; run `registry-test --help` for the usage", self.0)
    }
}

fn serve(mut arguments: impl Iterator<Item = Result<String, WrongUsage>>) -> Result<Command, WrongUsage> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next().transpose()? {
        // `--flag=value` is `--flag value`.
        let (flag, mut attached) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let mut value = || match attached.take() {
            Some(value) => Ok(value),
            None => (arguments.next()).unwrap_or_else(|| Err(WrongUsage(format!("{flag} needs a value")))),
        };
        match flag {
            "--basic" => set_login(&mut options, Scheme::Basic, &value()?)?,
            "--bearer" => set_login(&mut options, Scheme::Bearer, &value()?)?,
            "--token-lifetime" => options.token_lifetime = Some(seconds(flag, &value()?)?),
            "--quirk" => options.quirks.push(quirk(&value()?)?),
            "--listen" => options.listen = address(flag, &value()?)?,
            "--host" => options.host = Some(value()?),
            "--control" => options.control = address(flag, &value()?)?,
            "--anonymous-pull" => options.anonymous_pull = true,
            "--tls" => options.tls = true,
            "--client-certificate" => options.client_certificate = true,
            "--read-only" => options.read_only = true,
            "--detached" => options.detached = true,
            "-h" | "--help" => return Ok(Command::Help),
            "-V" | "--version" => return Ok(Command::Version),
            _ => return Err(WrongUsage(format!("unknown argument {argument:?}"))),
        }
        if attached.is_some() {
            return Err(WrongUsage(format!("{flag} takes no value")));
        }
    }
    options.complete()?;
    Ok(Command::Serve(Box::new(options)))
}

fn text(argument: OsString) -> Result<String, WrongUsage> {
    argument
        .into_string()
        .map_err(|argument| WrongUsage(format!("argument {argument:?} is not UTF-8")))
}

fn set_login(options: &mut Options, scheme: Scheme, value: &str) -> Result<(), WrongUsage> {
    if options.login.is_some() {
        return Err(WrongUsage(
            "there can be one login: --basic or --bearer, once".to_owned(),
        ));
    }
    let (user, password) = value
        .split_once(':')
        .filter(|(user, password)| !user.is_empty() && !password.is_empty())
        .ok_or_else(|| WrongUsage("a login is USER:PASSWORD, neither of them empty".to_owned()))?;
    options.login = Some(Login {
        scheme,
        user: user.to_owned(),
        password: password.to_owned(),
    });
    Ok(())
}

fn quirk(value: &str) -> Result<Quirk, WrongUsage> {
    value
        .parse()
        .map_err(|unknown: UnknownQuirk| WrongUsage(format!("--quirk: {unknown}")))
}

fn seconds(flag: &str, value: &str) -> Result<Duration, WrongUsage> {
    let seconds = value.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| WrongUsage(format!("{flag} is a number of seconds, and not {value:?}")))
}

fn address(flag: &str, value: &str) -> Result<SocketAddr, WrongUsage> {
    value.parse().map_err(|_malformed| {
        WrongUsage(format!(
            "{flag} is IP:PORT, such as 127.0.0.1:5000, and not {value:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::{Command, Login, Options, Scheme};
    use registry_test::Quirk;
    use std::time::Duration;

    fn parse(line: &str) -> Result<Command, String> {
        let arguments = line.split_whitespace().map(Into::into);
        Command::parse(arguments).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn flags_take_values_behind_an_equals_sign_or_a_space() {
        let expected = Options {
            login: Some(Login {
                scheme: Scheme::Bearer,
                user: "ann".to_owned(),
                password: "p:w".to_owned(),
            }),
            token_lifetime: Some(Duration::from_millis(2500)),
            anonymous_pull: true,
            quirks: vec![Quirk::WithoutMount, Quirk::PageSize(2)],
            listen: "0.0.0.0:5000".parse().unwrap(),
            host: Some("registry.test".to_owned()),
            ..Options::default()
        };
        let line = "serve --bearer ann:p:w --token-lifetime 2.5 --anonymous-pull --quirk without-mount --quirk=page-size=2 --listen=0.0.0.0:5000 --host registry.test";
        assert_eq!(parse(line), Ok(Command::Serve(Box::new(expected))));
    }

    #[test]
    fn wrong_usage_names_the_argument() {
        for (line, part) in [
            ("", "no command"),
            ("run", "unknown command \"run\""),
            ("serve --login a:b", "unknown argument \"--login\""),
            ("serve now", "unknown argument \"now\""),
            ("serve --basic", "--basic needs a value"),
            ("serve --quirk", "--quirk needs a value"),
            (
                "serve --quirk page-size=x",
                "--quirk: \"page-size=x\" is no quirk",
            ),
            ("serve --read-only=yes", "--read-only takes no value"),
            ("serve --basic ann", "USER:PASSWORD"),
            ("serve --basic :pw", "USER:PASSWORD"),
            ("serve --basic a:b --bearer a:b", "one login"),
            ("serve --anonymous-pull", "needs --basic or --bearer"),
            ("serve --basic a:b --token-lifetime 1", "needs --bearer"),
            ("serve --bearer a:b --token-lifetime -1", "number of seconds"),
            ("serve --bearer a:b --token-lifetime NaN", "number of seconds"),
            ("serve --client-certificate", "needs --tls"),
            ("serve --listen 5000", "--listen is IP:PORT"),
            ("serve --control localhost:1", "--control is IP:PORT"),
        ] {
            let wrong = parse(line).unwrap_err();
            assert!(wrong.contains(part), "{line}: {wrong}");
        }
    }

    #[test]
    fn help_and_version_are_answered_at_each_place() {
        assert_eq!(parse("--help"), Ok(Command::Help));
        assert_eq!(parse("serve --read-only --help"), Ok(Command::Help));
        assert_eq!(parse("--version"), Ok(Command::Version));
    }
}
