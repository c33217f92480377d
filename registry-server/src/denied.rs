//! Hints about files that this process may not read: their owner, and the command that grants access.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// Returns a hint if permission to read a file is denied, or else an empty text.
pub(crate) fn hint(path: &Path) -> String {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            told(path, rustix::process::geteuid().as_raw())
        }
        _ => String::new(),
    }
}

/// Describes the file, or the directory above it that denies access.
fn told(path: &Path, user: u32) -> String {
    let seen = path.ancestors().find_map(|at| Some((at, fs::metadata(at).ok()?)));
    let Some((at, metadata)) = seen else {
        return format!(" (the server runs as uid {user})");
    };
    let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    let of_whom =
        format!("uid {owner} and gid {group}, with mode {mode:04o}, and the server runs as uid {user}");
    let shown = at.display();
    if at == path {
        format!(" (it belongs to {of_whom}; run `chown {user} {shown}` as root)")
    } else {
        format!(" (the directory {shown} belongs to {of_whom}; run `chmod a+x {shown}`)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_read_is_told_with_whose_it_is_and_what_helps() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yml");
        fs::write(&path, "").unwrap();
        let shown = path.display();
        let said = told(&path, 65532);
        assert!(said.starts_with(" (it belongs to uid "), "{said}");
        let end = format!("the server runs as uid 65532; run `chown 65532 {shown}` as root)");
        assert!(said.ends_with(&end), "{said}");

        let said = told(&directory.path().join("secret/config.yml"), 65532);
        assert!(said.starts_with(&format!(
            " (the directory {} belongs to uid ",
            directory.path().display()
        )));
        assert_eq!(hint(&path), "");
        assert_eq!(hint(&directory.path().join("none.yml")), "");
    }
}
