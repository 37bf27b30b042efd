//! Compiles definitions to one graph in which equal sub-expressions are one node, and steps it.
//!
//! Nodes are numbered in an order in which everything comes after what it follows from. Two calls are the same node when
//! their kernel, parameters and inputs are. State is not held here: [`Columns`] are.

use std::collections::BTreeMap;

use crate::columns::{Columns, Layout, Port};
use crate::expression::{Expression, FormulaError, Kind};
use crate::inputs::{Clock, Source};
use crate::kernel::{Kernel, Task, Universe};
use crate::operations::{self, Operation, Ticks};

/// Nodes, at most.
const NODES_MAX: usize = 65_536;
/// Definitions and functions that call each other, at most.
const DEPTH_MAX: usize = 64;

/// A function that is written as a formula.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) arguments: Vec<String>,
    pub(crate) body: Expression,
}

/// What names and calls mean beside inputs and operations.
pub(crate) trait Names {
    /// The formula of a definition.
    fn definition(&self, id: &str) -> Option<&Expression>;
    /// A function that is written as a formula; one without arguments is called by its name alone.
    fn function(&self, name: &str) -> Option<&Function>;
}

#[derive(Debug)]
struct Node {
    kernel: Box<dyn Kernel>,
    inputs: Vec<Port>,
    first: Port,
    outputs: usize,
    /// Outputs whose past is needed.
    remembered: Vec<Port>,
    clock: Clock,
}

/// A port and what is known of it before anything has stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) port: Port,
    pub(crate) clock: Clock,
    /// Ticks that pass before it can be defined.
    pub(crate) warm: usize,
}

/// Instruments that go through a stage together: their state stays in the processor's cache from node to node.
const BLOCK: usize = 32;

/// Nodes that run one after the other.
#[derive(Debug, Clone)]
struct Stage {
    /// No node looks at another instrument.
    is_local: bool,
    nodes: Vec<usize>,
}

/// What runs when one clock ticks.
#[derive(Debug, Clone, Default)]
struct Program {
    /// Inputs whose past is needed.
    inputs: Vec<Port>,
    stages: Vec<Stage>,
}

/// Definitions, compiled.
#[derive(Debug)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    pub(crate) layout: Layout,
    constants: Vec<(Port, f64)>,
    programs: [Program; 3],
    /// By definition.
    pub(crate) features: Vec<Output>,
    /// What ticks by events and is looked at when a bar closes.
    pub(crate) at_close: Vec<Port>,
    /// Nodes there would be if equal sub-expressions were not one.
    pub(crate) unshared: usize,
}

impl Graph {
    /// Compiles the definitions `ids`, in their order.
    ///
    /// The error names the definition whose formula is wrong.
    pub(crate) fn compile(names: &dyn Names, ids: &[&str]) -> Result<Self, (String, FormulaError)> {
        let mut compiler = Compiler::new(names);
        let mut features = Vec::with_capacity(ids.len());
        for id in ids {
            let value = compiler.definition(id, 0).map_err(|error| compiler.blame(id, error))?;
            match value {
                Value::Port(port) => features.push(compiler.output(port)),
                Value::Number(number) => {
                    let message = format!("the formula is the number {number} and nothing of the market");
                    return Err(((*id).to_owned(), FormulaError::new(0, message)));
                }
            }
        }
        Ok(compiler.finish(features))
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Columns without instruments.
    pub(crate) fn columns(&self) -> Columns {
        Columns::new(&self.layout)
    }

    /// Appends an instrument.
    pub(crate) fn add_row(&self, columns: &mut Columns) -> usize {
        let row = columns.add_row();
        self.set_constants(columns, row);
        row
    }

    /// Forgets everything of an instrument.
    pub(crate) fn reset_row(&self, columns: &mut Columns, row: usize) {
        columns.reset_row(row);
        self.set_constants(columns, row);
    }

    fn set_constants(&self, columns: &mut Columns, row: usize) {
        for &(port, number) in &self.constants {
            columns.set(port, row, number);
        }
    }

    /// Steps what ticks by `clock` for the instruments of `rows`, whose inputs are set.
    pub(crate) fn step(&self, clock: Clock, columns: &mut Columns, rows: &[u32], universe: &Universe) {
        let program = &self.programs[index(clock)];
        for &port in &program.inputs {
            columns.remember(port, rows);
        }
        for stage in &program.stages {
            let block = if stage.is_local { BLOCK } else { usize::MAX };
            for rows in rows.chunks(block) {
                for &at in &stage.nodes {
                    self.step_node(at, columns, rows, universe);
                }
            }
        }
    }

    /// Steps one node: its kernel over `rows`, then the histories of what came out.
    #[inline]
    fn step_node(&self, at: usize, columns: &mut Columns, rows: &[u32], universe: &Universe) {
        let node = &self.nodes[at];
        // What a node follows from comes before it.
        let (before, own) = columns.values.split_at_mut(node.first as usize);
        node.kernel.run(Task {
            rows,
            universe,
            inputs: &node.inputs,
            values: before,
            histories: &columns.histories,
            state: &mut columns.states[at],
            out: &mut own[..node.outputs],
        });
        for &port in &node.remembered {
            columns.remember(port, rows);
        }
    }
}

fn index(clock: Clock) -> usize {
    Clock::ALL.iter().position(|single| *single == clock).expect("programs are of single clocks")
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Number(f64),
    Port(Port),
}

type Key = (&'static str, Vec<u64>, Vec<Port>);

struct Compiler<'a> {
    names: &'a dyn Names,
    nodes: Vec<Node>,
    layout: Layout,
    clocks: Vec<Clock>,
    warm: Vec<usize>,
    constants: BTreeMap<u64, Port>,
    known: BTreeMap<Key, Port>,
    /// Definitions compiled, and those being compiled without a value.
    defined: BTreeMap<String, Option<Value>>,
    /// The definitions being compiled, outermost first.
    stack: Vec<String>,
    unshared: usize,
}

type Arguments = BTreeMap<String, Value>;

impl<'a> Compiler<'a> {
    fn new(names: &'a dyn Names) -> Self {
        let inputs = Source::ALL.len();
        Self {
            names,
            nodes: Vec::new(),
            layout: Layout { depths: vec![0; inputs], slots: Vec::new() },
            clocks: Source::ALL.iter().map(|source| source.clock()).collect(),
            warm: vec![0; inputs],
            constants: BTreeMap::new(),
            known: BTreeMap::new(),
            defined: BTreeMap::new(),
            stack: Vec::new(),
            unshared: 0,
        }
    }

    /// Whose formula an error is in: the innermost definition that was being compiled.
    fn blame(&self, outermost: &str, error: FormulaError) -> (String, FormulaError) {
        (self.stack.last().map_or(outermost, String::as_str).to_owned(), error)
    }

    fn output(&self, port: Port) -> Output {
        Output { port, clock: self.clocks[port as usize], warm: self.warm[port as usize] }
    }

    fn definition(&mut self, id: &str, depth: usize) -> Result<Value, FormulaError> {
        if let Some(Some(value)) = self.defined.get(id) {
            return Ok(*value);
        }
        let names = self.names;
        let formula =
            names.definition(id).ok_or_else(|| FormulaError::new(0, format!("'{id}' is not defined")))?;
        self.defined.insert(id.to_owned(), None);
        self.stack.push(id.to_owned());
        let value = self.value(formula, &Arguments::new(), depth + 1)?;
        self.stack.pop();
        self.defined.insert(id.to_owned(), Some(value));
        Ok(value)
    }

    fn value(
        &mut self,
        expression: &Expression,
        arguments: &Arguments,
        depth: usize,
    ) -> Result<Value, FormulaError> {
        let at = expression.at;
        if depth > DEPTH_MAX {
            let message = format!("definitions and functions call each other more than {DEPTH_MAX} deep");
            return Err(FormulaError::new(at, message));
        }
        match &expression.kind {
            Kind::Number(number) => Ok(Value::Number(*number)),
            Kind::Name(name) => self.name(name, at, arguments, depth),
            Kind::Call(name, given) => {
                let given: Vec<Value> = given
                    .iter()
                    .map(|argument| self.value(argument, arguments, depth))
                    .collect::<Result<_, _>>()?;
                self.call(name, at, given, depth)
            }
        }
    }

    fn name(
        &mut self,
        name: &str,
        at: usize,
        arguments: &Arguments,
        depth: usize,
    ) -> Result<Value, FormulaError> {
        if let Some(value) = arguments.get(name) {
            return Ok(*value);
        }
        if let Some(source) = Source::named(name) {
            return Ok(Value::Port(source.port()));
        }
        if self.names.function(name).is_some_and(|function| function.arguments.is_empty()) {
            return self.call(name, at, Vec::new(), depth);
        }
        if self.names.definition(name).is_none() {
            let message =
                format!("'{name}' is neither an input nor a definition; GET /v1/features lists both");
            return Err(FormulaError::new(at, message));
        }
        if self.defined.get(name).is_some_and(Option::is_none) {
            let from = self.stack.iter().position(|id| id == name).unwrap_or(0);
            let mut circle: Vec<&str> = self.stack[from..].iter().map(String::as_str).collect();
            circle.push(name);
            return Err(FormulaError::new(
                at,
                format!("the definition refers to itself: {}", circle.join(" → ")),
            ));
        }
        self.definition(name, depth)
    }

    fn call(
        &mut self,
        name: &str,
        at: usize,
        given: Vec<Value>,
        depth: usize,
    ) -> Result<Value, FormulaError> {
        let names = self.names;
        if let Some(operation) = operations::named(name) {
            return self.operation(operation, at, &given);
        }
        let Some(function) = names.function(name) else {
            let message = format!("there is no function '{name}'; GET /v1/functions lists all");
            return Err(FormulaError::new(at, message));
        };
        if function.arguments.len() != given.len() {
            let message =
                format!("{name} takes {} arguments, {} are given", function.arguments.len(), given.len());
            return Err(FormulaError::new(at, message));
        }
        let arguments: Arguments = function.arguments.iter().cloned().zip(given).collect();
        // A mistake inside is reported where the function is called: its body is not the user's.
        self.value(&function.body, &arguments, depth + 1).map_err(|error| FormulaError { at, ..error })
    }

    fn operation(
        &mut self,
        operation: &Operation,
        at: usize,
        given: &[Value],
    ) -> Result<Value, FormulaError> {
        let (inputs, parameters) = (operation.inputs, operation.parameters.len());
        let refuse = |message: String| FormulaError::new(at, message);
        if given.len() != inputs + parameters {
            let message = format!(
                "{} is missing or has too many arguments: {} are given",
                operation.signature(),
                given.len()
            );
            return Err(refuse(message));
        }
        if let Some(number) = fold(operation.name, given) {
            return Ok(Value::Number(number));
        }
        let mut numbers = Vec::with_capacity(parameters);
        for (value, name) in given[inputs..].iter().zip(operation.parameters) {
            match value {
                Value::Number(number) => numbers.push(*number),
                Value::Port(_) => {
                    let signature = operation.signature();
                    return Err(refuse(format!(
                        "in {signature}, {name} has to be a number, not a value that changes"
                    )));
                }
            }
        }
        let kernel = (operation.make)(&numbers)
            .map_err(|message| refuse(format!("{}: {message}", operation.signature())))?;
        let ports: Vec<Port> = given[..inputs].iter().map(|value| self.port(*value)).collect();
        self.node(operation, kernel, &numbers, ports).map(Value::Port).map_err(refuse)
    }

    /// A port that holds a value; numbers get columns of their own.
    fn port(&mut self, value: Value) -> Port {
        match value {
            Value::Port(port) => port,
            Value::Number(number) => match self.constants.get(&number.to_bits()) {
                Some(port) => *port,
                None => {
                    let port = self.add_port(Clock::NONE, 0);
                    self.constants.insert(number.to_bits(), port);
                    port
                }
            },
        }
    }

    fn add_port(&mut self, clock: Clock, warm: usize) -> Port {
        self.layout.depths.push(0);
        self.clocks.push(clock);
        self.warm.push(warm);
        Port::try_from(self.clocks.len() - 1).expect("nodes are bounded")
    }

    /// The node that an operation is, made unless it is known.
    fn node(
        &mut self,
        operation: &Operation,
        kernel: Box<dyn Kernel>,
        numbers: &[f64],
        mut ports: Vec<Port>,
    ) -> Result<Port, String> {
        self.unshared += 1;
        if operation.commutes && ports[0] > ports[1] {
            ports.swap(0, 1);
        }
        let bits = numbers.iter().map(|number| number.to_bits()).collect();
        let key = (operation.kernel, bits, ports);
        let output = Port::try_from(operation.output).expect("a kernel has few outputs");
        if let Some(first) = self.known.get(&key) {
            return Ok(first + output);
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(format!("the definitions need more than {NODES_MAX} nodes; leave some out"));
        }
        let ports = key.2.clone();
        let clock = self.clock(operation, &*kernel, &ports)?;
        for (port, window) in ports.iter().zip(kernel.windows()) {
            let depth = &mut self.layout.depths[*port as usize];
            *depth = (*depth).max(window);
        }
        let before = ports.iter().map(|port| self.warm[*port as usize]).max().unwrap_or(0);
        let first = Port::try_from(self.clocks.len()).map_err(|_| "too many nodes".to_owned())?;
        for output in 0..kernel.outputs() {
            self.add_port(clock, before + kernel.warm(output));
        }
        self.layout.slots.push(kernel.slots());
        let outputs = kernel.outputs();
        self.nodes.push(Node { kernel, inputs: ports, first, outputs, remembered: Vec::new(), clock });
        self.known.insert(key, first);
        Ok(first + output)
    }

    fn clock(&self, operation: &Operation, kernel: &dyn Kernel, ports: &[Port]) -> Result<Clock, String> {
        let name = operation.name;
        let clocks = || ports.iter().map(|port| self.clocks[*port as usize]);
        let joint = clocks().fold(Clock::NONE, Clock::and);
        let windows = kernel.windows();
        if clocks().zip(&windows).any(|(clock, window)| *window > 0 && clock == Clock::NONE) {
            return Err(format!("{name} looks at the past, and a number has none"));
        }
        if let Ticks::By(clock) = operation.ticks {
            return Ok(clock);
        }
        let events = Clock::TRADE.and(Clock::QUOTE);
        if joint.ticks_with(Clock::BAR) && joint.ticks_with(events) {
            return Err(format!(
                "{name} mixes values per bar with values per trade or quote; take the latter as at_close(…)"
            ));
        }
        if operation.ticks == Ticks::AtBars && joint != Clock::BAR {
            return Err(format!(
                "{name} compares instruments when a bar closes; take its value as at_close(…)"
            ));
        }
        let mut windowed = clocks().zip(&windows).filter(|(_, window)| **window > 0).map(|(clock, _)| clock);
        if let Some(first) = windowed.next()
            && windowed.any(|clock| clock != first)
        {
            return Err(format!(
                "{name} needs values that tick together; take the second as on_trade(…) or on_quote(…)"
            ));
        }
        Ok(joint)
    }

    /// Inputs, features and what nodes of bars look at, as far as it ticks by events.
    fn at_close(&self, features: &[Output]) -> Vec<Port> {
        let inputs = Source::ALL.iter().map(|source| source.port());
        let outputs = features.iter().map(|output| output.port);
        let of_bars = self.nodes.iter().filter(|node| node.clock.ticks_with(Clock::BAR));
        let all = inputs.chain(outputs).chain(of_bars.flat_map(|node| node.inputs.iter().copied()));
        let events = Clock::TRADE.and(Clock::QUOTE);
        let mut ports: Vec<Port> =
            all.filter(|port| self.clocks[*port as usize].ticks_with(events)).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The nodes of a clock in as few stages as there are rounds of looking at other instruments.
    fn stages(&self, clock: Clock) -> Vec<Stage> {
        // By port, how many rounds come before it is known.
        let mut rounds = vec![0; self.clocks.len()];
        let mut stages: BTreeMap<(usize, bool), Vec<usize>> = BTreeMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let round = node.inputs.iter().map(|port| rounds[*port as usize]).max().unwrap_or(0);
            let is_local = node.kernel.is_local();
            let first = node.first as usize;
            rounds[first..first + node.outputs].fill(round + usize::from(!is_local));
            if node.clock.ticks_with(clock) {
                stages.entry((round, !is_local)).or_default().push(at);
            }
        }
        stages.into_iter().map(|((_, looks), nodes)| Stage { is_local: !looks, nodes }).collect()
    }

    fn finish(mut self, features: Vec<Output>) -> Graph {
        for node in &mut self.nodes {
            let outputs = node.first..node.first + node.outputs as Port;
            node.remembered = outputs.filter(|port| self.layout.depths[*port as usize] > 0).collect();
        }
        let programs = Clock::ALL.map(|clock| Program {
            inputs: Source::ALL
                .iter()
                .filter(|source| source.clock() == clock && self.layout.depths[source.port() as usize] > 0)
                .map(|source| source.port())
                .collect(),
            stages: self.stages(clock),
        });
        let at_close = self.at_close(&features);
        let constants = self.constants.into_iter().map(|(bits, port)| (port, f64::from_bits(bits))).collect();
        Graph {
            nodes: self.nodes,
            layout: self.layout,
            constants,
            programs,
            features,
            at_close,
            unshared: self.unshared,
        }
    }
}

/// Arithmetic of numbers alone, so that parameters can be computed: `ema(x, n, s - f)`.
fn fold(name: &str, given: &[Value]) -> Option<f64> {
    match (name, given) {
        ("neg", [Value::Number(x)]) => Some(-x),
        ("sqrt", [Value::Number(x)]) => Some(libm::sqrt(*x)),
        ("log", [Value::Number(x)]) => Some(libm::log(*x)),
        ("+", [Value::Number(x), Value::Number(y)]) => Some(x + y),
        ("-", [Value::Number(x), Value::Number(y)]) => Some(x - y),
        ("*", [Value::Number(x), Value::Number(y)]) => Some(x * y),
        ("/", [Value::Number(x), Value::Number(y)]) => Some(x / y),
        _ => None,
    }
    .filter(|number| number.is_finite())
}
