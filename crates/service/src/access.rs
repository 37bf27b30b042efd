//! Who may ask for what: API keys with scopes, checked before any handler on every listener that asks for them.
//!
//! A listener is open only where nobody but this machine's users reaches it. It never knows what a route does: the
//! scope stands in the route's OpenAPI annotation, and a route without one is refused. A secret is never kept, logged or
//! shown again; what is stored is its SHA-256, and finding a key goes by its id.

mod audit;
mod bucket;
mod door;
mod guard;
mod key;
mod keys_file;
mod local;
mod operator;
mod ring;
mod scope;
mod settings;

pub(crate) use door::Door;
pub(crate) use guard::{Guard, guard};
pub use key::Key;
pub use keys_file::{DAYS_MAX, KeyEntry, KeysError, KeysFile, check_name};
pub(crate) use local::only_local;
pub use operator::Operator;
pub(crate) use ring::KeyRing;
pub use ring::Principal;
pub(crate) use scope::{SECURITY_SCHEME, ScopeTable, security_scheme};
pub use scope::{Scope, Scopes, UnknownScope};
pub use settings::{Access, Tls};
