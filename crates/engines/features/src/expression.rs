//! The language of formulas: `sma(close, 20) / close - 1`.
//!
//! Numbers, names, calls, `+ - * /`, comparisons, `&& || !`. It says what a formula is made of and where; what a name
//! or a function means is decided by whoever compiles it.

use std::fmt;

/// Parentheses and calls inside each other, at most: a formula must not exhaust the stack.
const DEPTH_MAX: usize = 64;
/// Bytes of one formula, at most.
const LENGTH_MAX: usize = 4_096;

/// What is wrong with a formula, and where: a byte offset into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {})", at + 1)]
pub(crate) struct FormulaError {
    /// Offset into the formula.
    pub(crate) at: usize,
    /// One sentence.
    pub(crate) message: String,
}

impl FormulaError {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// A formula, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expression {
    /// Where it begins in the formula.
    pub(crate) at: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Number(f64),
    Name(String),
    /// Operators are calls of functions of their own names.
    Call(String, Vec<Expression>),
}

impl Expression {
    /// Reads a whole formula.
    pub(crate) fn parse(text: &str) -> Result<Self, FormulaError> {
        if text.len() > LENGTH_MAX {
            return Err(FormulaError::new(
                LENGTH_MAX,
                format!("a formula has at most {LENGTH_MAX} characters; split it into definitions"),
            ));
        }
        let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.len(), depth: 0 };
        let expression = parser.level(0)?;
        match parser.peek() {
            None => Ok(expression),
            Some(token) => Err(FormulaError::new(token.at, format!("'{}' is not expected here", token.kind))),
        }
    }

    fn call(at: usize, name: &str, arguments: Vec<Self>) -> Self {
        Self { at, kind: Kind::Call(name.to_owned(), arguments) }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    at: usize,
    kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq)]
enum TokenKind {
    Number(f64),
    Name(String),
    Sign(&'static str),
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
            Self::Sign(sign) => f.write_str(sign),
        }
    }
}

/// Longest first.
const SIGNS: [&str; 16] =
    ["<=", ">=", "==", "!=", "&&", "||", "<", ">", "+", "-", "*", "/", "(", ")", ",", "!"];

/// Binary operators by precedence, loosest first.
const LEVELS: [&[&str]; 5] =
    [&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">"], &["+", "-"], &["*", "/"]];

fn tokens(text: &str) -> Result<Vec<Token>, FormulaError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (kind, length) = if first.is_ascii_digit() || first == '.' {
            number(rest, at)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (TokenKind::Name(rest[..length].to_owned()), length)
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (TokenKind::Sign(sign), sign.len())
        } else {
            return Err(FormulaError::new(at, format!("'{first}' is no part of a formula")));
        };
        tokens.push(Token { at, kind });
        at += length;
    }
    Ok(tokens)
}

fn number(rest: &str, at: usize) -> Result<(TokenKind, usize), FormulaError> {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .map_or(rest.len(), |length| from + length)
    };
    let mut length = digits(0);
    let exponent = rest[length..].strip_prefix(['e', 'E']);
    if let Some(exponent) = exponent {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        length = digits(length + 1 + sign);
    }
    let text = &rest[..length];
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((TokenKind::Number(value), length)),
        _ => Err(FormulaError::new(at, format!("'{text}' is not a number"))),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    end: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.peek().is_some_and(|token| matches!(token.kind, TokenKind::Sign(s) if s == sign));
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), FormulaError> {
        if self.take(sign) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(token) => {
                FormulaError::new(token.at, format!("'{sign}' is missing before '{}'", token.kind))
            }
            None => FormulaError::new(self.end, format!("'{sign}' is missing at the end")),
        })
    }

    /// An expression whose operators bind at least as tightly as `level`.
    fn level(&mut self, level: usize) -> Result<Expression, FormulaError> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.take(operator)) {
            let right = self.level(level + 1)?;
            left = Expression::call(left.at, operator, vec![left, right]);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, FormulaError> {
        let at = self.peek().map_or(self.end, |token| token.at);
        for (sign, function) in [("-", "neg"), ("!", "not")] {
            if self.take(sign) {
                let operand = self.deeper(at, Self::unary)?;
                return Ok(match operand.kind {
                    Kind::Number(number) if sign == "-" => Expression { at, kind: Kind::Number(-number) },
                    _ => Expression::call(at, function, vec![operand]),
                });
            }
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Expression, FormulaError> {
        let Some(Token { at, kind }) = self.peek().cloned() else {
            return Err(FormulaError::new(self.end, "the formula ends where a value is expected"));
        };
        self.next += 1;
        match kind {
            TokenKind::Number(number) => Ok(Expression { at, kind: Kind::Number(number) }),
            TokenKind::Name(name) if self.take("(") => {
                let arguments = self.deeper(at, Self::arguments)?;
                Ok(Expression { at, kind: Kind::Call(name, arguments) })
            }
            TokenKind::Name(name) => Ok(Expression { at, kind: Kind::Name(name) }),
            TokenKind::Sign("(") => {
                let inner = self.deeper(at, |parser| parser.level(0))?;
                self.expect(")")?;
                Ok(inner)
            }
            TokenKind::Sign(sign) => {
                Err(FormulaError::new(at, format!("'{sign}' stands where a value is expected")))
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, FormulaError> {
        let mut arguments = Vec::new();
        if self.take(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.level(0)?);
            if !self.take(",") {
                self.expect(")")?;
                return Ok(arguments);
            }
        }
    }

    fn deeper<T>(
        &mut self,
        at: usize,
        read: impl FnOnce(&mut Self) -> Result<T, FormulaError>,
    ) -> Result<T, FormulaError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(FormulaError::new(at, format!("the formula is nested more than {DEPTH_MAX} deep")));
        }
        let read = read(self);
        self.depth -= 1;
        read
    }
}

/// With every operator as a call, so that a test or a reader sees how a formula was understood.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number(number) => write!(f, "{number}"),
            Kind::Name(name) => f.write_str(name),
            Kind::Call(name, arguments) => {
                write!(f, "{name}(")?;
                for (index, argument) in arguments.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    argument.fmt(f)?;
                }
                f.write_str(")")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_understood() {
        for (text, understood) in [
            ("1 + 2 * x", "+(1, *(2, x))"),
            ("a - b - c", "-(-(a, b), c)"),
            ("-x * -2", "*(neg(x), -2)"),
            ("a < b && c >= 1e-3 || !d", "||(&&(<(a, b), >=(c, 0.001)), not(d))"),
            ("sma(close, 20)/(high - low)", "/(sma(close, 20), -(high, low))"),
            ("f()", "f()"),
            (" 2.5E+1 ", "25"),
        ] {
            assert_eq!(Expression::parse(text).expect(text).to_string(), understood, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let deep = "(".repeat(100);
        let long = "1+".repeat(4_000);
        for (text, at, message) in [
            ("", 0, "ends where a value"),
            ("1 +", 3, "ends where a value"),
            ("sma(close", 9, "')' is missing at the end"),
            ("sma(close 20)", 10, "')' is missing before '20'"),
            ("a ? b", 2, "'?' is no part"),
            ("1.2.3", 0, "'1.2.3' is not a number"),
            ("1e999", 0, "'1e999' is not a number"),
            ("a b", 2, "'b' is not expected"),
            ("* 2", 0, "'*' stands where"),
            ("größe", 2, "'ö' is no part"),
            (&deep, 64, "nested more than"),
            (&long, 4_096, "at most 4096"),
        ] {
            let error = Expression::parse(text).expect_err(text);
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.message.contains(message), "{text}: {error}");
        }
    }
}
