//! Recipes of `docs/access.md`: each is loaded, and each row of its table is checked.

#![cfg(feature = "yaml")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use registry_auth_rules::{Rule, Rules};
use registry_core::RepositoryName;

const PAGE: &str = include_str!("../../docs/access.md");

/// Returns the text between the fences of the first code block in `language`, and the text after it.
fn block<'a>(text: &'a str, language: &str) -> Option<(&'a str, &'a str)> {
    let (_, behind) = text.split_once(&format!("```{language}\n"))?;
    behind.split_once("```")
}

fn explained(rules: &Rules, user: &str, action: &str, repository: &str) -> String {
    let user = Some(user).filter(|user| *user != "-");
    let action = Rule::ALL
        .into_iter()
        .find(|known| known.as_str() == action)
        .unwrap();
    let repository = RepositoryName::parse(repository).unwrap();
    rules.explain(user, &[], action, &repository).to_string()
}

#[test]
fn each_recipe_comes_to_what_its_table_says() {
    let (_, recipes) = PAGE.split_once("\n## Recipes\n").unwrap();
    let (recipes, _) = recipes.split_once("\n## ").unwrap();
    let recipes: Vec<&str> = recipes.split("\n### ").skip(1).collect();
    assert_eq!(recipes.len(), 5);
    for recipe in recipes {
        let title = recipe.lines().next().unwrap();
        let (yaml, behind) = block(recipe, "yaml").unwrap();
        assert!(
            block(behind, "yaml").is_none(),
            "{title}: a recipe is one whole file"
        );
        let rules = Rules::parse(yaml, title).unwrap();
        assert_eq!(rules.warnings(), [], "{title}");

        let rows = behind
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| who "));
        let mut decided = vec![false; rules.rules().len()];
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [user, action, repository, decision] = cells[..] else {
                panic!("{title}: {row}")
            };
            let said = explained(&rules, user, action, repository);
            assert!(
                said.starts_with(&format!("{decision}: ")),
                "{title}: {row}: {said}"
            );
            let number = said
                .split("rule ")
                .nth(1)
                .and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
            if let Some(number) = number {
                decided[number - 1] = true;
            }
        }
        assert!(
            decided.iter().all(|decided| *decided),
            "{title}: no row shows what every rule is for: {decided:?}"
        );
    }
}

#[test]
fn the_first_example_is_explained_as_the_page_shows() {
    let (yaml, _) = block(PAGE, "yaml").unwrap();
    let (_, section) = PAGE.split_once("\n## Finding the rule that decides\n").unwrap();
    let (session, _) = block(section, "console").unwrap();
    let rules = Rules::parse(yaml, "rules.yml").unwrap();
    let lines: Vec<&str> = session.lines().collect();
    let shown = lines
        .chunks(2)
        .map(|exchange| (exchange[0].split(' ').collect::<Vec<_>>(), exchange[1]));
    let mut count = 0;
    for (command, said) in shown {
        let [
            "$",
            "registry",
            "access",
            "explain",
            "rules.yml",
            user,
            action,
            repository,
        ] = command[..]
        else {
            panic!("{command:?}")
        };
        assert_eq!(explained(&rules, user, action, repository), said);
        count += 1;
    }
    assert_eq!(count, 2);
}
