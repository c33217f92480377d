//! Output of `config check`, and the table of the documentation.

use super::{LEAST, load};
use crate::config::{
    Settings,
    keys::{Role, keys},
    reader::Reader,
    value::Origin,
    yaml,
};
use std::{fs, path::PathBuf};

#[test]
fn what_check_prints_is_a_configuration_that_means_the_same() {
    let text = format!(
        "{LEAST}log:\n  level: warn\n  fields: {{service: 'a b', n: 1}}\nhttp:\n  addr: '[::1]:5000'\n  prefix: /r/\n  headers:\n    X-A: [a, 'b # c', '']\n    X-B: [1728000]\n"
    );
    let config = load(&text, &[("REGISTRY_STORAGE_DELETE_ENABLED", "yes")]).unwrap();
    let printed = config.effective();
    let again = load(&printed, &[]).unwrap();
    assert_eq!(again.settings, config.settings, "{printed}");
    assert!(again.notices.is_empty());
}

#[test]
fn what_check_prints_asks_no_client_for_a_certificate_that_nothing_verifies() {
    let printed = |tls: &str| {
        let text = format!("{LEAST}http: {{tls: {{certificate: /c, key: /k{tls}}}}}\n");
        load(&text, &[]).unwrap().effective()
    };
    assert!(!printed("").contains("clientauth"));
    assert!(printed(", clientcas: [/ca]").contains("clientauth: require-and-verify-client-cert"));
    assert!(
        printed(", clientcas: [/ca], clientauth: verify-client-cert-if-given").contains("clientauth: verify")
    );
}

#[test]
fn what_check_prints_says_where_each_value_comes_from() {
    let text = format!("{LEAST}http:\n  addr: :5000\n  headers:\n    X-A: [a]\n");
    let config = load(&text, &[("REGISTRY_LOG_LEVEL", "debug")]).unwrap();
    let place = config.file.as_ref().unwrap().display().to_string();
    let printed = config.effective().replace(&place, "config.yml");
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/check.golden.yml");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(golden, &printed).unwrap();
    }
    assert_eq!(
        printed,
        fs::read_to_string(golden).unwrap(),
        "UPDATE_DOCS=1 writes it anew"
    );
}

#[test]
fn the_table_lists_what_is_read_and_nothing_else() {
    let root = yaml::parse_variable("{storage: inmemory}", &"".into()).unwrap();
    let reader = Reader::new(&root);
    Settings::from_reader(&reader, &mut Vec::new());
    let mut read = reader.keys_read();
    read.sort_unstable();
    read.dedup();
    let mut honoured: Vec<&str> = keys()
        .filter(|key| key.role == Role::Honoured)
        .map(|key| key.path)
        .collect();
    honoured.sort_unstable();
    assert_eq!(read, honoured);
}

#[test]
fn origins_are_shown_as_people_name_them() {
    let file = Origin::File {
        path: PathBuf::from("a/config.yml").into(),
        line: 7,
    };
    let origins = [
        file,
        Origin::Variable("REGISTRY_X".into()),
        Origin::Flag("--addr"),
        Origin::Default,
    ];
    assert_eq!(
        origins.map(|origin| origin.to_string()),
        ["a/config.yml:7", "REGISTRY_X", "--addr", "default"]
    );
}
