//! External programs, run in a home of their own so that the settings of the machine's owner have no effect.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Directory of one test, in which programs run.
pub(crate) struct Workbench {
    directory: TempDir,
}

impl Workbench {
    pub(crate) fn new() -> Self {
        Self {
            directory: TempDir::new().expect("the directory for temporary files is writable"),
        }
    }

    /// Returns a path in the test's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `skopeo` and returns what it prints.
    pub(crate) fn skopeo(&self, arguments: &[&str]) -> Printed {
        // Which signatures a machine demands is its owner's business, not the registry's.
        let mut command = self.command("skopeo");
        command.arg("--insecure-policy").args(arguments);
        run(command)
    }

    /// Runs `crane` and returns what it prints.
    pub(crate) fn crane(&self, arguments: &[&str]) -> Printed {
        self.run("crane", arguments)
    }

    /// Runs a program that needs only a home of its own, and returns its output.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Printed {
        let mut command = self.command(program);
        command.args(arguments);
        run(command)
    }

    /// Runs a program that may fail; the error is its output.
    pub(crate) fn attempt(&self, program: &str, arguments: &[&str]) -> Result<Printed, String> {
        let mut command = self.command(program);
        command.args(arguments);
        output_of(command)
    }

    /// Runs a program that must fail, and returns its output.
    pub(crate) fn refused(&self, program: &str, arguments: &[&str]) -> String {
        match self.attempt(program, arguments) {
            Err(message) => message,
            Ok(printed) => panic!("{program} {} succeeds: {}", arguments.join(" "), printed.text()),
        }
    }

    /// Runs `podman` with a separate storage of this name, and returns what it prints.
    pub(crate) fn podman(&self, storage: &str, arguments: &[&str]) -> Printed {
        run(self.podman_command(storage, arguments))
    }

    /// Returns the command that [`Self::podman`] runs.
    pub(crate) fn podman_command(&self, storage: &str, arguments: &[&str]) -> Command {
        let at = |part: &str| self.path(storage).join(part);
        let mut command = self.command("podman");
        command.args([
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "none",
        ]);
        command
            .arg("--root")
            .arg(at("root"))
            .arg("--runroot")
            .arg(at("run"))
            .arg("--tmpdir")
            .arg(at("tmp"));
        command.args(arguments);
        command
    }

    /// Returns a command that runs in the test's directory and knows no other.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path());
        for (variable, directory) in [
            ("HOME", "home"),
            ("TMPDIR", "tmp"),
            ("XDG_RUNTIME_DIR", "runtime"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_CONFIG_HOME", "config"),
        ] {
            let path = self.path(directory);
            std::fs::create_dir_all(&path).expect("the test's directory is writable");
            command.env(variable, path);
        }
        for variable in [
            "DOCKER_CONFIG",
            "DOCKER_CONTEXT",
            "DOCKER_HOST",
            "REGISTRY_AUTH_FILE",
        ] {
            command.env_remove(variable);
        }
        command
    }
}

/// Output of a program.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) out: Vec<u8>,
    pub(crate) log: String,
}

impl Printed {
    /// Returns its standard output without the white space at the end.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.out)
            .expect("the program prints UTF-8")
            .trim_end()
    }

    /// Returns the lines of its standard output, sorted.
    pub(crate) fn lines(&self) -> Vec<&str> {
        let mut lines: Vec<_> = self.text().lines().collect();
        lines.sort_unstable();
        lines
    }
}

/// Runs a command that must succeed.
fn run(command: Command) -> Printed {
    let line = format!("{command:?}");
    output_of(command).unwrap_or_else(|failed| panic!("{line}: {failed}"))
}

/// Runs a command; the error has its exit status and its output.
pub(crate) fn output_of(mut command: Command) -> Result<Printed, String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let log = String::from_utf8_lossy(&stderr).into_owned();
    if status.success() {
        Ok(Printed { out: stdout, log })
    } else {
        Err(format!("{status}\n{log}{}", String::from_utf8_lossy(&stdout)))
    }
}

/// Returns a path as a command line argument.
pub(crate) fn argument(path: &Path) -> &str {
    path.to_str()
        .expect("the directory for temporary files has a name in UTF-8")
}
