//! What `docs/features.md` says of the standard definitions is so.

use nautilus_engine_features::{Family, Registry, Template};

const DOCUMENT: &str = include_str!("../../../../docs/features.md");

fn family(name: &str) -> Option<Family> {
    Family::ALL.into_iter().find(|family| serde_json::to_value(family).is_ok_and(|value| value == name))
}

#[test]
fn families_have_as_many_definitions_as_the_table_says_and_the_examples_exist() {
    let registry = Registry::new(&[]).unwrap();
    let mut told = 0;
    for row in DOCUMENT.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (Some(family), [_, count, examples]) = (family(cells[0]), &cells[..]) else { continue };
        let found = registry.definitions().iter().filter(|definition| definition.family == family).count();
        assert_eq!(count.parse(), Ok(found), "{row}");
        for id in examples.split('`').skip(1).step_by(2) {
            assert!(registry.find(id).is_some(), "{id} is not defined");
        }
        told += found;
    }
    assert_eq!(told, registry.definitions().len(), "a family is missing in the table");
    let words = |count: usize| format!("{},{:03}", count / 1_000, count % 1_000);
    assert!(DOCUMENT.contains(&format!("the 561 are {} nodes", words(registry.nodes()))));
    assert!(DOCUMENT.contains(&format!("they would be {}", words(registry.nodes_unshared()))));
}

#[test]
fn formulas_of_the_text_are_formulas() {
    let block = DOCUMENT.split("## Formulas").nth(1).unwrap();
    let formulas = block.lines().filter_map(|line| line.strip_prefix("    "));
    let template = |(index, formula): (usize, &str)| -> Template {
        toml::from_str(&format!("id = 'example_{index}'\nformula = '{formula}'")).unwrap()
    };
    let mut templates: Vec<Template> = formulas.enumerate().map(template).collect();
    assert_eq!(templates.len(), 4);
    #[derive(serde::Deserialize)]
    struct Section {
        engines: std::collections::BTreeMap<String, std::collections::BTreeMap<String, Vec<Template>>>,
    }
    let example = block.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let section: Section = toml::from_str(example).unwrap();
    templates.extend(section.engines["features"]["definitions"].iter().cloned());
    Registry::new(&templates).unwrap_or_else(|error| panic!("{error}"));
}
