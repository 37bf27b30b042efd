//! Definitions: what each feature is, as data, with templates for families of parameters.
//!
//! The standard definitions stand in `registry/*.toml`; users add theirs in the configuration, in the same shape. A
//! registry is made once and never changed. What a formula means is the graph's business.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::expression::{Expression, FormulaError};
use crate::graph::{Function, Graph, Names};
use crate::inputs::{Clock, Source};
use crate::operations;

/// The standard definitions.
const STANDARD: &[&str] = &[
    include_str!("../registry/functions.toml"),
    include_str!("../registry/technical.toml"),
    include_str!("../registry/candlestick.toml"),
    include_str!("../registry/momentum.toml"),
    include_str!("../registry/volatility.toml"),
    include_str!("../registry/statistical.toml"),
    include_str!("../registry/cross_sectional.toml"),
    include_str!("../registry/microstructure.toml"),
    include_str!("../registry/fundamental.toml"),
];

/// Definitions of a registry, at most.
pub(crate) const DEFINITIONS_MAX: usize = 16_384;
const ID_LENGTH_MAX: usize = 64;

/// What kind of feature a definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Family {
    Technical,
    Candlestick,
    Momentum,
    MeanReversion,
    Volatility,
    Volume,
    Statistical,
    Decomposition,
    CrossSectional,
    PrincipalComponents,
    Microstructure,
    Fundamental,
    User,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 13] = [
        Self::Technical,
        Self::Candlestick,
        Self::Momentum,
        Self::MeanReversion,
        Self::Volatility,
        Self::Volume,
        Self::Statistical,
        Self::Decomposition,
        Self::CrossSectional,
        Self::PrincipalComponents,
        Self::Microstructure,
        Self::Fundamental,
        Self::User,
    ];
}

/// A value of a template's parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parameter {
    /// A number: `{n}` becomes `20`.
    Number(f64),
    /// A name: `{x}` becomes `close`.
    Name(String),
}

impl std::fmt::Display for Parameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The values that a template's parameters take: lists whose combinations are meant, or the combinations themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Choices {
    Product(BTreeMap<String, Vec<Parameter>>),
    Listed(Vec<BTreeMap<String, Parameter>>),
}

impl Default for Choices {
    fn default() -> Self {
        Self::Product(BTreeMap::new())
    }
}

const fn first_version() -> u32 {
    1
}

const fn user() -> Family {
    Family::User
}

/// One or more definitions as they are written. `{name}` in `id`, `words` and `formula` stands for a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Small letters, digits and `_`, a letter first.
    id: String,
    /// Raised whenever the formula changes.
    #[serde(default = "first_version")]
    version: u32,
    /// What kind of feature it is.
    #[serde(default = "user")]
    family: Family,
    /// The formula in words.
    #[serde(default)]
    words: String,
    /// The formula.
    formula: String,
    /// Its unit.
    #[serde(default)]
    unit: String,
    /// When it is undefined, beside the warm-up.
    #[serde(default)]
    undefined: String,
    /// The values of its parameters.
    #[serde(default)]
    parameters: Choices,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    function: Vec<FunctionText>,
    #[serde(default)]
    feature: Vec<Template>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionText {
    name: String,
    #[serde(default)]
    arguments: Vec<String>,
    formula: String,
    words: String,
}

/// A feature, defined.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Definition {
    /// What it is called.
    pub id: String,
    /// Raised whenever the formula changes.
    pub version: u32,
    /// What kind of feature it is.
    pub family: Family,
    /// The formula in words.
    pub words: String,
    /// The formula.
    pub formula: String,
    /// The parameters of its template.
    pub parameters: BTreeMap<String, Parameter>,
    /// What it starts from, by way of other definitions too.
    pub inputs: Vec<&'static str>,
    /// Its unit.
    pub unit: String,
    /// Ticks of its clock that pass before it can be defined.
    pub warm_up: usize,
    /// The clock that it ticks by.
    pub clock: Clock,
    /// When it is undefined, beside the warm-up.
    pub undefined: String,
}

/// Why definitions are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("definition '{id}': {message}")]
pub struct DefinitionError {
    /// Which one.
    pub id: String,
    /// Its place among the user's templates, where it is one of theirs.
    pub template: Option<usize>,
    /// One sentence.
    pub message: String,
}

/// A function that formulas can call, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionView {
    /// How it is written.
    pub signature: String,
    /// What it is.
    pub words: String,
    /// Its own formula, where it is written as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
}

/// Every definition, compiled.
#[derive(Debug)]
pub struct Registry {
    definitions: Vec<Definition>,
    by_id: BTreeMap<String, u32>,
    vocabulary: Arc<Vocabulary>,
    digest: u64,
    pub(crate) graph: Graph,
}

/// What names in formulas mean.
#[derive(Debug, Default)]
struct Vocabulary {
    formulas: BTreeMap<String, Expression>,
    functions: BTreeMap<String, (FunctionText, Function)>,
}

/// What is being put together.
#[derive(Default)]
struct Draft {
    definitions: Vec<Definition>,
    /// By definition, its place among the user's templates.
    templates: Vec<Option<usize>>,
    vocabulary: Vocabulary,
}

impl Names for Vocabulary {
    fn definition(&self, id: &str) -> Option<&Expression> {
        self.formulas.get(id)
    }

    fn function(&self, name: &str) -> Option<&Function> {
        self.functions.get(name).map(|(_, function)| function)
    }
}

impl Registry {
    /// The standard definitions and the user's.
    ///
    /// # Errors
    /// The first definition that is wrong, and why.
    pub fn new(user: &[Template]) -> Result<Self, DefinitionError> {
        let mut draft = Draft::standard();
        for (index, template) in user.iter().enumerate() {
            draft.expand(template, Some(index))?;
        }
        draft.compile()
    }

    /// The same definitions, of which only those named, and what they need, are computed.
    ///
    /// # Errors
    /// When one is not defined.
    pub fn only(&self, ids: &[&str]) -> Result<Self, DefinitionError> {
        let wrong = |id: &str, message: &str| error(id, None, message.to_owned());
        let chosen = |id: &&str| {
            let missing = || wrong(id, "it is not defined; GET /v1/features lists all");
            self.find(id).map(|place| self.definitions[place].clone()).ok_or_else(missing)
        };
        let definitions: Vec<Definition> = ids.iter().map(chosen).collect::<Result<_, _>>()?;
        let by_id = places(&definitions);
        if by_id.len() < definitions.len() {
            let twice = ids.iter().enumerate().find(|(place, id)| ids[..*place].contains(id));
            return Err(wrong(twice.map_or("", |(_, id)| id), "it is asked for twice; name it once"));
        }
        let vocabulary = Arc::clone(&self.vocabulary);
        let graph =
            Graph::compile(&*vocabulary, ids).map_err(|(id, message)| wrong(&id, &message.to_string()))?;
        Ok(Self { digest: digest(&definitions, &vocabulary), definitions, by_id, vocabulary, graph })
    }

    /// Every definition, in the order of values.
    #[must_use]
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// The place of a definition.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).map(|index| *index as usize)
    }

    /// Equal where ids, versions and formulas are, in their order.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Nodes that are evaluated.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.graph.nodes()
    }

    /// Nodes that would be if equal sub-expressions were not one.
    #[must_use]
    pub fn nodes_unshared(&self) -> usize {
        self.graph.unshared
    }

    /// Every function that formulas can call.
    #[must_use]
    pub fn functions(&self) -> Vec<FunctionView> {
        let built_in = operations::all().map(|operation| FunctionView {
            signature: operation.signature(),
            words: operation.words.to_owned(),
            formula: None,
        });
        let written = self.vocabulary.functions.values().map(|(text, _)| FunctionView {
            signature: match text.arguments.as_slice() {
                [] => text.name.clone(),
                arguments => format!("{}({})", text.name, arguments.join(", ")),
            },
            words: text.words.clone(),
            formula: Some(text.formula.clone()),
        });
        built_in.chain(written).collect()
    }
}

impl Draft {
    /// # Panics
    /// When the standard definitions are wrong: a test compiles them.
    fn standard() -> Self {
        let mut draft = Self::default();
        for text in STANDARD {
            let file: File = toml::from_str(text).expect("the standard definitions are TOML of this shape");
            for function in file.function {
                draft.add_function(function);
            }
            for template in &file.feature {
                draft.expand(template, None).expect("the standard definitions are right");
            }
        }
        draft
    }

    fn add_function(&mut self, text: FunctionText) {
        let body = Expression::parse(&text.formula)
            .unwrap_or_else(|error| panic!("the standard function '{}': {error}", text.name));
        let function = Function { arguments: text.arguments.clone(), body };
        let known = self.vocabulary.functions.insert(text.name.clone(), (text, function));
        assert!(known.is_none(), "a standard function is defined twice");
    }

    /// Appends what a template stands for.
    fn expand(&mut self, template: &Template, index: Option<usize>) -> Result<(), DefinitionError> {
        for parameters in combinations(&template.parameters) {
            let fill = |text: &str| fill(text, &parameters);
            let (id, formula) = (fill(&template.id), fill(&template.formula));
            let refuse = |message: String| DefinitionError { id: id.clone(), template: index, message };
            check_id(&id).map_err(refuse)?;
            if self.vocabulary.formulas.contains_key(&id) {
                return Err(refuse("it is defined already; choose another id".to_owned()));
            }
            if Source::named(&id).is_some()
                || self.vocabulary.functions.contains_key(&id)
                || operations::named(&id).is_some()
            {
                return Err(refuse("an input or a function has that name; choose another id".to_owned()));
            }
            if self.definitions.len() >= DEFINITIONS_MAX {
                return Err(refuse(format!(
                    "there are more than {DEFINITIONS_MAX} definitions; leave some out"
                )));
            }
            let expression =
                Expression::parse(&formula).map_err(|error| refuse(format!("{error}: {formula}")))?;
            self.vocabulary.formulas.insert(id.clone(), expression);
            self.templates.push(index);
            self.definitions.push(Definition {
                id,
                version: template.version,
                family: template.family,
                words: fill(&template.words),
                formula,
                parameters: parameters.clone(),
                inputs: Vec::new(),
                unit: fill(&template.unit),
                warm_up: 0,
                clock: Clock::NONE,
                undefined: fill(&template.undefined),
            });
        }
        Ok(())
    }

    fn compile(mut self) -> Result<Registry, DefinitionError> {
        let ids: Vec<&str> = self.definitions.iter().map(|definition| definition.id.as_str()).collect();
        let graph =
            Graph::compile(&self.vocabulary, &ids).map_err(|(id, wrong)| self.explain(&id, &wrong))?;
        let mut used = Used::default();
        for (definition, output) in self.definitions.iter_mut().zip(&graph.features) {
            (definition.warm_up, definition.clock) = (output.warm, output.clock);
            let inputs = used.by(&self.vocabulary, &definition.id);
            definition.inputs = inputs.into_iter().map(Source::name).collect();
        }
        Ok(Registry {
            by_id: places(&self.definitions),
            digest: digest(&self.definitions, &self.vocabulary),
            definitions: self.definitions,
            vocabulary: Arc::new(self.vocabulary),
            graph,
        })
    }

    fn explain(&self, id: &str, wrong: &FormulaError) -> DefinitionError {
        let place = self.definitions.iter().position(|definition| definition.id == id);
        let template = place.and_then(|place| self.templates.get(place).copied().flatten());
        let formula = place.map_or("", |place| self.definitions[place].formula.as_str());
        error(id, template, format!("{wrong}: {formula}"))
    }
}

fn places(definitions: &[Definition]) -> BTreeMap<String, u32> {
    (0..).zip(definitions).map(|(place, definition)| (definition.id.clone(), place)).collect()
}

fn error(id: &str, template: Option<usize>, message: String) -> DefinitionError {
    DefinitionError { id: id.to_owned(), template, message }
}

/// What definitions start from, found once for each.
#[derive(Default)]
struct Used(BTreeMap<String, Vec<Source>>);

impl Used {
    /// The graph was compiled, so no definition refers to itself.
    fn by(&mut self, names: &dyn Names, id: &str) -> Vec<Source> {
        if let Some(known) = self.0.get(id) {
            return known.clone();
        }
        let mut found = Vec::new();
        if let Some(formula) = names.definition(id) {
            self.within(names, formula, &[], &mut found);
        }
        found.sort_unstable();
        found.dedup();
        self.0.insert(id.to_owned(), found.clone());
        found
    }

    fn within(
        &mut self,
        names: &dyn Names,
        expression: &Expression,
        hidden: &[String],
        found: &mut Vec<Source>,
    ) {
        use crate::expression::Kind;
        match &expression.kind {
            Kind::Number(_) => {}
            Kind::Name(name) if hidden.contains(name) => {}
            Kind::Name(name) => match (Source::named(name), names.function(name)) {
                (Some(source), _) => found.push(source),
                (None, Some(function)) => self.within(names, &function.body, &[], found),
                (None, None) => found.extend(self.by(names, name)),
            },
            Kind::Call(name, arguments) => {
                if let Some(function) = names.function(name) {
                    self.within(names, &function.body, &function.arguments, found);
                }
                arguments.iter().for_each(|argument| self.within(names, argument, hidden, found));
            }
        }
    }
}

/// Of ids, versions and formulas, those of functions included.
fn digest(definitions: &[Definition], vocabulary: &Vocabulary) -> u64 {
    let mut hash = Xxh3::new();
    for (text, _) in vocabulary.functions.values() {
        hash.update(text.name.as_bytes());
        hash.update(text.formula.as_bytes());
        hash.update(&[0]);
    }
    for definition in definitions {
        hash.update(definition.id.as_bytes());
        hash.update(&definition.version.to_le_bytes());
        hash.update(definition.formula.as_bytes());
        hash.update(&[0]);
    }
    hash.digest()
}

fn check_id(id: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if id.len() > ID_LENGTH_MAX || !id.starts_with(|c: char| c.is_ascii_lowercase()) || !id.chars().all(legal)
    {
        return Err(format!(
            "an id is made of small letters, digits and '_', a letter first, at most {ID_LENGTH_MAX} characters"
        ));
    }
    Ok(())
}

fn combinations(choices: &Choices) -> Vec<BTreeMap<String, Parameter>> {
    match choices {
        Choices::Listed(listed) => listed.clone(),
        Choices::Product(lists) => {
            let mut all = vec![BTreeMap::new()];
            for (name, values) in lists {
                all = all
                    .iter()
                    .flat_map(|one| {
                        values.iter().map(move |value| {
                            let mut more: BTreeMap<String, Parameter> = one.clone();
                            more.insert(name.clone(), value.clone());
                            more
                        })
                    })
                    .take(DEFINITIONS_MAX + 1)
                    .collect();
            }
            all
        }
    }
}

fn fill(text: &str, parameters: &BTreeMap<String, Parameter>) -> String {
    let mut filled = text.to_owned();
    for (name, value) in parameters {
        filled = filled.replace(&format!("{{{name}}}"), &value.to_string());
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(id: &str, formula: &str) -> Template {
        toml::from_str(&format!("id = '{id}'\nformula = '{formula}'")).unwrap()
    }

    #[test]
    fn the_standard_definitions_compile_and_say_what_they_are() {
        let registry = Registry::new(&[]).unwrap_or_else(|error| panic!("{error}"));
        let mut words = std::collections::BTreeSet::new();
        for definition in registry.definitions() {
            let Definition { id, words: text, unit, inputs, clock, .. } = definition;
            assert!(!text.is_empty() && !unit.is_empty(), "{id} says neither what it is nor its unit");
            assert!(!inputs.is_empty() && *clock != Clock::NONE, "{id} starts from nothing");
            assert!(!text.contains('{') && words.insert(text.clone()), "{id}: '{text}' stands there twice");
            let is_bar = *clock == Clock::BAR;
            assert!(
                is_bar || definition.family == Family::Microstructure,
                "{id} ticks by {}",
                clock.as_str()
            );
        }
        for family in Family::ALL.into_iter().filter(|family| *family != Family::User) {
            assert!(registry.definitions().iter().any(|d| d.family == family), "{family:?} is empty");
        }
        assert!(registry.nodes() < registry.nodes_unshared());
        // With 680 instruments these are 381,480 live values.
        assert_eq!(registry.definitions().len(), 561);
    }

    #[test]
    fn equal_sub_expressions_are_one_node() {
        let plain = Registry::new(&[]).unwrap();
        let again = Registry::new(&[
            template("again", "rank(close, 20) * 2 - rank(close, 20)"),
            template("swapped", "2 * rank(close, 20) - rank(close, 20)"),
            template("by_name", "price_rank_20 * 2 - price_rank_20"),
        ])
        .unwrap();
        assert_eq!(again.nodes(), plain.nodes() + 2, "one product and one difference");
        let features = &again.graph.features;
        assert_eq!(features[features.len() - 1], features[features.len() - 3]);
    }

    #[test]
    fn templates_stand_for_all_their_parameters() {
        let text = "id = 'gap_{x}_{n}'\nformula = '{x} / mean({x}, {n})'\nparameters = { x = ['close', 'volume'], n = [3, 4] }";
        let registry = Registry::new(&[toml::from_str(text).unwrap()]).unwrap();
        let definition = &registry.definitions()[registry.find("gap_volume_4").unwrap()];
        assert_eq!((definition.formula.as_str(), definition.warm_up), ("volume / mean(volume, 4)", 3));
        assert_eq!(definition.inputs, ["volume"]);
        assert!(registry.find("gap_close_3").is_some() && registry.find("gap_{x}_{n}").is_none());
    }

    #[test]
    fn bad_definitions_are_refused_with_what_is_wrong() {
        for (id, formula, message) in [
            ("a", "a + 1", "the definition refers to itself: a → a (at character 1): a + 1"),
            (
                "a",
                "rank(closed, 20)",
                "'closed' is neither an input nor a definition; GET /v1/features lists both (at character 6)",
            ),
            ("a", "smooth(close, 3)", "there is no function 'smooth'"),
            ("a", "rank(close)", "rank(x, n) is missing or has too many arguments: 1 are given"),
            ("a", "rank(close, volume)", "in rank(x, n), n has to be a number, not a value that changes"),
            ("a", "rank(close, 2.5)", "rank(x, n): n is 2.5; it must be a whole number from 2 to 1024"),
            ("a", "rank(3, 20)", "rank looks at the past, and a number has none"),
            ("a", "1 + 2", "the formula is the number 3 and nothing of the market"),
            ("a", "close +", "the formula ends where a value is expected (at character 8): close +"),
            ("a", "close * bid", "* mixes values per bar with values per trade or quote"),
            ("a", "universe_rank(bid)", "universe_rank compares instruments when a bar closes"),
            ("a", "correlation(bid, trade_price, 20)", "correlation needs values that tick together"),
            ("a", "zscore(close)", "zscore takes 2 arguments, 1 are given"),
            ("A", "close", "an id is made of small letters"),
            ("close", "open", "an input or a function has that name"),
            ("return_1", "close", "it is defined already"),
        ] {
            let error = Registry::new(&[template(id, formula)]).expect_err(formula);
            assert_eq!((error.id.as_str(), error.template), (id, Some(0)), "{error}");
            assert!(error.message.contains(message), "{formula}: {error}");
        }
        let circle = [template("a", "b + 1"), template("b", "c * 2"), template("c", "-a")];
        let error = Registry::new(&circle).unwrap_err();
        assert_eq!((error.id.as_str(), error.template), ("c", Some(2)));
        assert!(error.message.contains("refers to itself: a → b → c → a"), "{error}");
        let deep: Vec<Template> =
            (0..100).map(|n| template(&format!("d{n}"), &format!("d{} + 1", n + 1))).collect();
        assert!(Registry::new(&deep).unwrap_err().message.contains("deep"));
    }

    #[test]
    fn a_part_of_the_definitions_computes_what_it_needs_only() {
        let all = Registry::new(&[]).unwrap();
        let few = all.only(&["return_1", "zscore_20"]).unwrap();
        assert_eq!(few.definitions().len(), 2);
        assert!(few.nodes() < 12, "{}", few.nodes());
        assert!(all.only(&["return_1", "return_1"]).unwrap_err().message.contains("twice"));
        assert!(all.only(&["nonsense"]).unwrap_err().message.contains("not defined"));
    }
}
