//! Check for private keys that every user of the machine can read.

use std::path::Path;

/// Returns a warning if every user can read the file and enter each directory on its path.
#[cfg(unix)]
pub(crate) fn warning(key: &Path) -> Option<String> {
    const READ: u32 = 0o004;
    const ENTER: u32 = 0o001;
    use std::{fs, os::unix::fs::MetadataExt as _};
    let lets = |path: &Path, bit| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & bit != 0);
    // The permissions at the target of the links count.
    let path = fs::canonicalize(key).ok()?;
    let exposed = lets(&path, READ) && path.ancestors().skip(1).all(|directory| lets(directory, ENTER));
    exposed.then(|| {
        let shown = key.display();
        format!("{shown}: every user of this machine can read this private key; run `chmod o-r {shown}`")
    })
}

#[cfg(not(unix))]
pub(crate) fn warning(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    };

    #[test]
    fn a_key_is_exposed_if_nothing_on_the_way_keeps_others_out() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let key = directory.path().join("tls.key");
        fs::write(&key, "").unwrap();
        mode(&key, 0o644);
        mode(directory.path(), 0o755);
        let above = fs::canonicalize(std::env::temp_dir()).unwrap();
        let is_open = |directory: &Path| fs::metadata(directory).unwrap().mode() & 0o001 != 0;
        assert_eq!(warning(&key).is_some(), above.ancestors().all(is_open));

        mode(directory.path(), 0o700);
        assert_eq!(warning(&key), None);

        mode(directory.path(), 0o755);
        mode(&key, 0o640);
        assert_eq!(warning(&key), None);
    }

    #[test]
    fn a_link_does_not_hide_a_key_and_a_closed_directory_behind_one_does() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let closed = directory.path().join("archive");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        fs::write(closed.join("tls.key"), "").unwrap();
        fs::set_permissions(closed.join("tls.key"), Permissions::from_mode(0o644)).unwrap();
        let link = directory.path().join("tls.key");
        symlink("archive/tls.key", &link).unwrap();

        assert_eq!(warning(&link), None);
    }

    #[test]
    fn a_closed_directory_further_up_keeps_others_out_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let above = directory.path().join("live");
        let nearest = above.join("example");
        fs::create_dir_all(&nearest).unwrap();
        let key = nearest.join("tls.key");
        fs::write(&key, "").unwrap();
        let open = 0o755;
        for (path, mode) in [
            (&*key, 0o644),
            (&nearest, open),
            (&above, 0o700),
            (directory.path(), open),
        ] {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }

        assert_eq!(warning(&key), None);
    }
}
